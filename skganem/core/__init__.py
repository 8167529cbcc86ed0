"""GAN-EM in PyTorch: everything below the estimators; nothing here imports scikit-learn.

`fit` tells the whole story: initialize the responsibilities w, then run the EM loop. The folders, each of which imports
only from those above it:

- `runtime`: device, precision, random streams, files, memory, progress, and the processes of a data-parallel fit;
- `data`: samples in scaled batches;
- `losses`: Eq. 1, 2, 5 and 18, their variants, and the Lipschitz constraints of Section 4.4;
- `networks`: Tables 4 to 6, and G, D, E and phi as one mixture model;
- `features`: views of a sample, and self-supervised encoders;
- `graph`: nearest neighbors, affinities, and partitions into K parts;
- `init`: the initial w;
- `em`: Algorithm 1, its M-step and its E-step.
"""

"""
=====================
Sampling each cluster
=====================

Each cluster is a distribution that you can sample from. Are the samples new, or copies of training images? This example shows
each sample beside the nearest training image.
"""

# %%
# Fit
# ---
# The data are five digits. The generator needs more training than the labels, so the M-step gets twice its usual batches.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors

from skganem import GANEMClustering, Recipe

digits = load_digits(n_class=5)
recipe = Recipe().but(min_m_steps=800, max_m_steps=800, max_iter=4)
model = GANEMClustering(n_clusters=5, recipe=recipe, random_state=0).fit(digits.images)

# %%
# Draw from each cluster
# ----------------------
# ``sample(n)`` draws clusters in proportion to their weights. ``sample(n, y=...)`` draws from the given clusters.
wanted = np.repeat(np.arange(5), 6)
images, clusters = model.sample(len(wanted), y=wanted, random_state=0)
print(f"{len(images)} images {images.shape[1:]} of type {images.dtype}, values {images.min():.1f} to {images.max():.1f}")
agree = (model.predict(images) == clusters).mean()
print(f"The E-net puts {agree:.0%} of the samples into the cluster that they were drawn for.")

# %%
# Compare with the training images
# --------------------------------
flat = digits.images.reshape(len(digits.images), -1)
distance, nearest = NearestNeighbors(n_neighbors=1).fit(flat).kneighbors(images.reshape(len(images), -1))
apart = NearestNeighbors(n_neighbors=2).fit(flat).kneighbors(flat)[0][:, 1]
print(f"From a sample to the nearest training image {np.median(distance):.1f}, between training images {np.median(apart):.1f}")

figure, axes = plt.subplots(1, 2, figsize=(7, 3.4), layout="constrained")
for ax, title, shown in zip(axes, ("drawn", "nearest training image"), (images, digits.images[nearest[:, 0]]), strict=True):
    framed = np.pad(shown, [(0, 0), (1, 1), (1, 1)])
    ax.imshow(np.vstack([np.hstack(framed[clusters == cluster]) for cluster in range(5)]), cmap="gray_r")
    ax.set(title=title, xticks=[], yticks=4.5 + 10 * np.arange(5), yticklabels=[f"cluster {i}" for i in range(5)])
plt.show()

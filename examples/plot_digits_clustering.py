"""
==============================
Clustering handwritten digits
==============================

GAN-EM finds the ten digits among 1797 images of 8x8 pixels without a label, and learns to draw them.

This example compares it with k-means, Gaussian mixtures and spectral clustering on the same pixels.
"""

# %%
# Cluster
# -------
# `X` holds a row for each image. ``image_shape`` marks the rows as images, so GAN-EM uses convolutional networks. The E-net
# learns to predict the same cluster after small rotations, shifts and bends.
import time

import matplotlib.pyplot as plt
from sklearn.cluster import KMeans, SpectralClustering
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.mixture import GaussianMixture

from skganem import GANEMClustering, clustering_error
from skganem.display import EMHistoryDisplay, GeneratedSamplesDisplay

X, y = load_digits(return_X_y=True)

model = GANEMClustering(n_clusters=10, image_shape=(8, 8), random_state=0)
rivals = {
    "GAN-EM": model,
    "k-means": KMeans(n_clusters=10, n_init=10, random_state=0),
    "Gaussian mixture": GaussianMixture(n_components=10, covariance_type="diag", n_init=3, random_state=0),
    "spectral clustering": SpectralClustering(n_clusters=10, affinity="nearest_neighbors", random_state=0),
}

# %%
# Compare with the true digits
# ----------------------------
# The error rate belongs to the best one-to-one mapping of clusters to digits.
print(f"{'':20s} {'error':>8s} {'NMI':>7s} {'ARI':>7s} {'seconds':>8s}")
for name, rival in rivals.items():
    start = time.perf_counter()
    labels = rival.fit_predict(X)
    seconds = time.perf_counter() - start
    error = clustering_error(y, labels)
    nmi, ari = normalized_mutual_info_score(y, labels), adjusted_rand_score(y, labels)
    print(f"{name:20s} {error:8.1%} {nmi:7.3f} {ari:7.3f} {seconds:8.1f}")

# %%
# What the clusters look like
# ---------------------------
# Left: each row shows new images that the generator drew for one cluster. Right: the share of images that changed their
# cluster in each EM iteration, and the E-net's mean uncertainty.
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
GeneratedSamplesDisplay.from_estimator(model, n_samples=12, ax=left)
left.set(title="Generated digits, a cluster in each row")
EMHistoryDisplay.from_estimator(model, ax=right)
right.set(title="Training")
figure.savefig("digits_clustering.png", dpi=120)
plt.show()

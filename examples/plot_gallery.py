"""
===================
Looking at clusters
===================

What is in each cluster? This example shows its typical images, those that the model is least sure of, and the map of all. It
also finds images that are in the data more than once.
"""

# %%
# Fit
# ---
# ``recipe="fast"`` is for a first look. Its labels are nearly those of the default, and its generated images are rough.
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from skganem import GANEMClustering, find_duplicates
from skganem.display import ClusterGalleryDisplay, FeatureMapDisplay

X = load_digits().images
model = GANEMClustering(n_clusters=10, recipe="fast", random_state=0).fit(X)

# %%
# A gallery
# ---------
# The largest cluster comes first. Beside its number are its size and its share. Where uncertain images show another digit, the
# cluster has samples that belong elsewhere.
gallery = ClusterGalleryDisplay.from_estimator(model, X)
plt.show()

# %%
# The display also knows where the images are in X.
print("least sure, in the largest cluster:", gallery.positions["uncertain"][0])

# %%
# The gallery as a page
# ---------------------
# ``save`` writes the images as PNG files, and a page that opens in any browser.
with tempfile.TemporaryDirectory() as folder:
    page = gallery.save(Path(folder) / "gallery")
    print(page.name, "and", len(list(page.parent.glob("*/*.png"))), "images")

# %%
# The map of features
# -------------------
# The map shows which clusters touch. Each small image has a frame in the color of its cluster.
FeatureMapDisplay.from_estimator(model, X, thumbnails=70)
plt.show()

# %%
# Duplicates
# ----------
# Equal images need no model. With one, images are also found that differ by a little noise. The last pair is in the data: two
# strokes that hardly differ.
rng = np.random.default_rng(0)
noisy = np.clip(X[:3] + rng.integers(0, 2, (3, 8, 8)), 0, 16)
doubled = np.concatenate([X, X[:2], noisy])
print("equal:", [group.tolist() for group in find_duplicates(doubled)])
print("equal or nearly equal:", [group.tolist() for group in find_duplicates(doubled, model)])

"""
===================================
Features for a pipeline
===================================

``GANEMTransformer`` learns features from all images, labeled or not. This example trains a linear classifier on them with only
a few labels of each digit. It compares them with the pixels and with their principal components.
"""

# %%
# Features learned without labels
# -------------------------------
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skganem import GANEMTransformer

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)

transformers = {
    "pixels": StandardScaler(),
    "PCA, 30 components": PCA(n_components=30, random_state=0),
    "GAN-EM, 30 components": GANEMTransformer(n_components=30, n_clusters=10, image_shape=(8, 8), max_iter=4, random_state=0),
}
features = {name: (t.fit(X_train).transform(X_train), t.transform(X_test)) for name, t in transformers.items()}

# %%
# A linear classifier on top, with more and more labels
# -----------------------------------------------------
counts = [1, 2, 5, 10, 20]
curves = {name: [] for name in features}
for count in counts:
    rng = np.random.default_rng(0)
    known = np.concatenate([rng.choice(np.flatnonzero(y_train == digit), count, replace=False) for digit in range(10)])
    for name, (train, test) in features.items():
        classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        curves[name].append(1 - classifier.fit(train[known], y_train[known]).score(test, y_test))
        print(f"{count:3d} labels a class, {name:22s} test error {curves[name][-1]:6.1%}")

# %%
# Transformer and classifier in one pipeline
# ------------------------------------------
# In a ``Pipeline``, the transformer also gets the labels. It accepts -1 for unknown labels, but the classifier after it needs
# all labels.
model = make_pipeline(
    GANEMTransformer(n_components=30, image_shape=(8, 8), max_iter=2, random_state=0),
    LogisticRegression(max_iter=1000),
).fit(X_train, y_train)
print(f"with all labels: test error {1 - model.score(X_test, y_test):.1%}")

figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
for name, curve in curves.items():
    ax.plot(counts, 100 * np.array(curve), "o-", label=name)
ax.set(xscale="log", xticks=counts, xticklabels=counts, xlabel="labels a class", ylabel="test error in percent", ylim=(0, None))
ax.minorticks_off()
ax.legend(title="logistic regression on")
plt.show()

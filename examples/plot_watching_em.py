"""
===========================
Watching EM with a callback
===========================

``fit`` calls a callback after each EM iteration, with the estimator as if training ended there. In this example, the callback
keeps generated samples. At first they are a smear. Later they form the clusters of the responsibilities w. Callbacks need
scikit-learn 1.9 or newer.
"""

# %%
# The data
# --------
# The data are an arc, a ring, and a group inside of it.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_circles, make_moons

from skganem import GANEMClustering, Recipe, clustering_error
from skganem.display import EMHistoryDisplay

ring = make_circles(800, noise=0.04, factor=0.35, random_state=0)
arc = make_moons(800, noise=0.05, random_state=0)
X = np.vstack([ring[0], arc[0][arc[1] == 0] * 1.4 + [3.0, -0.6]])
y = np.concatenate([ring[1], np.full(400, 2)])


# %%
# The callback
# ------------
# The class follows scikit-learn's callback protocol. Returning True would end the training.
class Snapshots:
    """Keep samples of the generator after each EM iteration."""

    def __init__(self):
        self.samples = []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        if context.task_name == "EM iteration":
            self.samples.append(fitted_estimator.sample(1200, random_state=0))


snapshots = Snapshots()
recipe = Recipe().but(n_warmup_iter=0, min_m_steps=100, max_m_steps=100)
model = GANEMClustering(n_clusters=3, recipe=recipe, max_iter=10, tol=0, random_state=0).set_callbacks(snapshots).fit(X)
print(f"error {clustering_error(y, model.labels_):.1%} after {model.n_iter_} iterations")

# %%
# Samples by iteration
# --------------------
# EM finds the labels early. The generator starts from random weights and takes longer. Right: the share of points that changed
# their cluster, and the E-net's mean uncertainty.
figure, axes = plt.subplots(1, 5, figsize=(16, 2.6), layout="constrained")
last = len(snapshots.samples) - 1
panels = [("data", (X, model.labels_))]
panels += [(f"generated after iteration {i + 1}", snapshots.samples[i]) for i in (0, last // 2, last)]
for ax, (title, (points, labels)) in zip(axes, panels, strict=False):
    ax.scatter(*points.T, c=labels, s=4, cmap="brg")
    ax.set(title=title, aspect="equal", xticks=[], yticks=[], xlim=(-1.5, 4.8), ylim=(-1.5, 1.5))
EMHistoryDisplay.from_estimator(model, ax=axes[-1])
plt.show()

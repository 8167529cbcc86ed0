"""
===============================
Choosing the number of clusters
===============================

``GANEMClustering`` has a score for held-out data, so ``GridSearchCV`` can choose `n_clusters`. The score is the silhouette of
the predicted clusters in a diffusion map. In this map, groups that hardly overlap are far apart. The score needs no labels.
"""

# %%
# Five groups
# -----------
# Two EM iterations are enough for a search. Afterwards, fit the chosen number again with all iterations. The folds are drawn
# at random. If the data are sorted, other folds would lack whole groups.
import matplotlib.pyplot as plt
from sklearn.datasets import make_blobs
from sklearn.model_selection import GridSearchCV, KFold

from skganem import GANEMClustering

X, y = make_blobs(600, centers=5, cluster_std=0.7, random_state=3)
folds = KFold(3, shuffle=True, random_state=0)
numbers = {"n_clusters": [2, 3, 4, 5, 6, 7, 8]}
search = GridSearchCV(GANEMClustering(max_iter=2, random_state=0), numbers, cv=folds, refit=False).fit(X)
print(f"best n_clusters: {search.best_params_['n_clusters']}")
model = GANEMClustering(**search.best_params_, random_state=0).fit(X)

# %%
# The curve
# ---------
# Each point is the mean score of three held-out folds. The band is its standard deviation.
results = search.cv_results_
k = results["param_n_clusters"].astype(int)
mean, spread = results["mean_test_score"], results["std_test_score"]

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
left.scatter(*X.T, c=model.labels_, s=8, cmap="tab10")
left.set(title=f"{search.best_params_['n_clusters']} clusters", xticks=[], yticks=[])
right.fill_between(k, mean - spread, mean + spread, alpha=0.2)
right.plot(k, mean, "o-")
right.set(title="Score of held-out data", xlabel="n_clusters", ylabel="score", xticks=k)
plt.show()

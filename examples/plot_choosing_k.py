"""
===============================
Choosing the number of clusters
===============================

Two ways to choose `n_clusters`, without labels. ``NumberOfClustersDisplay`` partitions one neighbor graph into each number of
clusters, and draws the score of each. ``GridSearchCV`` fits a model for each number, and scores it on data that are held out.
"""

# %%
# Five groups
# -----------
# A search needs labels only: one EM iteration, and no generator. Afterwards, fit the chosen number with the default. The folds
# are drawn at random. If the data are sorted, other folds would lack whole groups.
import matplotlib.pyplot as plt
from sklearn.datasets import make_blobs
from sklearn.model_selection import GridSearchCV, KFold

from skganem import GANEMClustering, Recipe
from skganem.display import NumberOfClustersDisplay

X, y = make_blobs(600, centers=5, cluster_std=0.7, random_state=3)
folds = KFold(3, shuffle=True, random_state=0)
numbers = {"n_clusters": [2, 3, 4, 5, 6, 7, 8]}
labels_only = Recipe.fast().but(max_iter=1, generated_weight=0)
search = GridSearchCV(GANEMClustering(recipe=labels_only, random_state=0), numbers, cv=folds, refit=False).fit(X)
print(f"best n_clusters: {search.best_params_['n_clusters']}")
model = GANEMClustering(**search.best_params_, random_state=0).fit(X)

# %%
# The curve
# ---------
# Middle: the score of each partition of one graph. Right: each point is the mean score of three held-out folds, with its
# standard deviation as a band.
results = search.cv_results_
k = results["param_n_clusters"].astype(int)
mean, spread = results["mean_test_score"], results["std_test_score"]

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
NumberOfClustersDisplay.from_estimator(GANEMClustering(random_state=0), X, n_clusters=range(2, 9), ax=middle)
left.scatter(*X.T, c=model.labels_, s=8, cmap="tab10")
left.set(title=f"{search.best_params_['n_clusters']} clusters", xticks=[], yticks=[])
right.fill_between(k, mean - spread, mean + spread, alpha=0.2)
right.plot(k, mean, "o-")
right.set(title="Score of held-out data", xlabel="n_clusters", ylabel="score", xticks=k)
plt.show()

"""How many clusters there are: a score for each number."""

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_random_state

from skganem._clustering import GANEMClustering, silhouettes
from skganem._progress import FitProgress
from skganem._validation import as_rows
from skganem.core.fit import partition_for_each
from skganem.display._base import Display


class NumberOfClustersDisplay(Display):
    """The score of each number of clusters: the higher, the better the data fall into so many.

    All numbers share one set of features and one search for neighbors. For each, the neighbor graph is partitioned, and the
    partition is scored as by :meth:`GANEMClustering.score <skganem.GANEMClustering.score>`. There is no EM, and no GAN is
    trained, so that a dozen numbers take less time than one fit.

    Parameters
    ----------
    n_clusters : ndarray of shape (n_numbers,)
        The numbers of clusters.
    scores : ndarray of shape (n_numbers,)
        The score of each, from -1 to 1.
    standard_errors : ndarray of shape (n_numbers,), default=None
        The standard error of each score over the samples; None takes 0.

    Attributes
    ----------
    best_n_clusters_ : int
        The least number whose score is within one standard error of the highest (Breiman et al. 1984): among numbers that
        the data can't tell apart, the simplest partition.
    ax_ : matplotlib Axes
        Axes of the picture.
    figure_ : matplotlib Figure
        The figure that contains it.

    See Also
    --------
    sklearn.model_selection.GridSearchCV : Searches with whole fits, scored on data that are held out.

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from skganem import GANEMClustering
    >>> from skganem.display import NumberOfClustersDisplay
    >>> X, _ = make_blobs(200, centers=4, cluster_std=0.5, random_state=1)
    >>> model = GANEMClustering(random_state=0)
    >>> display = NumberOfClustersDisplay.from_estimator(model, X, n_clusters=range(2, 8))
    >>> display.best_n_clusters_
    4
    """

    def __init__(self, n_clusters, scores, standard_errors=None):
        self.n_clusters, self.scores = np.asarray(n_clusters), np.asarray(scores)
        self.standard_errors = np.zeros(len(self.scores)) if standard_errors is None else np.asarray(standard_errors)
        best = self.scores.argmax()
        self.best_n_clusters_ = int(self.n_clusters[self.scores >= self.scores[best] - self.standard_errors[best]].min())

    @classmethod
    def from_estimator(cls, estimator, X, *, n_clusters=range(2, 21), ax=None):
        """Score numbers of clusters, and draw the curve.

        Parameters
        ----------
        estimator : GANEMClustering
            Fitted or not: its parameters are used, apart from `n_clusters` and `init`. With `memory`, a later fit finds the
            same features there.
        X : array-like of shape (n_samples, n_features), (n_samples, height, width) or \
                (n_samples, height, width, channels)
            Rows or images.
        n_clusters : iterable of int, default=range(2, 21)
            The numbers, each from 2 to n_samples.
        ax : matplotlib Axes, default=None
            None makes new ones.

        Returns
        -------
        display : NumberOfClustersDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator is no GANEMClustering.
        ValueError
            If a number is less than 2, or more than there are samples.
        """
        estimator = estimator.estimator if isinstance(estimator, FrozenEstimator) else estimator
        if not isinstance(estimator, GANEMClustering):
            raise TypeError(f"{cls.__name__} is for a GANEMClustering, got a {type(estimator).__name__}.")
        numbers = [int(number) for number in n_clusters]
        model = GANEMClustering(**estimator.get_params(deep=False)).set_params(init="graph", warm_start=False)
        X = as_rows(model, X, reset=True, image_shape=model.image_shape, min_samples=2)
        if not numbers or min(numbers) < 2 or max(numbers) > len(X):
            raise ValueError(f"n_clusters must be numbers from 2 to n_samples={len(X)}, got {numbers}.")
        seed = int(check_random_state(model.random_state).randint(np.iinfo(np.int32).max))
        context = model._init_callback_context(max_subtasks=None)
        spec = model._fit_spec(X, max(numbers), {})
        features, labels = partition_for_each(spec, numbers, seed, FitProgress(model, context, {"X": X}, 1))
        each = np.stack([silhouettes(features, partition, spec.learns_features) for partition in labels])
        return cls(numbers, each.mean(axis=1), each.std(axis=1) / np.sqrt(each.shape[1])).plot(ax=ax)

    def plot(self, *, ax=None):
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes new ones.

        Returns
        -------
        display : NumberOfClustersDisplay
            The display itself.
        """
        ax = self._axes(ax)
        ax.errorbar(self.n_clusters, self.scores, self.standard_errors, fmt="o-", capsize=2)
        ax.axvline(self.best_n_clusters_, color="0.6", linestyle="--", zorder=0)
        ax.set(xlabel="number of clusters", ylabel="score", title=f"{self.best_n_clusters_} clusters")
        ax.xaxis.get_major_locator().set_params(integer=True)
        return self

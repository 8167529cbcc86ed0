"""Clusters and classes: a map of features, and a table of counts."""

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.decomposition import PCA
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted

from skganem._labels import DEFAULT, as_column, encode, known_labels
from skganem.display._base import Display
from skganem.metrics import count_pairs


class FeatureMapDisplay(Display):
    """The E-net's features of samples in two dimensions.

    Parameters
    ----------
    points : ndarray of shape (n_samples, 2)
        Where each sample is.
    labels : array-like of shape (n_samples,)
        What colors it.
    unlabeled : object, default=-1
        What stands in `labels` for an unknown class, as in :class:`~skganem.GANEMSemiSupervisedClassifier`. Such samples are
        gray.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the picture.
    figure_ : matplotlib Figure
        The figure that contains it.

    See Also
    --------
    ClusterConfusionDisplay : Clusters against known classes, in numbers.

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from skganem import GANEMTransformer
    >>> from skganem.display import FeatureMapDisplay
    >>> X, y = make_blobs(100, centers=2, random_state=0)
    >>> model = GANEMTransformer(2, n_clusters=2, max_iter=2, random_state=0).fit(X)
    >>> FeatureMapDisplay.from_estimator(model, X, y).points.shape
    (100, 2)
    """

    def __init__(self, points, labels, *, unlabeled=-1):
        self.points, self.labels, self.unlabeled = points, labels, unlabeled

    @classmethod
    def from_estimator(cls, estimator, X, y=None, *, ax=None):
        """Draw samples by the features of a fitted estimator.

        Parameters
        ----------
        estimator : GANEMTransformer, GANEMClustering or GANEMSemiSupervisedClassifier
            A fitted one. Of a transformer with 1 or 2 components, these are drawn; of all others, the first two principal
            components of the E-net's last features.
        X : array-like of the shape of fit's X, apart from n_samples
            The samples.
        y : array-like of shape (n_samples,), default=None
            What colors them; None takes the E-net's most probable clusters or, of a classifier, classes. Samples whose class
            is unknown are gray: those with the estimator's `unlabeled`, or with -1 or a missing value where it has none.
        ax : matplotlib Axes, default=None
            None makes new ones.

        Returns
        -------
        display : FeatureMapDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator is none of skganem's.
        """
        estimator = cls._check(estimator)
        dataset = estimator._dataset(X)
        points = estimator._model.features(dataset).cpu().numpy()
        if points.shape[1] > 2:
            points = PCA(2, random_state=0).fit_transform(points) if len(points) > 1 else np.zeros((len(points), 2))
        elif points.shape[1] < 2:
            points = np.column_stack([points, np.zeros(len(points))])
        if y is None:
            found = estimator._posterior(X).argmax(axis=1)
            y = estimator.classes_[found] if hasattr(estimator, "classes_") else found
        y = as_column(y)
        check_consistent_length(points, y)
        return cls(points, y, unlabeled=getattr(estimator, "unlabeled", DEFAULT)).plot(ax=ax)

    def plot(self, *, ax=None, cmap=None):
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes new ones.
        cmap : str or matplotlib Colormap, default=None
            Colours of the labels. None takes "tab10" for up to 10 labels, "tab20" for up to 20, and "turbo" for more.

        Returns
        -------
        display : FeatureMapDisplay
            The display itself.
        """
        ax = self._axes(ax)
        points = np.asarray(self.points)
        labeled_index, labels = known_labels(as_column(self.labels), self.unlabeled)
        names, codes = encode(labels)
        cmap = cmap or ("tab10" if len(names) <= 10 else "tab20" if len(names) <= 20 else "turbo")
        others = np.delete(points, labeled_index, axis=0)
        unlabeled = ax.scatter(*others.T, c="lightgray", marker="x", s=5) if len(others) else None  # below the others
        dots = ax.scatter(*points[labeled_index].T, c=codes, s=5, cmap=cmap)
        handles = dots.legend_elements(num=list(range(len(names))))[0] if len(names) else []
        if unlabeled is not None:
            handles, names = [*handles, unlabeled], [*names, "unlabeled"]
        ax.legend(handles, list(names), loc="best", fontsize="small", ncols=-(-len(names) // 15))
        ax.set(xlabel="first component", ylabel="second component")
        return self


class ClusterConfusionDisplay(Display):
    """How many samples of each class are in each cluster, clusters in the order of the classes they match best.

    Parameters
    ----------
    counts : ndarray of shape (n_classes, n_clusters)
        Samples of each class in each cluster.
    classes : ndarray of shape (n_classes,)
        Names of the rows.
    clusters : ndarray of shape (n_clusters,)
        Names of the columns.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the picture.
    figure_ : matplotlib Figure
        The figure that contains it.

    See Also
    --------
    skganem.clustering_error : The share of samples off the diagonal.

    Examples
    --------
    >>> from skganem.display import ClusterConfusionDisplay
    >>> ClusterConfusionDisplay.from_predictions(["a", "a", "b"], [1, 1, 0]).counts
    array([[2, 0],
           [0, 1]])
    """

    def __init__(self, counts, classes, clusters):
        self.counts, self.classes, self.clusters = counts, classes, clusters

    @classmethod
    def from_estimator(cls, estimator, X, y, *, ax=None):
        """Draw the clusters of a fitted estimator against known classes.

        Parameters
        ----------
        estimator : object with predict
            A fitted clustering or classifier.
        X : array-like of the shape of fit's X, apart from n_samples
            The samples.
        y : array-like of shape (n_samples,)
            Their classes. Samples whose class is unknown are left out: those with the `unlabeled` of the estimator, or of the
            last step of a pipeline, or with -1 or a missing value where it has none.
        ax : matplotlib Axes, default=None
            None makes new ones.

        Returns
        -------
        display : ClusterConfusionDisplay
            The display, drawn.
        """
        check_is_fitted(estimator)
        last = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
        return cls.from_predictions(y, estimator.predict(X), unlabeled=getattr(last, "unlabeled", DEFAULT), ax=ax)

    @classmethod
    def from_predictions(cls, y_true, labels, *, unlabeled=-1, ax=None):
        """Draw given clusters against known classes.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            Classes. Samples whose class is unknown are left out.
        labels : array-like of shape (n_samples,)
            Clusters. Here, -1 is a cluster as any other.
        unlabeled : object, default=-1
            What stands in `y_true` for an unknown class, as in :class:`~skganem.GANEMSemiSupervisedClassifier`.
        ax : matplotlib Axes, default=None
            None makes new ones.

        Returns
        -------
        display : ClusterConfusionDisplay
            The display, drawn.
        """
        counts, classes, clusters = count_pairs(y_true, labels, unlabeled)
        matched = linear_sum_assignment(counts, maximize=True)[1]
        order = np.concatenate([matched, np.setdiff1d(np.arange(counts.shape[1]), matched)])
        return cls(counts[:, order], classes, clusters[order]).plot(ax=ax)

    def plot(self, *, ax=None, cmap="Blues"):
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes new ones.
        cmap : str or matplotlib Colormap, default="Blues"
            Colours of the counts.

        Returns
        -------
        display : ClusterConfusionDisplay
            The display itself.
        """
        ax = self._axes(ax)
        counts = np.asarray(self.counts)
        ax.imshow(counts, cmap=cmap)
        for (i, j), count in np.ndenumerate(counts):
            if count:
                ax.text(j, i, count, ha="center", va="center", color="w" if count > counts.max() / 2 else "k", fontsize="small")
        ax.set(xticks=range(counts.shape[1]), xticklabels=list(self.clusters), xlabel="cluster")
        ax.set(yticks=range(counts.shape[0]), yticklabels=list(self.classes), ylabel="class")
        return self

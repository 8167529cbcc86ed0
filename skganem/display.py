"""Pictures of fitted estimators, by scikit-learn's convention: ``SomeDisplay.from_estimator(...)``.

matplotlib is imported only when something is drawn.
"""

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.metrics.cluster import contingency_matrix
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils.validation import check_is_fitted

from skganem._base import BaseGANEM

__all__ = ["ClusterConfusionDisplay", "EMHistoryDisplay", "FeatureMapDisplay", "GeneratedSamplesDisplay"]


class _Display:
    @classmethod
    def _check(cls, estimator):
        """Return an estimator, unwrapped if it is frozen; raise an error unless it is one of this package's, and fitted."""
        estimator = estimator.estimator if isinstance(estimator, FrozenEstimator) else estimator
        if not isinstance(estimator, BaseGANEM):
            raise TypeError(
                f"{cls.__name__} is for skganem's estimators, got a {type(estimator).__name__}; of a pipeline, give the step "
                "that is one."
            )
        check_is_fitted(estimator)
        return estimator

    def _axes(self, ax):
        """Return the axes to draw on, new ones if None, and remember them and their figure."""
        check_matplotlib_support(f"{type(self).__name__}.plot")
        import matplotlib.pyplot as plt

        self.ax_ = plt.subplots(layout="constrained")[1] if ax is None else ax
        self.figure_ = self.ax_.figure
        return self.ax_


class GeneratedSamplesDisplay(_Display):
    """Images that the generator draws, a row for each cluster or class.

    Parameters
    ----------
    images : ndarray of shape (n_clusters, n_samples, height, width) or (n_clusters, n_samples, height, width, channels)
        The images of each cluster.
    labels : array-like of shape (n_clusters,)
        The names of the rows.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the picture.
    figure_ : matplotlib Figure
        The figure that contains it.

    See Also
    --------
    EMHistoryDisplay : How training went.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skganem import GANEMClustering, Recipe
    >>> from skganem.display import GeneratedSamplesDisplay
    >>> X, y = load_digits(n_class=3, return_X_y=True)
    >>> brief = Recipe().but(max_iter=2, encoder_steps=50)
    >>> model = GANEMClustering(3, recipe=brief, image_shape=(8, 8), random_state=0).fit(X[:90])
    >>> display = GeneratedSamplesDisplay.from_estimator(model, n_samples=5)
    >>> display.images.shape
    (3, 5, 8, 8)
    """

    def __init__(self, images, labels):
        self.images, self.labels = images, labels

    @classmethod
    def from_estimator(cls, estimator, *, n_samples=10, random_state=None, ax=None):
        """Draw samples of each cluster or class of a fitted estimator of images.

        Parameters
        ----------
        estimator : GANEMClustering or GANEMSemiSupervisedClassifier
            Fitted to images.
        n_samples : int, default=10
            Images in a row.
        random_state : int, RandomState instance or None, default=None
            None takes the estimator's own.
        ax : matplotlib Axes, default=None
            None makes new ones.

        Returns
        -------
        display : GeneratedSamplesDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator is none of skganem's.
        ValueError
            If it can't sample, or was fitted to plain rows.
        """
        estimator = cls._check(estimator)
        if not hasattr(estimator, "sample"):
            raise ValueError(
                f"{type(estimator).__name__} has no sample: give a GANEMClustering or a GANEMSemiSupervisedClassifier."
            )
        if estimator.image_shape_ is None:
            raise ValueError(f"{type(estimator).__name__} was fitted to rows, which are no images.")
        labels = getattr(estimator, "classes_", np.arange(len(estimator.weights_)))
        X, _ = estimator.sample(n_samples * len(labels), y=np.repeat(labels, n_samples), random_state=random_state)
        images = np.reshape(X, (len(labels), n_samples, *estimator.image_shape_))
        display = cls(images, labels).plot(ax=ax)
        display.ax_.set(ylabel="class" if hasattr(estimator, "classes_") else "cluster")
        return display

    def plot(self, *, ax=None, cmap="gray_r"):
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes new ones.
        cmap : str or matplotlib Colormap, default="gray_r"
            Colours of images that are not in color: with one channel, or with the mean of two or of five and more.

        Returns
        -------
        display : GeneratedSamplesDisplay
            The display itself.
        """
        ax = self._axes(ax)
        images = np.asarray(self.images, dtype=float)
        low, high = images.min(), images.max()
        images = (images - low) / ((high - low) or 1.0)
        if images.ndim == 5 and images.shape[4] not in (3, 4):
            images = images.mean(axis=4)
        n_clusters, n_samples, height, width = images.shape[:4]
        framed = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1), *((0, 0),) * (images.ndim - 4)))
        mosaic = np.moveaxis(framed, 2, 1).reshape(n_clusters * (height + 2), n_samples * (width + 2), *images.shape[4:])
        ax.imshow(mosaic, cmap=cmap)
        middle = (height + 2) * (np.arange(n_clusters) + 0.5) - 0.5
        ax.set(xticks=[], yticks=middle, yticklabels=list(self.labels), ylabel="cluster")
        return self


class EMHistoryDisplay(_Display):
    """How the EM loop went: labels that changed, and how unsure the E-net is, by iteration.

    Parameters
    ----------
    label_change : ndarray of shape (n_iter,)
        Share of the samples whose label changed.
    confidence : ndarray of shape (n_iter,)
        Mean probability of each sample's own cluster.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the picture.
    figure_ : matplotlib Figure
        The figure that contains it.

    See Also
    --------
    GeneratedSamplesDisplay : What the clusters look like.

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from skganem import GANEMClustering
    >>> from skganem.display import EMHistoryDisplay
    >>> X, _ = make_blobs(100, centers=2, random_state=0)
    >>> display = EMHistoryDisplay.from_estimator(GANEMClustering(2, max_iter=2, random_state=0).fit(X))
    >>> display.label_change.shape
    (2,)
    """

    def __init__(self, label_change, confidence):
        self.label_change, self.confidence = label_change, confidence

    @classmethod
    def from_estimator(cls, estimator, *, ax=None):
        """Draw the history of a fitted estimator.

        Parameters
        ----------
        estimator : GANEMClustering, GANEMSemiSupervisedClassifier or GANEMTransformer
            A fitted one.
        ax : matplotlib Axes, default=None
            None makes new ones.

        Returns
        -------
        display : EMHistoryDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator is none of skganem's.
        """
        estimator = cls._check(estimator)
        return cls(estimator.history_["label_change"], estimator.history_["confidence"]).plot(ax=ax)

    def plot(self, *, ax=None):
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes new ones.

        Returns
        -------
        display : EMHistoryDisplay
            The display itself.
        """
        ax = self._axes(ax)
        iterations = np.arange(1, len(self.label_change) + 1)
        ax.plot(iterations, 100 * np.asarray(self.label_change), "o-", label="labels changed")
        ax.plot(iterations, 100 - 100 * np.asarray(self.confidence), "s-", label="uncertainty")
        ax.set(xlabel="EM iteration", ylabel="percent", ylim=(0, None))
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend()
        return self


class FeatureMapDisplay(_Display):
    """The E-net's features of samples in two dimensions.

    Parameters
    ----------
    points : ndarray of shape (n_samples, 2)
        Where each sample is.
    labels : array-like of shape (n_samples,)
        What colors it.

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

    def __init__(self, points, labels):
        self.points, self.labels = points, labels

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
            What colors them; None takes the E-net's most probable clusters or, of a classifier, classes.
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
        y = column_or_1d(y)
        check_consistent_length(points, y)
        return cls(points, y).plot(ax=ax)

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
        names, codes = np.unique(self.labels, return_inverse=True)
        cmap = cmap or ("tab10" if len(names) <= 10 else "tab20" if len(names) <= 20 else "turbo")
        dots = ax.scatter(*np.asarray(self.points).T, c=codes, s=5, cmap=cmap)
        handles, _ = dots.legend_elements(num=list(range(len(names))))
        ax.legend(handles, list(names), loc="best", fontsize="small", ncols=-(-len(names) // 15))
        ax.set(xlabel="first component", ylabel="second component")
        return self


class ClusterConfusionDisplay(_Display):
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
            Their classes.
        ax : matplotlib Axes, default=None
            None makes new ones.

        Returns
        -------
        display : ClusterConfusionDisplay
            The display, drawn.
        """
        check_is_fitted(estimator)
        return cls.from_predictions(y, estimator.predict(X), ax=ax)

    @classmethod
    def from_predictions(cls, y_true, labels, *, ax=None):
        """Draw given clusters against known classes.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            Classes.
        labels : array-like of shape (n_samples,)
            Clusters.
        ax : matplotlib Axes, default=None
            None makes new ones.

        Returns
        -------
        display : ClusterConfusionDisplay
            The display, drawn.
        """
        y_true, labels = column_or_1d(y_true), column_or_1d(labels)
        check_consistent_length(y_true, labels)
        counts = contingency_matrix(y_true, labels)
        matched = linear_sum_assignment(counts, maximize=True)[1]
        order = np.concatenate([matched, np.setdiff1d(np.arange(counts.shape[1]), matched)])
        return cls(counts[:, order], np.unique(y_true), np.unique(labels)[order]).plot(ax=ax)

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

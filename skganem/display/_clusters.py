"""Clusters and classes: a map of features, and a table of counts."""

from numbers import Integral

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import pdist
from sklearn.decomposition import PCA
from sklearn.utils import check_consistent_length, check_scalar
from sklearn.utils.validation import check_is_fitted

from skganem._labels import DEFAULT, as_column, encode, known_labels
from skganem.display._base import Display, scale_images
from skganem.metrics import count_pairs

#: Names in a legend at most: as many as fit beside a figure of the usual height, and as "tab20" has colors.
MAX_NAMES = 20
#: The sides of a thumbnail, as shares of the map's longer side: smaller ones could not be seen, a few larger ones would cover
#: all dots.
MIN_THUMBNAIL, MAX_THUMBNAIL = 1 / 200, 1 / 8


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
    images : ndarray of shape (n_thumbnails, height, width) or (n_thumbnails, height, width, channels), default=None
        Images of some samples, which are drawn at their places; None draws none.
    positions : ndarray of shape (n_thumbnails,), default=None
        Which samples these are, as positions in `points`.

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

    def __init__(self, points, labels, *, unlabeled=-1, images=None, positions=None):
        self.points, self.labels, self.unlabeled = points, labels, unlabeled
        self.images, self.positions = images, positions

    @classmethod
    def from_estimator(cls, estimator, X, y=None, *, thumbnails=0, ax=None):
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
        thumbnails : int, default=0
            Images that are drawn at their places, spread over the map. They do not overlap, so the more, the smaller. Fewer
            are drawn where fewer samples have a place of their own.
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
        ValueError
            If there are to be thumbnails, and it was fitted to plain rows.
        """
        check_scalar(thumbnails, "thumbnails", Integral, min_val=0)
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
        unlabeled = getattr(estimator, "unlabeled", DEFAULT)
        if not thumbnails:
            return cls(points, y, unlabeled=unlabeled).plot(ax=ax)
        if estimator.image_shape_ is None:
            raise ValueError(f"{type(estimator).__name__} was fitted to rows, which have no thumbnails.")
        positions = farthest_points(points, thumbnails)
        images = dataset.array[positions].reshape(-1, *estimator.image_shape_)
        return cls(points, y, unlabeled=unlabeled, images=images, positions=positions).plot(ax=ax)

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
        from matplotlib.colors import to_rgba

        ax = self._axes(ax)
        points = np.asarray(self.points)
        labeled_index, labels = known_labels(as_column(self.labels), self.unlabeled)
        names, codes = encode(labels)
        cmap = cmap or ("tab10" if len(names) <= 10 else "tab20" if len(names) <= 20 else "turbo")
        others = np.delete(points, labeled_index, axis=0)
        unlabeled = ax.scatter(*others.T, c="lightgray", marker="x", s=5) if len(others) else None  # below the others
        dots = ax.scatter(*points[labeled_index].T, c=codes, s=5, cmap=cmap)
        # The most frequent names, beside the map where the figure makes room for them.
        shown = np.sort(np.argsort(-np.bincount(codes, minlength=len(names)), kind="stable")[:MAX_NAMES])
        handles, shown_names = dots.legend_elements(num=list(shown))[0] if len(names) else [], list(np.asarray(names)[shown])
        if unlabeled is not None:
            handles, shown_names = [*handles, unlabeled], [*shown_names, "unlabeled"]
        title = f"{MAX_NAMES} of {len(names)}" if len(names) > MAX_NAMES else None
        beside = {"loc": "center left", "bbox_to_anchor": (1, 0.5)} if self.figure_.get_layout_engine() else {"loc": "best"}
        ax.legend(handles, shown_names, title=title, fontsize="small", **beside)
        if self.images is not None:
            frames = np.tile(to_rgba("lightgray"), (len(points), 1))
            frames[labeled_index] = dots.to_rgba(codes)
            self._draw_thumbnails(frames[self.positions])
        ax.set(xlabel="first component", ylabel="second component")
        return self

    def _draw_thumbnails(self, colors):
        """Draw the images at their places, in frames of these colors (n, 4)."""
        from matplotlib.patches import Rectangle

        ax, places = self.ax_, np.asarray(self.points)[self.positions]
        images = scale_images(self.images, np.min(self.images), np.max(self.images))
        side = min(smallest_distance(places), MAX_THUMBNAIL * (np.ptp(self.points, axis=0).max() or 1.0))
        height, width = side * np.array(images.shape[1:3]) / max(images.shape[1:3])
        ax.autoscale(False)  # to one image after the other
        for image, (x, y), color in zip(images, places, colors, strict=True):
            extent = (x - width / 2, x + width / 2, y - height / 2, y + height / 2)
            ax.imshow(image, extent=extent, cmap="gray", vmin=0, vmax=1, zorder=3)
            ax.add_patch(Rectangle(extent[::2], width, height, fill=False, edgecolor=color, zorder=4))
        ax.use_sticky_edges = False
        ax.autoscale(True)
        ax.set_aspect("equal", adjustable="datalim")


def farthest_points(points, n):
    """Return positions (n,) of points (m, 2) that are far from each other; fewer where no more have a place of their own.

    The first is the nearest to the mean. Each further one is the farthest from those before, by the larger coordinate.
    """
    least = MIN_THUMBNAIL * np.ptp(points, axis=0).max()
    chosen, nearest = [np.square(points - points.mean(axis=0)).sum(axis=1).argmin()], np.full(len(points), np.inf)
    while len(chosen) < n:
        nearest = np.minimum(nearest, np.abs(points - points[chosen[-1]]).max(axis=1))
        if nearest.max() <= least:
            break
        chosen.append(nearest.argmax())
    return np.array(chosen)


def smallest_distance(points):
    """Return the smallest distance between two of points (n, 2), by the larger coordinate; infinity of a single one."""
    return float(pdist(points, "chebyshev").min(initial=np.inf))


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

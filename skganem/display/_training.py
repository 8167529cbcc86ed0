"""What a model has learned: generated samples, and how training went."""

import numpy as np

from skganem.display._base import Display, scale_images


class GeneratedSamplesDisplay(Display):
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
        images = np.asarray(self.images)
        n_clusters, n_samples, height, width = images.shape[:4]
        scaled = scale_images(images.reshape(-1, *images.shape[2:]), images.min(), images.max())
        images = scaled.reshape(n_clusters, n_samples, *scaled.shape[1:])
        framed = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1), *((0, 0),) * (images.ndim - 4)))
        mosaic = np.moveaxis(framed, 2, 1).reshape(n_clusters * (height + 2), n_samples * (width + 2), *images.shape[4:])
        ax.imshow(mosaic, cmap=cmap)
        middle = (height + 2) * (np.arange(n_clusters) + 0.5) - 0.5
        ax.set(xticks=[], yticks=middle, yticklabels=list(self.labels), ylabel="cluster")
        return self


class EMHistoryDisplay(Display):
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

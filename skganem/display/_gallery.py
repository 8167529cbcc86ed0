"""Real images of each cluster beside generated ones, as a picture and as a page for a browser."""

from dataclasses import dataclass
from numbers import Integral

import numpy as np
from sklearn.utils import check_array, check_consistent_length, check_random_state, check_scalar

from skganem.display._base import Display, scale_images
from skganem.display._page import write_gallery

#: What real images of a cluster can be shown.
KINDS = ("typical", "uncertain", "random")
#: Empty pixels around each image, as a share of its longer side; one at least.
FRAME = 1 / 16
#: Inches of an image's longer side in a new figure: digits are told apart. Inches that the labels take beside and above them.
IMAGE_INCHES, MARGIN_INCHES = 0.36, (1.3, 0.6)
#: Inches beyond which a new figure does not grow, whatever the number of images.
MAX_INCHES = 24


class ClusterGalleryDisplay(Display):
    """Images of each cluster, the largest cluster first.

    ``"typical"`` images are the nearest to the mean of their cluster, by the features that the model has learned.
    ``"uncertain"`` ones have the smallest margin between the two highest probabilities. ``"random"`` ones are drawn evenly.
    ``"generated"`` ones are no samples: the generator draws them.

    Parameters
    ----------
    labels : sequence of length n_clusters
        The name of each cluster.
    sizes : ndarray of shape (n_clusters,)
        How many samples each cluster has.
    confidence : ndarray of shape (n_clusters,)
        The mean probability of each cluster for its samples; NaN for an empty one.
    images : dict of str to list of ndarray
        By kind, for each cluster: its images (n_images, height, width) or (n_images, height, width, channels).
    positions : dict of str to list of ndarray
        By kind, apart from ``"generated"``, for each cluster: the positions of these images in X.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the picture.
    figure_ : matplotlib Figure
        The figure that contains it.

    See Also
    --------
    GeneratedSamplesDisplay : Generated samples alone.
    skganem.find_duplicates : Samples that are in the data more than once.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skganem import GANEMClustering, Recipe
    >>> from skganem.display import ClusterGalleryDisplay
    >>> X = load_digits(n_class=3).images[:90]
    >>> brief = Recipe.fast().but(encoder_steps=20, min_e_steps=20)
    >>> model = GANEMClustering(3, recipe=brief, random_state=0).fit(X)
    >>> display = ClusterGalleryDisplay.from_estimator(model, X, n_images=4)
    >>> [(kind, images[0].shape) for kind, images in display.images.items()]
    [('typical', (4, 8, 8)), ('uncertain', (4, 8, 8)), ('random', (4, 8, 8)), ('generated', (4, 8, 8))]
    """

    def __init__(self, labels, sizes, confidence, images, positions):
        self.labels, self.sizes, self.confidence = labels, sizes, confidence
        self.images, self.positions = images, positions

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        *,
        labels=None,
        n_images=5,
        kinds=KINDS,
        generated=True,
        max_clusters=20,
        random_state=None,
        ax=None,
    ):
        """Choose images of each cluster or class of a fitted estimator, and draw them.

        Parameters
        ----------
        estimator : GANEMClustering, GANEMSemiSupervisedClassifier or GANEMTransformer
            Fitted to images.
        X : array-like of the shape of fit's X, apart from n_samples
            The images.
        labels : sequence of length n_clusters, default=None
            The name of each cluster. Clusters of the same name are shown as one, and their probabilities add up. None takes
            the numbers of the clusters or, of a classifier, the classes.
        n_images : int, default=5
            Images of each kind and cluster.
        kinds : sequence of {"typical", "uncertain", "random"}, default=("typical", "uncertain", "random")
            What real images are shown, in this order.
        generated : bool, default=True
            Whether generated images are shown, too, if the estimator has a trained generator to sample from.
        max_clusters : int, default=20
            Clusters that are drawn, see :meth:`plot`. The display holds all of them.
        random_state : int, RandomState instance or None, default=None
            Of the random and the generated images. None takes the estimator's own.
        ax : matplotlib Axes, default=None
            None makes new ones.

        Returns
        -------
        display : ClusterGalleryDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator is none of skganem's.
        ValueError
            If it was fitted to plain rows, or an argument is not valid.
        """
        estimator = cls._check(estimator)
        if estimator.image_shape_ is None:
            raise ValueError(
                f"{type(estimator).__name__} was fitted to rows, which are no images. If the rows are features of images, give "
                f"these images and predict_proba of the rows to {cls.__name__}.from_predictions."
            )
        dataset = estimator._dataset(X)
        images = dataset.array.reshape(-1, *estimator.image_shape_)
        probability, features = estimator._posterior(X), estimator._embed(dataset).cpu().numpy()
        if labels is None:
            labels = getattr(estimator, "classes_", np.arange(probability.shape[1]))
        rng = check_random_state(estimator.random_state if random_state is None else random_state)
        clusters = NamedClusters.of(probability, labels)
        display = cls._choose(images, clusters, features, n_images, kinds, rng)
        if generated and hasattr(estimator, "sample") and estimator._generates:
            drawn = [estimator._generate(np.resize(members, n_images), rng) for members in clusters.members]
            display.images["generated"] = [part.reshape(-1, *estimator.image_shape_) for part in drawn]
        return display.plot(ax=ax, max_clusters=max_clusters)

    @classmethod
    def from_predictions(
        cls,
        images,
        probability,
        *,
        features=None,
        labels=None,
        n_images=5,
        kinds=KINDS,
        max_clusters=20,
        random_state=None,
        ax=None,
    ):
        """Choose images of given clusters, and draw them: for images whose features were clustered, as rows.

        Parameters
        ----------
        images : array-like of shape (n_samples, height, width) or (n_samples, height, width, channels)
            The images.
        probability : array-like of shape (n_samples, n_clusters)
            The probability of each cluster for each image, such as a ``predict_proba``.
        features : array-like of shape (n_samples, n_features), default=None
            Where each image lies, to tell which are typical. None takes the pixels.
        labels : sequence of length n_clusters, default=None
            The name of each cluster. Clusters of the same name are shown as one, and their probabilities add up. None takes
            their numbers.
        n_images : int, default=5
            Images of each kind and cluster.
        kinds : sequence of {"typical", "uncertain", "random"}, default=("typical", "uncertain", "random")
            What images are shown, in this order.
        max_clusters : int, default=20
            Clusters that are drawn, see :meth:`plot`. The display holds all of them.
        random_state : int, RandomState instance or None, default=None
            Of the random images.
        ax : matplotlib Axes, default=None
            None makes new ones.

        Returns
        -------
        display : ClusterGalleryDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If an argument is not valid.
        """
        images = check_array(images, dtype="numeric", allow_nd=True, input_name="images")
        if images.ndim not in (3, 4):
            raise ValueError(f"images must have shape (n, h, w) or (n, h, w, c), got {images.shape}.")
        probability = check_array(probability, dtype=np.float32, input_name="probability")
        features = images.reshape(len(images), -1) if features is None else check_array(features, input_name="features")
        check_consistent_length(images, probability, features)
        clusters = NamedClusters.of(probability, np.arange(probability.shape[1]) if labels is None else labels)
        display = cls._choose(images, clusters, features, n_images, kinds, check_random_state(random_state))
        return display.plot(ax=ax, max_clusters=max_clusters)

    @classmethod
    def _choose(cls, images, clusters, features, n_images, kinds, rng):
        """Return the display of chosen images; no generated ones."""
        check_scalar(n_images, "n_images", Integral, min_val=1)
        kinds = [kinds] if isinstance(kinds, str) else list(kinds)
        unknown = [kind for kind in kinds if kind not in KINDS]
        if unknown or not kinds:
            raise ValueError(f"kinds must be among {', '.join(KINDS)}, and one at least; got {kinds}.")
        chosen = {kind: [] for kind in kinds}
        for samples in clusters.samples:
            for kind in kinds:
                order = rank(kind, samples, clusters.margin, features, rng)
                chosen[kind].append(samples[order[:n_images]])
        shown = {kind: [np.asarray(images[positions]) for positions in parts] for kind, parts in chosen.items()}
        return cls(clusters.names, clusters.sizes, clusters.confidence, shown, chosen)

    def plot(self, *, ax=None, cmap="gray", max_clusters=20):
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes new ones.
        cmap : str or matplotlib Colormap, default="gray"
            Colours of images that are not in color: with one channel, or with the mean of two or of five and more.
        max_clusters : int, default=20
            The largest clusters that are drawn. The title tells how many are left out.

        Returns
        -------
        display : ClusterGalleryDisplay
            The display itself.
        """
        check_scalar(max_clusters, "max_clusters", Integral, min_val=1)
        n_shown = min(max_clusters, len(self.labels))
        frame = max(1, round(FRAME * max(self._image_shape[:2])))
        height, width = (side + 2 * frame for side in self._image_shape[:2])
        columns, n_columns = self._columns()
        canvas = np.zeros((n_shown * height, int(n_columns * width), 4), dtype=np.uint8)  # transparent
        for kind, (first, _) in columns.items():
            for row, pictures in enumerate(self._pictures(self.images[kind][:n_shown], cmap)):
                for column, picture in enumerate(pictures):
                    top, left = row * height + frame, int((first + column) * width) + frame
                    canvas[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
        inches = IMAGE_INCHES / max(height, width) * np.array(canvas.shape[1::-1])
        ax = self._axes(ax, figsize=np.minimum(inches + MARGIN_INCHES, MAX_INCHES))
        ax.imshow(canvas)
        ax.spines[:].set_visible(False)
        ax.xaxis.tick_top()
        ax.tick_params(length=0)
        ax.set_xticks([middle * width - 0.5 for _, middle in columns.values()], list(columns))
        ax.set_yticks(height * (np.arange(n_shown) + 0.5) - 0.5, [self._describe(i) for i in range(n_shown)])
        ax.set_title(self._title(n_shown))
        return self

    def save(self, folder, *, overwrite=False):
        """Write the images as PNG files, in a folder for each cluster, and a page that shows them: ``index.html``.

        The page opens in a browser without network. Images have their own size and, where these go from 0 to 255, their own
        values. Needs the package Pillow.

        Parameters
        ----------
        folder : str or path-like
            Where to. It is made if there is none.
        overwrite : bool, default=False
            Whether to write into a folder that is not empty. An earlier gallery in it is replaced; other files stay.

        Returns
        -------
        path : Path
            The page.

        Raises
        ------
        FileExistsError
            If the folder is not empty, and `overwrite` is False.
        """
        pictures = {kind: self._pictures(parts) for kind, parts in self.images.items()}
        return write_gallery(folder, self, pictures, overwrite)

    @property
    def _image_shape(self):
        return next(iter(self.images.values()))[0].shape[1:]

    def _columns(self):
        """Return by kind the column where its images begin and their middle; and the number of all columns."""
        columns, end = {}, 0.0
        for kind, parts in self.images.items():
            start, n = end + 0.5 * bool(columns), max(1, max(len(part) for part in parts))
            columns[kind], end = (start, start + n / 2), start + n
        return columns, end

    def _pictures(self, parts, cmap=None):
        """Return each cluster's images as uint8: as they are to be saved or, with a colormap, in RGBA."""
        low, high = self._range
        scaled = [scale_images(part, low, high) for part in parts]
        if cmap is None:
            return [np.rint(255 * part).astype(np.uint8) for part in scaled]
        import matplotlib.pyplot as plt

        colors = plt.get_cmap(cmap)
        return [colors(part, bytes=True) if part.ndim == 3 else with_alpha(np.rint(255 * part)) for part in scaled]

    @property
    def _range(self):
        """The lowest and the highest value of all images."""
        filled = [part for parts in self.images.values() for part in parts if part.size]
        return float(min(part.min() for part in filled)), float(max(part.max() for part in filled))

    def _describe(self, cluster):
        share = self.sizes[cluster] / self.sizes.sum()
        return f"{self.labels[cluster]}: {self.sizes[cluster]} ({share:.1%})"

    def _title(self, n_shown):
        n, total = len(self.labels), self.sizes.sum()
        if n_shown == n:
            return f"{n} clusters of {total} images"
        share = self.sizes[n_shown:].sum() / total
        return f"the {n_shown} largest of {n} clusters; {n - n_shown} left out, with {share:.1%} of the images"


@dataclass(frozen=True)
class NamedClusters:
    """Clusters, those of the same name taken together, the largest first.

    Attributes
    ----------
    names : list
        The name of each.
    members : list of ndarray
        The numbers that each had before.
    samples : list of ndarray
        Positions of its samples.
    sizes : ndarray of shape (n_clusters,)
    confidence : ndarray of shape (n_clusters,)
        The mean probability of its samples.
    margin : ndarray of shape (n,)
        By how much each sample's highest probability exceeds the second.
    """

    names: list
    members: list
    samples: list
    sizes: np.ndarray
    confidence: np.ndarray
    margin: np.ndarray

    @classmethod
    def of(cls, probability, labels):
        """Return the clusters to which samples belong by their probability (n, n_clusters)."""
        labels = list(labels)
        if len(labels) != probability.shape[1]:
            raise ValueError(f"labels must name each of the {probability.shape[1]} clusters, got {len(labels)} names.")
        names = list(dict.fromkeys(labels))
        which = np.array([names.index(label) for label in labels])
        summed = probability @ np.eye(len(names), dtype=probability.dtype)[which]
        found, best = summed.argmax(axis=1), summed.max(axis=1)
        margin = 2 * best - np.partition(summed, -2, axis=1)[:, -2:].sum(axis=1) if len(names) > 1 else best
        sizes = np.bincount(found, minlength=len(names))
        order = np.argsort(-sizes, kind="stable")
        samples = [np.flatnonzero(found == name) for name in order]
        confidence = np.array([best[part].mean() if len(part) else np.nan for part in samples])
        members = [np.flatnonzero(which == name) for name in order]
        return cls([names[i] for i in order], members, samples, sizes[order], confidence, margin)


def rank(kind, samples, margin, features, rng):
    """Return the order in which samples (n,) of a cluster are shown, by their places among them."""
    if kind == "random" or not len(samples):
        return rng.permutation(len(samples))
    if kind == "uncertain":
        return np.argsort(margin[samples], kind="stable")
    points = np.asarray(features[samples], dtype=np.result_type(features, np.float32))
    return np.argsort(np.square(points - points.mean(axis=0)).sum(axis=1), kind="stable")


def with_alpha(pictures):
    """Return pictures (n, h, w, 3 or 4) as uint8 RGBA."""
    missing = 4 - pictures.shape[3]
    return np.pad(pictures, [(0, 0)] * 3 + [(0, missing)], constant_values=255).astype(np.uint8)

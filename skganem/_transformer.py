"""GAN-EM features."""

import warnings
from dataclasses import replace
from numbers import Integral

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin, _fit_context
from sklearn.utils import check_consistent_length
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted

from skganem._base import BaseGANEM, check_answers
from skganem._labels import as_column, is_marker, known_labels, split_labels
from skganem._validation import NumberInterval, as_rows, unchanged_on_error
from skganem.core.init.responsibilities import hungarian_matching
from skganem.core.recipe import CHOICES
from skganem.core.runtime.launch import join


class GANEMTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseGANEM):
    """Features by GAN-EM: the layer before the output of an E-net trained to tell clusters, or classes, apart.

    Read more in the :ref:`user guide <features>`.

    Parameters
    ----------
    n_components : int, default=100
        Number of features: the units k of the E-net's layer r.
    n_clusters : int, default=8
        Number of clusters K where fit is given no labels; with labels, there are as many clusters as classes.
    unlabeled : object, default=-1
        What stands in y for an unknown class. With -1, missing values stand for one, too: None, NaN, NaT, pandas' NA and
        polars' null. None stands for all missing values, but not for -1: set it where -1 is a class. NaN works like None. With
        any other marker, missing values are refused.
    recipe : {"default", "fast", "paper", "released"} or Recipe, default="default"
        All settings of networks and training that have no parameter of their own here:

        - "default": what worked best on development data;
        - "fast": for a first look: nearly the default's labels in half of its time or less, and rough samples;
        - "paper": the settings of Zhao et al. (2018): uniform initial responsibilities, RMSprop, weight clipping, 5 epochs and
          1000 E-net steps an iteration. It learns by the GAN alone, and is slow: with half the width, 30 % of 10,000 MNIST
          images were wrong after 20 iterations and 25 minutes;
        - "released": the settings of the authors' released code, where they differ from the paper;
        - a :class:`~skganem.Recipe`, such as ``Recipe().but(lipschitz="r1")``.
    init : {"graph", "kmeans", "random", "uniform"} or None, default=None
        The initial responsibilities w (soft labels) of samples without a class, see :class:`GANEMClustering`:

        - "graph": a partition of the nearest-neighbor graph into `n_clusters`; where there are labels, these propagate
          through the graph;
        - "kmeans": k-means on the values;
        - "random": drawn from the simplex of probabilities;
        - "uniform": 1 / n_clusters, as in the paper. The networks' random initial weights alone tell clusters apart;
        - None: as the recipe says ("graph" in the default one).
    image_shape : "auto", tuple (height, width) or (height, width, channels), or None, default="auto"
        What the rows of a 2-D `X` are:

        - "auto": images, if they look like flattened square ones, gray or with 3 channels last; plain features otherwise;
        - a tuple: images of this shape, with sides of 8 or more;
        - None: plain features.
    metric : {"auto", "euclidean", "cosine"}, default="auto"
        The distance between rows; images have their own. With "cosine", the networks see the directions of the centered
        rows, in their 128 leading principal components. That suits embeddings by another network. "auto" takes it where some
        rows are neighbors of most others by Euclidean distance, but not by cosine distance, as is typical of embeddings.
    augmentation : "auto", callable or None, default="auto"
        The random transforms under which a sample keeps its cluster:

        - "auto": what the recipe has. The default one slightly rotates, shears, stretches, shifts and bends images. It changes
          tint and contrast of images with 3 channels. Half of the views from which features are learned have gray images at
          0.37 to 2.7 times their contrast. Rows move towards a nearest neighbor, unless
          labels show that neighbors are of other classes.
          "paper" and "released" have none;
        - an :class:`~skganem.ImageWarp`: changes images by other amounts;
        - a callable ``(x, index, rng) -> x``: changes a batch of tensors;
        - None: leaves samples as they are. No features of images are then learned, and they cluster by their pixels.
    max_iter : int, default=None
        EM iterations at most. None takes the recipe's (7 in the default one, whose learning rates fall to nearly 0 over them: 4
        are not the first half of 7).
    tol : float, default=None
        The labels have converged when at most this share of them changes in two iterations in a row, and no cluster is empty.
        Training then ends, after one iteration that trains the generator. None takes the recipe's (1e-3 in the default one);
        0 never ends early.
    n_init : int, default=1
        Number of restarts, each of which takes as long as a fit. The one with the highest `criterion_` is kept: its clusters
        are even, certain and stable. In our runs, these were often the ones with fewer errors, where classes are about even;
        whether clusters are the classes, the criterion cannot see.
    n_jobs : int, default=None
        Restarts that joblib makes side by side, each with its share of the threads; -1 takes all processors. None makes one
        after the other. Callbacks hear of each restart when all are made.
    batch_size : int, default=None
        Samples in a batch of the M-step. None takes the recipe's (64 in the default one).
    width : int, default=None
        Filters of the networks' first layer. None takes the recipe's (32 in the default one; 64 in the paper's).
    device : str or torch.device, default="auto"
        "auto" is CUDA, then MPS, then the CPU.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Of the networks' forward passes in training; weights, losses and predictions are float32. "auto" takes bfloat16 for
        images where the hardware multiplies in it.
    random_state : int, RandomState instance or None, default=None
        Pass an int for the same result in each call (on the same machine, with the same number of threads and versions of
        the libraries). With None, seeds are drawn from NumPy's global random state; nothing else touches it, or torch's.
    memory : str or object with the joblib.Memory interface, default=None
        Where fit keeps what depends neither on the number of clusters nor on labels: the encoder of images, and the lists of
        nearest neighbors. Another fit finds them there if it has the same data, settings, device, precision and int as
        `random_state`: with another `n_clusters`, of another estimator, or in another process. The results are the same
        with and without. A string is the path of a folder, which grows with each set of data.
    warm_start : bool, default=False
        Whether fit goes on from the model of the last fit: its networks, its scaling of the data, and its answers for the
        new data as initial responsibilities. `n_init` is then 1. The history is that of the last fit.
    checkpoint_dir : str or path-like, default=None
        A folder in which fit keeps its state, so that it can be killed at any moment: the same fit with the same folder goes
        on from there, and ends as if it had never been interrupted. A folder of a fit of other data or with other parameters
        is refused.
    checkpoint_every : int, default=1
        EM iterations from one state kept to the next.
    verbose : int, default=0
        1 prints what fit is at, with the seconds since it began and those that are left; 2 prints the losses, too.

    Attributes
    ----------
    weights_ : ndarray of shape (n_clusters,), or (n_classes,) where fit was given labels
        The share phi of each cluster, or class.
    n_iter_ : int
        EM iterations run.
    converged_ : bool
        Whether the labels stood still, see `tol`.
    criterion_ : float
        Mutual information, in nats, between the clusters of a sample before and after a small change: how many even,
        certain and stable clusters there are. At most the logarithm of their number. Restarts are compared by it.
    history_ : dict of ndarray, each of shape ``(n_iter_,)`` or ``(n_iter_, n_clusters)``
        By EM iteration: the mean losses "loss_g", "loss_d" and "loss_e"; the mean "confidence" of the E-net; the share
        "label_change" of samples whose cluster changed; the number "n_empty" of empty clusters; "seconds"; and "phi".
    image_shape_ : tuple or None
        The images' shape; None for plain rows.
    metric_ : {"euclidean", "cosine"}
        The distance between rows that was used.
    device_ : str
        Where the model is.
    n_features_in_ : int
        Number of values of a sample.
    feature_names_in_ : ndarray of shape ``(n_features_in_,)``
        Names of features seen in fit, if `X` has names that are all strings.

    See Also
    --------
    GANEMClustering : The same model's clusters.
    sklearn.decomposition.PCA : Linear features.

    References
    ----------
    Section 5.4 of W. Zhao, S. Wang, Z. Xie, J. Shi, C. Xu, "GAN-EM: GAN based EM learning framework", 2018.

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from skganem import GANEMTransformer
    >>> X, _ = make_moons(200, noise=0.05, random_state=0)
    >>> GANEMTransformer(n_components=2, n_clusters=2, max_iter=2, random_state=0).fit_transform(X).shape
    (200, 2)
    """

    _parameter_constraints: dict = {
        **BaseGANEM._parameter_constraints,
        "n_components": [NumberInterval(Integral, 1, None, closed="left")],
        "n_clusters": [NumberInterval(Integral, 1, None, closed="left")],
        "unlabeled": "no_validation",
        "init": [StrOptions(CHOICES["init"]), None],
    }

    def __init__(
        self,
        n_components=100,
        *,
        n_clusters=8,
        unlabeled=-1,
        recipe="default",
        init=None,
        image_shape="auto",
        metric="auto",
        augmentation="auto",
        max_iter=None,
        tol=None,
        n_init=1,
        n_jobs=None,
        batch_size=None,
        width=None,
        device="auto",
        precision="auto",
        random_state=None,
        memory=None,
        warm_start=False,
        checkpoint_dir=None,
        checkpoint_every=1,
        verbose=0,
    ):
        self.n_components = n_components
        self.n_clusters = n_clusters
        self.unlabeled = unlabeled
        self.recipe = recipe
        self.init = init
        self.image_shape = image_shape
        self.metric = metric
        self.augmentation = augmentation
        self.max_iter = max_iter
        self.tol = tol
        self.n_init = n_init
        self.n_jobs = n_jobs
        self.batch_size = batch_size
        self.width = width
        self.device = device
        self.precision = precision
        self.random_state = random_state
        self.memory = memory
        self.warm_start = warm_start
        self.checkpoint_dir = checkpoint_dir
        self.checkpoint_every = checkpoint_every
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn the features.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, height, width) or \
                (n_samples, height, width, channels)
            Rows or images, of any real dtype. A NumPy array is not copied, a memory map not loaded, unless its
            images are not contiguous, as after a transposition. HDF5 data sets, zarr and Dask arrays,
            :class:`~skganem.ImageFiles` and :class:`~skganem.DatasetArray` are read in batches.
        y : array-like of shape (n_samples,), default=None
            Classes, all of them or some (`unlabeled` elsewhere). None, or an array with no known class, learns features that
            tell `n_clusters` clusters apart.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If X or y is not as above, as where y has the continuous values of a regression. (Whole numbers pass for classes.)
        """
        with unchanged_on_error(self), join():
            X = as_rows(self, X, reset=True, image_shape=self.image_shape, min_samples=2)
            n_clusters, labeled = self.n_clusters, {}
            check_consistent_length(X, y)
            if y is not None and len(known := known_labels(as_column(y), self.unlabeled)[1]):
                refuse_targets(known)
                index, codes, classes = split_labels(X, y, self.unlabeled)
                n_clusters, labeled = (
                    len(classes),
                    {"labeled_index": torch.from_numpy(index), "labels": torch.from_numpy(codes)},
                )
            if len(X) < n_clusters:
                raise ValueError(f"n_samples={len(X)} should be >= n_clusters={n_clusters}.")
            self._train(X, n_clusters, n_components=int(self.n_components), **labeled)
        return self

    def fit_transform(self, X, y=None, **fit_params):
        """Learn the features and return those of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, height, width) or \
                (n_samples, height, width, channels)
            Rows or images, as in fit.
        y : array-like of shape (n_samples,), default=None
            Classes, as in fit. If it has `unlabeled`, and not only missing values, a warning is given: a pipeline calls this
            method, and gives the same y to a classifier, which may take the marker for a class.
        **fit_params : dict
            Passed to fit.

        Returns
        -------
        features : ndarray of shape (n_samples, n_components), float32
            The outputs of the E-net's layer r.
        """
        if y is not None and is_marker(as_column(y), self.unlabeled).any():
            warnings.warn(
                f"y has unlabeled={self.unlabeled!r}. In a pipeline, a supervised classifier takes it for a class. For such a "
                "classifier, fit the transformer first, and put sklearn.frozen.FrozenEstimator of it into a pipeline that is "
                "fitted to labeled samples alone. Before a semi-supervised one, or without a pipeline, ignore this.",
                UserWarning,
                stacklevel=3,
            )
        return super().fit_transform(X, y, **fit_params)

    def _continue_from(self, spec):
        """As for the other estimators; each class stands for the cluster of the last fit that it agrees with most."""
        spec = super()._continue_from(spec)
        clusters = hungarian_matching(spec.w[spec.labeled_index.to(spec.w.device)], spec.labels)
        return replace(spec, labels=clusters[spec.labels])

    def transform(self, X):
        """Return the features of each sample.

        Parameters
        ----------
        X : array-like of the shape of fit's X, apart from n_samples
            Rows or images.

        Returns
        -------
        features : ndarray of shape (n_samples, n_components), float32
            The outputs of the E-net's layer r.
        """
        check_is_fitted(self)
        return check_answers(self._model.features(self._dataset(X))).cpu().numpy()

    @property
    def _n_features_out(self):
        return self._model.spec.n_components

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def refuse_targets(labels):
    """Raise ValueError if known classes (m,) are the continuous values that a pipeline with a regressor passes on."""
    if labels.dtype.kind == "f" and np.isfinite(labels).all() and type_of_target(labels) == "continuous":
        raise ValueError(
            "y has continuous values, but GANEMTransformer takes it for classes. For a regression, fit it without y first, and "
            "put sklearn.frozen.FrozenEstimator of it into the pipeline."
        )

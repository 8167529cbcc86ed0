"""GAN-EM classification with few labels."""

import numpy as np
import torch
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.metrics import accuracy_score
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.validation import check_is_fitted

from skganem._base import BaseGANEM
from skganem._labels import as_column, known_labels, split_labels
from skganem._validation import as_rows, unchanged_on_error
from skganem.core.runtime.launch import join


class GANEMSemiSupervisedClassifier(ClassifierMixin, BaseGANEM):
    """Classification by GAN-EM where only some samples are labeled.

    Each class is a cluster of :class:`GANEMClustering`'s model. The labeled samples' responsibilities w are their classes, in
    the M-step as in the E-step. The initial w of the others come from the labeled samples through the graph of nearest
    neighbors; where labels that are held out are not found again through it, w is uniform at first, and rows are not mixed
    with their neighbors.

    Read more in the :ref:`user guide <semi_supervised>`.

    Parameters
    ----------
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
    classes_ : ndarray of shape (n_classes,)
        The classes in y, of their own type: a float column with NaN has the classes 0.0 and 1.0.
    transduction_ : ndarray of shape (n_samples,)
        Class of each sample seen in fit; of the labeled ones, the given class.
    label_distributions_ : ndarray of shape (n_samples, n_classes)
        Class probabilities of each sample seen in fit.
    weights_ : ndarray of shape (n_classes,)
        The share phi of each class.
    n_iter_ : int
        EM iterations run.
    converged_ : bool
        Whether the labels stood still, see `tol`.
    criterion_ : float
        Mutual information, in nats, between the clusters of a sample before and after a small change: how many even,
        certain and stable clusters there are. At most ``log(n_classes)``. Restarts are compared by it.
    history_ : dict of ndarray, each of shape ``(n_iter_,)`` or ``(n_iter_, n_classes)``
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
    GANEMClustering : Where no class is known.
    sklearn.semi_supervised.LabelSpreading : Labels spread through a graph of neighbors.
    sklearn.semi_supervised.SelfTrainingClassifier : A classifier that learns from its own confident predictions.

    References
    ----------
    Section 5.3 of W. Zhao, S. Wang, Z. Xie, J. Shi, C. Xu, "GAN-EM: GAN based EM learning framework", 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import make_moons
    >>> from skganem import GANEMSemiSupervisedClassifier
    >>> X, y = make_moons(300, noise=0.05, random_state=0)
    >>> known = np.full(300, -1)
    >>> known[:10] = y[:10]
    >>> GANEMSemiSupervisedClassifier(random_state=0).fit(X, known).score(X, y) > 0.95
    True
    """

    _parameter_constraints: dict = {**BaseGANEM._parameter_constraints, "unlabeled": "no_validation"}

    def __init__(
        self,
        *,
        unlabeled=-1,
        recipe="default",
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
        self.unlabeled = unlabeled
        self.recipe = recipe
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
    def fit(self, X, y):
        """Learn from labeled and unlabeled samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, height, width) or \
                (n_samples, height, width, channels)
            Rows or images, of any real dtype. A NumPy array is not copied, a memory map not loaded, unless its
            images are not contiguous, as after a transposition. HDF5 data sets, zarr and Dask arrays,
            :class:`~skganem.ImageFiles` and :class:`~skganem.DatasetArray` are read in batches.
        y : array-like of shape (n_samples,)
            Classes; `unlabeled` where the class is unknown. Lists, arrays, and columns of pandas and polars may hold missing
            values. The string "-1" is refused, since it may be a class or not: set `unlabeled` to "-1", or to None.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If no sample is labeled, y is continuous, mixes strings with other classes, or has another length than X, or X is
            not valid.
        """
        with unchanged_on_error(self), join():
            X = as_rows(self, X, reset=True, image_shape=self.image_shape, min_samples=2)
            labeled_index, codes, classes = split_labels(X, y, self.unlabeled)
            if self.warm_start and not np.array_equal(getattr(self, "classes_", classes), classes):
                raise ValueError(f"warm_start=True needs the classes of the last fit, {self.classes_}, got {classes}.")
            self.classes_ = classes
            # A score of the model so far needs labels: callbacks are shown the samples that have one.
            callback_data = {"X": lambda: X[labeled_index], "y": classes[codes]}
            self._train(
                X, len(classes), callback_data, labeled_index=torch.from_numpy(labeled_index), labels=torch.from_numpy(codes)
            )
        return self

    def _fitted_attributes(self, result):
        w = result.w.cpu().numpy()
        own = {"label_distributions_": w, "transduction_": self.classes_[w.argmax(axis=1)]}
        return {**super()._fitted_attributes(result), **own}

    def predict(self, X):
        """Tell the most probable class of each sample.

        Parameters
        ----------
        X : array-like of the shape of fit's X, apart from n_samples
            Rows or images.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Among `classes_`.
        """
        check_is_fitted(self)
        return self.classes_[self._posterior(X).argmax(axis=1)]

    def predict_proba(self, X):
        """Tell the probability of each class for each sample (w, Eq. 4).

        Parameters
        ----------
        X : array-like of the shape of fit's X, apart from n_samples
            Rows or images.

        Returns
        -------
        w : ndarray of shape (n_samples, n_classes), float32
            In the order of `classes_`; rows sum to 1.
        """
        check_is_fitted(self)
        return self._posterior(X)

    def score(self, X, y, sample_weight=None):
        """Tell the share of labeled samples whose class is predicted correctly.

        Parameters
        ----------
        X : array-like of the shape of fit's X, apart from n_samples
            Rows or images.
        y : array-like of shape (n_samples,)
            Classes. Samples whose class is unknown, as in fit, are left out.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        score : float
            The accuracy, from 0 to 1.

        Raises
        ------
        ValueError
            If no sample is labeled.
        """
        check_is_fitted(self)
        y = as_column(y)
        check_consistent_length(X, y, sample_weight)
        labeled_index, labels = known_labels(y, self.unlabeled)
        if len(labeled_index) == 0:
            raise ValueError("y has no labeled sample, so there is no class to compare predictions with.")
        weight = None if sample_weight is None else column_or_1d(sample_weight)[labeled_index]
        return float(accuracy_score(labels, self.predict(X)[labeled_index], sample_weight=weight))

    def sample(self, n_samples=1, y=None, *, random_state=None):
        """Generate new samples.

        Parameters
        ----------
        n_samples : int, default=1
            Number of samples.
        y : label or array-like of shape (n_samples,), default=None
            The class to draw from, for all samples or for each. None draws classes by their `weights_`.
        random_state : int, RandomState instance or None, default=None
            None takes the estimator's own; where that is an int, all calls give the same samples.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features), or of images if fit was given images
            Of the dtype of fit's X (float64 for bool), and images of its range.
        y : ndarray of shape (n_samples,)
            The class of each sample, ascending unless `y` was given.
        """
        check_is_fitted(self)
        return self._sample(n_samples, y, self.classes_, random_state)

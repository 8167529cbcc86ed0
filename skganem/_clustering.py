"""GAN-EM clustering."""

from numbers import Integral

import numpy as np
import torch
from sklearn.base import ClusterMixin, _fit_context
from sklearn.metrics import silhouette_samples
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_array, check_is_fitted

from skganem._base import BaseGANEM, check_answers
from skganem._validation import NumberInterval, as_rows, unchanged_on_error
from skganem.core.graph.spectral import diffusion_embedding
from skganem.core.recipe import CHOICES
from skganem.core.runtime.launch import join

#: Samples that a score compares at most: more take time and memory, and hardly change it.
MAX_SCORED = 5000


class GANEMClustering(ClusterMixin, BaseGANEM):
    """Clustering by GAN-EM: expectation maximization whose mixture components are learned by a conditional GAN.

    Each cluster has a distribution of its own, given by a generator network, which need not be Gaussian, round, or like
    the others'. In each EM iteration, the M-step trains the generator on the data, weighted by responsibilities w, against a
    discriminator with an output unit for each cluster; the E-step trains a classifier, the E-net, on generated samples,
    whose cluster is known, and on real ones under small changes, and reads off new w.

    Read more in the :ref:`user guide <clustering>`.

    Parameters
    ----------
    n_clusters : int, default=8
        The number of clusters K.
    recipe : {"default", "fast", "paper", "released"} or Recipe, default="default"
        All settings of networks and training that have no parameter of their own here:

        - "default": what worked best on development data;
        - "fast": for a first look: nearly the default's labels in half of its time or less, and rough samples;
        - "paper": the settings of Zhao et al. (2018): uniform initial responsibilities, RMSprop, weight clipping, 5 epochs and
          1000 E-net steps an iteration. It learns by the GAN alone, and is slow: with half the width, 30 % of 10,000 MNIST
          images were wrong after 20 iterations and 25 minutes;
        - "released": the settings of the authors' released code, where they differ from the paper;
        - a :class:`~skganem.Recipe`, such as ``Recipe().but(lipschitz="r1")``.
    init : {"graph", "kmeans", "random", "uniform"}, array-like of shape (n_samples, n_clusters), callable or None, \
            default=None
        The initial responsibilities w (soft labels):

        - "graph": a partition of the nearest-neighbor graph into `n_clusters`. Neighbors of images are near by features,
          which are first learned from the images themselves, or after one image is deformed a little. Rows are near by
          their values;
        - "kmeans": k-means on the values;
        - "random": drawn from the simplex of probabilities;
        - "uniform": 1 / n_clusters, as in the paper. The networks' random initial weights alone tell clusters apart;
        - an array, whose rows sum to 1: of hard labels, ``numpy.eye(n_clusters)[labels]``;
        - a callable ``(X, n_clusters, random_state) -> array``, to which images come as rows, and a RandomState;
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
          0.37 to 2.7 times their contrast. Rows move towards a nearest neighbor.
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
    labels_ : ndarray of shape (n_samples,)
        Cluster of each sample seen in fit.
    weights_ : ndarray of shape (n_clusters,)
        The share phi of each cluster.
    n_iter_ : int
        EM iterations run.
    converged_ : bool
        Whether the labels stood still, see `tol`. Where they did not, usually all `max_iter` iterations were made, as with
        most sets of thousands of images; there is no warning.
    criterion_ : float
        Mutual information, in nats, between the clusters of a sample before and after a small change: how many even,
        certain and stable clusters there are. At most ``log(n_clusters)``. Restarts are compared by it.
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
    GANEMSemiSupervisedClassifier : Where the classes of some samples are known.
    GANEMTransformer : Features instead of labels.
    sklearn.mixture.GaussianMixture : Expectation maximization with Gaussian components.

    Notes
    -----
    A cluster that no sample prefers after an E-step is given half of the largest cluster, the half that the E-net is less
    sure of. If there are empty clusters at the end, a ConvergenceWarning says so.

    References
    ----------
    W. Zhao, S. Wang, Z. Xie, J. Shi, C. Xu, "GAN-EM: GAN based EM learning framework", 2018.

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from skganem import GANEMClustering, clustering_error
    >>> X, y = make_moons(300, noise=0.05, random_state=0)
    >>> labels = GANEMClustering(n_clusters=2, random_state=0).fit_predict(X)
    >>> clustering_error(y, labels) < 0.05
    True
    """

    _parameter_constraints: dict = {
        **BaseGANEM._parameter_constraints,
        "n_clusters": [NumberInterval(Integral, 1, None, closed="left")],
        "init": [StrOptions(CHOICES["init"]), "array-like", callable, None],
    }

    def __init__(
        self,
        n_clusters=8,
        *,
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
        self.n_clusters = n_clusters
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
        """Find the clusters of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, height, width) or \
                (n_samples, height, width, channels)
            Rows or images, of any real dtype. A NumPy array is not copied, a memory map not loaded, unless its
            images are not contiguous, as after a transposition. HDF5 data sets, zarr and Dask arrays,
            :class:`~skganem.ImageFiles` and :class:`~skganem.DatasetArray` are read in batches.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If X holds NaN or infinity, has fewer samples than clusters, or does not match `image_shape`.
        """
        with unchanged_on_error(self), join():
            X = as_rows(self, X, reset=True, image_shape=self.image_shape, min_samples=2)
            if len(X) < self.n_clusters:
                raise ValueError(f"n_samples={len(X)} should be >= n_clusters={self.n_clusters}.")
            self._train(X, self.n_clusters, w=None if self._continues else self._initial_w(X))
        return self

    def _fitted_attributes(self, result):
        return {**super()._fitted_attributes(result), "labels_": result.w.argmax(dim=1).cpu().numpy()}

    def _initial_w(self, X):
        """Return the user's own initial w as a tensor, or None."""
        if self.init is None or isinstance(self.init, str):
            return None
        w = self.init(X, self.n_clusters, check_random_state(self.random_state)) if callable(self.init) else self.init
        if np.ndim(w) == 1:
            raise ValueError("init must have a column for each cluster: of hard labels, numpy.eye(n_clusters)[labels].")
        w = check_array(w, dtype=np.float32, input_name="init")
        if w.shape != (len(X), self.n_clusters):
            raise ValueError(f"init has shape {w.shape}, expected {(len(X), self.n_clusters)}.")
        if (w < 0).any() or not np.allclose(w.sum(axis=1), 1, atol=1e-3):
            raise ValueError("init must have non-negative rows that sum to 1.")
        return torch.tensor(w, device="cpu")

    def predict(self, X):
        """Tell the most probable cluster of each sample.

        Parameters
        ----------
        X : array-like of the shape of fit's X, apart from n_samples
            Rows or images.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            From 0 to n_clusters - 1.
        """
        check_is_fitted(self)
        return self._posterior(X).argmax(axis=1)

    def predict_proba(self, X):
        """Tell the probability of each cluster for each sample (w, Eq. 4).

        Parameters
        ----------
        X : array-like of the shape of fit's X, apart from n_samples
            Rows or images.

        Returns
        -------
        w : ndarray of shape (n_samples, n_clusters), float32
            Rows sum to 1.
        """
        check_is_fitted(self)
        return self._posterior(X)

    def score(self, X, y=None):
        """Tell how well the clusters fit data that was not seen: higher is better.

        The score is the mean silhouette of the samples' predicted clusters. Between images, the distance is that of the
        features that fit has learned. Between rows, and images without such features, it is that in a diffusion map of
        their neighbor graph, where groups that overlap little are far apart.

        With an int as `random_state` and without restarts, nothing in it but the labels depends on `n_clusters`. So
        ``GridSearchCV(GANEMClustering(random_state=0, memory="cache"), {"n_clusters": [...]})`` can choose it. Sorted data
        need ``cv=KFold(3, shuffle=True)``: the default folds are not drawn at random.
        :class:`~skganem.display.NumberOfClustersDisplay` takes less time, since it trains no networks but the encoder.

        The score is no likelihood, which a GAN does not have. It compares models of the same data only. Where groups are
        long and thin, such as two moons, it favors cutting them into shorter pieces. In the diffusion map, it can't tell
        apart more than some hundred groups.

        Parameters
        ----------
        X : array-like of the shape of fit's X, apart from n_samples
            Rows or images; of more than 5000, 5000 at equal distances are used. A few hundred are needed for a score that
            means something.
        y : None
            Ignored.

        Returns
        -------
        score : float
            In [-1, 1]; 0 if all samples are in one cluster.
        """
        check_is_fitted(self)
        dataset = self._dataset(X)
        dataset = dataset.subset(scored_places(len(dataset)))
        labels = check_answers(self._model.posterior(dataset)).argmax(dim=1).cpu().numpy()
        return float(silhouettes(self._model.embed(dataset).cpu(), labels, self._model.encoder is not None).mean())

    def sample(self, n_samples=1, y=None, *, random_state=None):
        """Generate new samples.

        Parameters
        ----------
        n_samples : int, default=1
            Number of samples.
        y : int or array-like of shape (n_samples,), default=None
            The cluster to draw from, for all samples or for each. None draws clusters by their `weights_`.
        random_state : int, RandomState instance or None, default=None
            None takes the estimator's own; where that is an int, all calls give the same samples.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features), or of images if fit was given images
            Of the dtype of fit's X (float64 for bool), and images of its range.
        y : ndarray of shape (n_samples,)
            The cluster of each sample, ascending unless `y` was given.
        """
        check_is_fitted(self)
        return self._sample(n_samples, y, np.arange(len(self.weights_)), random_state)


def scored_places(n):
    """Return the positions (m,) of the samples that a score compares: all of n, or 5000 at equal distances."""
    return torch.linspace(0, n - 1, min(n, MAX_SCORED), dtype=torch.float64, device="cpu").round().long()


def silhouettes(features, labels, learned):
    """Return the silhouettes of labels (n,) between learned features (n, m), or in the diffusion map of other ones.

    Of many samples, some have one (`scored_places`). Without clusters that could be compared, all are 0.
    """
    places = scored_places(len(labels))
    features, labels = features[places], labels[places.numpy()]
    if not 1 < len(np.unique(labels)) < len(labels):
        return np.zeros(len(labels))
    return silhouette_samples(features.numpy() if learned else diffusion_embedding(features), labels)

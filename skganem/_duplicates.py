"""Samples that are in the data more than once."""

from numbers import Real

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.utils import check_array, check_scalar

from skganem._base import own_estimator
from skganem.core.data.dataset import ArrayDataset, Scaler
from skganem.core.graph.duplicates import near_pairs
from skganem.core.graph.knn import deduplicate
from skganem.core.runtime.rng import float32_with_grad

#: The default thresholds. Among 6000 images of MNIST, 1797 digits of 8x8 and 3000 house numbers, 0.35 found 3 pairs that were
#: not planted, and 0.4 found 13; of noisy copies, 0.3 found fewer. Rows of few features come near each other by chance: with
#: 0.05, 25 pairs of 2000 normally distributed rows of 2 features, and none of 4 features.
IMAGE_THRESHOLD, ROW_THRESHOLD = 0.35, 0.05


def find_duplicates(X, model=None, *, threshold=None):
    """Find the groups of samples that are equal or, with a fitted model, nearly equal.

    Without a model, samples must have the same values. With one, they may differ as much as copies do: by a little noise, by
    brightness, or by a shift of a pixel or two. A shift by one pixel of 8x8 is too much.

    Candidates are the nearest by the features that the model has learned. Images are then compared by their image distortion
    (IDM) distance, which forgives small deformations. Rows are compared by their Euclidean distance.

    Read more in the :ref:`user guide <looking>`.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features), (n_samples, height, width) or \
            (n_samples, height, width, channels)
        Rows or images, of the form of the model's data. A memory map is read in batches.
    model : GANEMClustering, GANEMSemiSupervisedClassifier or GANEMTransformer, default=None
        A fitted one, to find nearly equal samples, too.
    threshold : float, default=None
        How near nearly equal samples are, as a share of the distance that is typical around them: that from the tenth nearest.
        The lower, the fewer pairs are found that are no copies. None takes 0.35 for images and 0.05 for rows. Rows of two or
        three features need less. Of 4000 photographs as rows of another network's features, 0.35 took none for copies.

    Returns
    -------
    groups : list of ndarray of int
        The positions in X of the samples of each group, ascending; the largest group first. A group is all samples that are
        connected by pairs, so its first and last sample may differ more than the pairs do.

    Raises
    ------
    TypeError
        If the model is none of skganem's.
    ValueError
        If X holds NaN or infinity, or is not of the form of the model's data.

    See Also
    --------
    skganem.display.ClusterGalleryDisplay : Images of each cluster.

    Examples
    --------
    >>> from skganem import find_duplicates
    >>> find_duplicates([[1, 2], [3, 4], [1, 2], [5, 6], [3, 4], [1, 2]])
    [array([0, 2, 5]), array([1, 4])]
    """
    with float32_with_grad():
        if model is None:
            dataset = plain_dataset(X)
        else:
            model = own_estimator(model, "find_duplicates")
            dataset = model._dataset(X)
        nodes, first_copy, _ = deduplicate(dataset, torch.arange(len(dataset)))
        pairs = torch.stack([torch.arange(len(dataset)), first_copy], dim=1)
        if model is not None:
            default = ROW_THRESHOLD if model.image_shape_ is None else IMAGE_THRESHOLD
            threshold = check_scalar(default if threshold is None else threshold, "threshold", Real, min_val=0)
            pairs = torch.cat([pairs, near_pairs(dataset, nodes, model._embed, threshold)])
    return connected_groups(pairs.numpy(), len(dataset))


def plain_dataset(X):
    """Return a data set of the values of X as they are."""
    X = check_array(X, dtype="numeric", allow_nd=True)
    X = X.reshape(len(X), -1)
    return ArrayDataset(X, X.shape[1:], Scaler(np.zeros(1), 1.0), torch.device("cpu"))


def connected_groups(pairs, n):
    """Return the groups of two or more of n positions that pairs (m, 2) connect, the largest first."""
    graph = coo_array((np.ones(len(pairs), dtype=bool), tuple(pairs.T)), shape=(n, n))
    _, labels = connected_components(graph, directed=False)
    order = labels.argsort(kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    return sorted((group for group in groups if len(group) > 1), key=lambda group: (-len(group), group[0]))

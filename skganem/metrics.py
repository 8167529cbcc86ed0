"""The error rate by which clusterings are compared with known classes."""

from scipy.optimize import linear_sum_assignment
from sklearn.metrics.cluster import contingency_matrix
from sklearn.utils import check_consistent_length

from skganem._labels import as_column, encode, is_missing_in, known_labels, warn_of_single_class

__all__ = ["clustering_error"]


def clustering_error(labels_true, labels_pred, *, mapping="one-to-one", unlabeled=-1):
    """Error rate of a clustering under the best mapping of clusters to classes.

    Parameters
    ----------
    labels_true : array-like of shape (n_samples,)
        Classes, of any type. Samples whose class is unknown are left out.
    labels_pred : array-like of shape (n_samples,)
        Clusters, of any type. Here, -1 is a cluster as any other.
    mapping : {"one-to-one", "many-to-one"}, default="one-to-one"
        - "one-to-one": each cluster stands for a class of its own (Hungarian method). Samples of a cluster, or of a class,
          that is left over count as errors. This is the usual choice where there are as many clusters as classes.
        - "many-to-one": each cluster stands for its most frequent class. This is the customary choice where there are more
          clusters than classes. It falls as clusters are added, to 0 where each sample is a cluster; compare only
          clusterings with the same number of clusters.
    unlabeled : object, default=-1
        What stands in `labels_true` for an unknown class, as in :class:`~skganem.GANEMSemiSupervisedClassifier`.

    Returns
    -------
    error : float
        In [0, 1]; 0 is a perfect clustering.

    Raises
    ------
    ValueError
        If the lengths differ, a label array is empty, no class is known, a cluster is missing, or `mapping` is unknown.

    References
    ----------
    Eq. 20 of W. Zhao, S. Wang, Z. Xie, J. Shi, C. Xu, "GAN-EM: GAN based EM learning framework", 2018.

    Examples
    --------
    >>> from skganem import clustering_error
    >>> clustering_error(["a", "a", "b", "b"], [1, 1, 0, 0])
    0.0
    >>> clustering_error([0, 0, 1, 1], [0, 1, 2, 2])
    0.25
    >>> clustering_error([0, 0, 1, 1], [0, 1, 2, 2], mapping="many-to-one")
    0.0
    """
    counts, _, _ = count_pairs(labels_true, labels_pred, unlabeled)
    if mapping == "one-to-one":
        right = counts[linear_sum_assignment(counts, maximize=True)].sum()
    elif mapping == "many-to-one":
        right = counts.max(axis=0).sum()
    else:
        raise ValueError(f"mapping must be 'one-to-one' or 'many-to-one', got {mapping!r}.")
    n_labeled = counts.sum()
    return float(1 - right / n_labeled) if right < n_labeled else 0.0


def count_pairs(labels_true, labels_pred, unlabeled):
    """Count the samples of each class in each cluster, without those whose class is unknown.

    Parameters
    ----------
    labels_true, labels_pred : array-like of shape (n_samples,)
    unlabeled : object
        The marker of unknown classes in `labels_true`.

    Returns
    -------
    counts : ndarray of shape (n_classes, n_clusters)
    classes : ndarray of shape (n_classes,)
    clusters : ndarray of shape (n_clusters,)
        Those of the counted samples.
    """
    labels_true, labels_pred = as_column(labels_true), as_column(labels_pred)
    check_consistent_length(labels_true, labels_pred)
    if len(labels_true) == 0:
        raise ValueError("The labels are empty.")
    if n_missing := is_missing_in(labels_pred).sum():
        raise ValueError(f"{n_missing} samples have no cluster: the predicted labels have missing values.")
    labeled_index, labels = known_labels(labels_true, unlabeled)
    if len(labeled_index) == 0:
        raise ValueError("No sample has a known class.")
    (classes, rows), (clusters, columns) = encode(labels), encode(labels_pred[labeled_index])
    warn_of_single_class(labels_true, classes, unlabeled, stacklevel=4)
    return contingency_matrix(rows, columns), classes, clusters

"""The error rate by which clusterings are compared with known classes."""

from scipy.optimize import linear_sum_assignment
from sklearn.metrics.cluster import contingency_matrix
from sklearn.utils import check_consistent_length, column_or_1d

__all__ = ["clustering_error"]


def clustering_error(labels_true, labels_pred, *, mapping="one-to-one"):
    """Error rate of a clustering under the best mapping of clusters to classes.

    Parameters
    ----------
    labels_true : array-like of shape (n_samples,)
        Classes, of any type.
    labels_pred : array-like of shape (n_samples,)
        Clusters, of any type.
    mapping : {"one-to-one", "many-to-one"}, default="one-to-one"
        - "one-to-one": each cluster stands for a class of its own (Hungarian method). Samples of a cluster, or of a class,
          that is left over count as errors. This is the usual choice where there are as many clusters as classes.
        - "many-to-one": each cluster stands for its most frequent class. This is the customary choice where there are more
          clusters than classes. It falls as clusters are added, to 0 where each sample is a cluster; compare only
          clusterings with the same number of clusters.

    Returns
    -------
    error : float
        In [0, 1]; 0 is a perfect clustering.

    Raises
    ------
    ValueError
        If the lengths differ, a label array is empty, or `mapping` is unknown.

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
    labels_true, labels_pred = column_or_1d(labels_true), column_or_1d(labels_pred)
    check_consistent_length(labels_true, labels_pred)
    if len(labels_true) == 0:
        raise ValueError("labels_true and labels_pred are empty.")
    counts = contingency_matrix(labels_true, labels_pred)  # (n_classes, n_clusters)
    if mapping == "one-to-one":
        right = counts[linear_sum_assignment(counts, maximize=True)].sum()
    elif mapping == "many-to-one":
        right = counts.max(axis=0).sum()
    else:
        raise ValueError(f"mapping must be 'one-to-one' or 'many-to-one', got {mapping!r}.")
    return float(1 - right / len(labels_true)) if right < len(labels_true) else 0.0

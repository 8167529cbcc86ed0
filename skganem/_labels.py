"""What comes in as y: classes, some of them unknown."""

import warnings
from datetime import date
from numbers import Integral, Number

import numpy as np
import torch
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, unique_labels

#: False is no 0, and True no 1.
BOOL = (bool, np.bool_)


def split_labels(X, y, unlabeled):
    """Separate known classes from the marker of unknown ones.

    Parameters
    ----------
    X : array-like
        For the check of lengths.
    y : array-like of shape (n_samples,)
    unlabeled : object
        The marker.

    Returns
    -------
    labeled_index : ndarray of shape (n_labeled,)
        Positions of the labeled samples.
    codes : ndarray of shape (n_labeled,)
        Their classes, as positions in `classes`.
    classes : ndarray of shape (n_classes,)
    """
    if y is None:
        raise ValueError("This estimator requires y to be passed, but the target y is None.")
    y = as_column(y)
    check_consistent_length(X, y)
    labeled_index = np.flatnonzero(~is_unlabeled(y, unlabeled))
    if len(labeled_index) == 0:
        raise ValueError("y has no labeled sample: at least one sample of each class must be labeled.")
    labels = y[labeled_index]
    if any(map(is_missing, _scalars(labels))):
        raise ValueError("Input y contains NaN or None. If that stands for an unknown class, set `unlabeled` to it.")
    if labels.dtype == object and len({isinstance(label, str) for label in labels.tolist()}) == 1:
        labels = np.asarray(labels.tolist())  # the unknown ones alone made the array one of objects
    check_classification_targets(np.tile(labels, 2))  # of labels that all differ, it would suspect a regression
    classes = unique_labels(labels)
    if not isinstance(unlabeled, str) and str(unlabeled) in classes.tolist():
        warnings.warn(
            f"{str(unlabeled)!r} in y, a string, counts as a class, since unlabeled={unlabeled!r} is none.",
            UserWarning,
            stacklevel=4,
        )
    if len(classes) == 1 and len(labeled_index) < len(y):
        warnings.warn(
            f"{classes.tolist()[0]!r} is the only class in y, and {len(y) - len(labeled_index)} samples with {unlabeled!r} "
            f"count as unlabeled. If {unlabeled!r} is a class, set another `unlabeled`.",
            UserWarning,
            stacklevel=4,
        )
    return labeled_index, np.searchsorted(classes, labels), classes


def refuse_wrapped(y, unlabeled):
    """Raise ValueError if y has what a negative marker became when it was put among unsigned integers, such as 255 for -1."""
    if y.dtype.kind != "u" or not isinstance(unlabeled, Integral) or unlabeled >= 0:
        return
    wrapped = np.array(unlabeled).astype(y.dtype)
    if (y == wrapped).any():
        raise ValueError(
            f"y has dtype {y.dtype}, in which unlabeled={unlabeled} is {wrapped}, and y has {wrapped}. Convert y before "
            "unknown classes are marked: y.astype(int)."
        )


def as_column(y):
    """Return y as an array (n_samples,)."""
    if isinstance(y, torch.Tensor):
        y = y.detach().cpu().numpy()
    if not isinstance(getattr(y, "dtype", np.dtype(object)), np.dtype):  # pandas' own, whose NA would become NaN or an error
        y = np.asarray(y, dtype=object)
    return column_or_1d(y, warn=True)


def is_missing(label):
    """Tell whether a label is None, NaN or pandas' NA."""
    try:
        return label is None or bool(label != label)
    except TypeError:  # NA is not comparable
        return True


def is_unlabeled(y, unlabeled):
    """Tell which entries of y are the marker: a bool array (n_samples,)."""
    refuse_wrapped(y, unlabeled)
    if y.dtype == object:
        return np.array([_same(label, unlabeled) for label in y.tolist()], dtype=bool)
    none, kind = np.zeros(len(y), dtype=bool), y.dtype.kind
    if isinstance(unlabeled, str) != (kind in "US") or isinstance(unlabeled, BOOL) != (kind == "b"):
        return none
    if is_missing(unlabeled):
        is_nan, is_nat = isinstance(unlabeled, (float, np.floating)), str(unlabeled) == "NaT"
        return np.isnan(y) if (kind == "f" and is_nan) or (kind in "mM" and is_nat) else none
    if kind in "mM" and isinstance(unlabeled, Number):  # which NumPy would take for a time
        return none
    return y == (np.datetime64(unlabeled) if kind == "M" and isinstance(unlabeled, date) else unlabeled)


def _same(label, unlabeled):
    if label is unlabeled:
        return True
    try:
        if label != label and unlabeled != unlabeled:  # NaN
            return True
        alike = all(isinstance(label, kind) == isinstance(unlabeled, kind) for kind in (str, BOOL))
        return alike and bool(label == unlabeled)
    except TypeError:  # pandas.NA, which can't be compared
        return False


def _scalars(labels):
    """Return the labels among which NaN, NaT or None could be."""
    return list(labels) if labels.dtype.kind in "fOmM" else []

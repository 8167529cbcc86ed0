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
#: The marker beside which missing values count as unlabeled, too: the estimators' default.
DEFAULT = -1


def split_labels(X, y, unlabeled):
    """Separate known classes from unknown ones.

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
    y = as_column(y, warn=True)
    check_consistent_length(X, y)
    labeled_index, labels = known_labels(y, unlabeled)
    if y.dtype.kind == "U" and isinstance(unlabeled, Number) and not is_missing(unlabeled) and "+" not in labels:
        refuse_doubtful(labels, {str(unlabeled)[: y.dtype.itemsize // np.dtype("U1").itemsize]}, unlabeled)  # "-" for -1
    if len(labeled_index) == 0:
        raise ValueError("y has no labeled sample: at least one sample of each class must be labeled.")
    refuse_mixed(labels)
    check_classification_targets(np.tile(labels, 2))  # of labels that all differ, it would suspect a regression
    classes = unique_labels(labels)
    warn_of_single_class(y, classes, unlabeled, stacklevel=5)
    return labeled_index, np.searchsorted(classes, labels), classes


def known_labels(y, unlabeled):
    """Return the positions of the labeled entries of y (n_samples,), and their labels in a dtype of their own."""
    labeled_index = np.flatnonzero(~is_unlabeled(y, unlabeled))
    labels = y[labeled_index]
    missing = labels[is_missing_in(labels)]
    if len(missing):
        raise ValueError(
            f"{len(missing)} labels are missing ({', '.join(sorted(set(map(str, missing))))}), but "
            f"unlabeled={unlabeled!r} is set. Replace them by {unlabeled!r}, or leave these samples out."
        )
    refuse_doubtful(labels, {str(unlabeled), "nan"} if missing_counts(unlabeled) else {str(unlabeled)}, unlabeled)
    return labeled_index, narrow(labels)


def warn_of_single_class(y, classes, unlabeled, stacklevel):
    """Warn where y has one class beside unlabeled entries: the marker may be the other one."""
    unknown = is_unlabeled(y, unlabeled)
    if len(classes) > 1 or not unknown.any():
        return
    hint = f" If {unlabeled!r} is a class, set another `unlabeled`." if is_marker(y, unlabeled).any() else ""
    text = f"{classes.tolist()[0]!r} is the only class in y, and {unknown.sum()} samples count as unlabeled.{hint}"
    warnings.warn(text, UserWarning, stacklevel=stacklevel)


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


def refuse_doubtful(labels, texts, unlabeled):
    """Raise ValueError if a label is written as one of the texts that NumPy makes of unlabeled entries among strings."""
    distinct = labels.tolist() if labels.dtype == object else np.unique(labels)
    doubtful = next((label for label in distinct if str(label) in texts), None)
    if doubtful is not None:
        shown = repr(doubtful.item() if isinstance(doubtful, np.generic) else doubtful)
        raise ValueError(
            f"{shown} is among the labels, and may stand for an unknown class. If it does, set unlabeled={shown}. If it is a "
            f"class, set another `unlabeled` than {unlabeled!r}."
        )


def refuse_mixed(labels):
    """Raise ValueError if labels are strings and others."""
    strings = [isinstance(label, str) for label in labels.tolist()] if labels.dtype == object else []
    if len(set(strings)) > 1:
        raise ValueError(
            f"y has strings such as {labels[strings.index(True)]!r} beside other labels such as "
            f"{labels[strings.index(False)]!r}. Give classes one type, and set `unlabeled` to what stands for an unknown one."
        )


def as_array(y):
    """Return y as an array whose labels have their own types, where NumPy would make "-1" of -1, or floats of ints."""
    if isinstance(y, torch.Tensor):
        return y.detach().cpu().numpy()
    if len(getattr(y, "columns", ())) == 1:  # a data frame
        return as_array(y[y.columns[0]])[:, np.newaxis]
    if isinstance(y, (list, tuple)):
        return np.asarray(y, dtype=object)
    if isinstance(getattr(y, "dtype", np.dtype(object)), np.dtype):
        y = np.asarray(y)
        return y.astype(object) if y.dtype.kind == "T" else y  # strings among which None or NaN may be
    return np.asarray(y.astype(object) if hasattr(y, "astype") else y.to_list(), dtype=object)  # of pandas, of polars


def as_column(y, warn=False):
    """Return y as an array (n_samples,); `warn` about one of shape (n_samples, 1)."""
    return column_or_1d(as_array(y), warn=warn)


def narrow(labels):
    """Return labels in a dtype of their own if they are objects and all of them are strings, or none is."""
    if labels.dtype == object and len({isinstance(label, str) for label in labels.tolist()}) == 1:
        return np.asarray(labels.tolist())
    return labels


def encode(labels):
    """Return the distinct labels in ascending order, strings last, and the position of each label (n,) among them."""
    labels = narrow(labels)
    if labels.dtype != object:
        return np.unique(labels, return_inverse=True)
    names = sorted(set(labels.tolist()), key=lambda label: (isinstance(label, str), label))
    places = {name: place for place, name in enumerate(names)}
    return np.array(names, dtype=object), np.array([places[label] for label in labels.tolist()], dtype=np.intp)


def unknown_labels(y, classes):
    """Return the entries of y (n,) that are not among the classes."""
    y = narrow(y)
    if y.dtype != object:
        return np.setdiff1d(y, classes).tolist()
    return [label for label in y.tolist() if is_missing(label) or label not in classes.tolist()]


def is_missing(label):
    """Tell whether a label is None, NaN, NaT or pandas' NA."""
    try:
        return label is None or bool(label != label)
    except TypeError:  # NA is not comparable
        return True


def is_missing_in(y):
    """Tell which entries of y are missing: a bool array (n_samples,)."""
    if y.dtype == object:
        return np.array([is_missing(label) for label in y.tolist()], dtype=bool)
    return np.isnan(y) if y.dtype.kind in "fcmM" else np.zeros(len(y), dtype=bool)


def missing_counts(unlabeled):
    """Tell whether missing values count as unlabeled."""
    return is_missing(unlabeled) or (isinstance(unlabeled, Number) and unlabeled == DEFAULT)


def is_unlabeled(y, unlabeled):
    """Tell which entries of y stand for an unknown class: a bool array (n_samples,)."""
    marked = is_marker(y, unlabeled)
    return marked | is_missing_in(y) if missing_counts(unlabeled) else marked


def is_marker(y, unlabeled):
    """Tell which entries of y are a marker that is no missing value: a bool array (n_samples,)."""
    refuse_wrapped(y, unlabeled)
    none, kind = np.zeros(len(y), dtype=bool), y.dtype.kind
    if is_missing(unlabeled):
        return none
    if kind == "O":
        return np.array([_same(label, unlabeled) for label in y.tolist()], dtype=bool)
    if isinstance(unlabeled, str) != (kind in "US") or isinstance(unlabeled, BOOL) != (kind == "b"):
        return none
    if kind in "mM" and isinstance(unlabeled, Number):  # which NumPy would take for a time
        return none
    return y == (np.datetime64(unlabeled) if kind == "M" and isinstance(unlabeled, date) else unlabeled)


def _same(label, unlabeled):
    if label is unlabeled:
        return True
    try:
        alike = all(isinstance(label, kind) == isinstance(unlabeled, kind) for kind in (str, BOOL))
        return alike and bool(label == unlabeled)
    except TypeError:  # pandas.NA, which can't be compared
        return False

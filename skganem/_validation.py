"""What comes in as X: rows or images, from NumPy, pandas, torch or a file; one form goes to the core."""

import warnings
from contextlib import contextmanager
from math import isqrt
from numbers import Integral

import numpy as np
import torch
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import validate_data

from skganem.core.data.shapes import MIN_IMAGE_SIDE

#: Values that are looked at to tell whether rows are flattened images.
MOST_VALUES = 2**21
#: What has axes that can be added and moved.
ARRAYS = (np.ndarray, torch.Tensor)
#: How the names of dtypes of times begin, in NumPy, pandas and polars.
TIMES = ("date", "time", "period", "duration")
#: Pixels a side for each channel, from which on square images seem to have their channels first. Images of half their width,
#: with just as many channels as columns, are rarer.
SQUARE_SIDE = 2
#: By the number of channels: how far apart pixels that are side by side lie in a row, and what to do with such rows.
LAYOUTS = {
    1: {1: "set image_shape=({0}, {0}), or pass X.reshape(-1, {0}, {0})"},
    3: {
        3: "set image_shape=({0}, {0}, 3), or pass X.reshape(-1, {0}, {0}, 3)",
        1: "pass X.reshape(-1, 3, {0}, {0}).transpose(0, 2, 3, 1)",
    },
}


class NumberInterval(Interval):
    """An interval of numbers, which True and False are not."""

    def is_satisfied_by(self, val):
        """Tell whether a value is a number in the interval."""
        return not isinstance(val, bool) and super().is_satisfied_by(val)


def as_rows(estimator, X, *, reset, image_shape=None, min_samples=1):
    """Validate X as scikit-learn does and return it as rows (n, d); an array is not copied if its images lie in one piece.

    Parameters
    ----------
    estimator : BaseEstimator
        Gets `n_features_in_`, `feature_names_in_` and `image_shape_` if `reset`, and is compared with them otherwise.
    X : array-like of shape (n, d), (n, h, w) or (n, h, w, c)
    reset : bool
    image_shape : tuple of int or None
        What the caller says of the shape of X's rows.
    min_samples : int

    Returns
    -------
    ndarray of shape (n, d)
    """
    _refuse_values(X)
    original = X
    if isinstance(X, torch.Tensor):
        X = (X.float() if X.dtype == torch.bfloat16 else X).numpy(force=True)
    shape = tuple(getattr(X, "shape", np.shape(X) if isinstance(X, (list, tuple)) else ()))
    if len(shape) in (3, 4):
        X, given = np.asarray(X) if not isinstance(X, np.ndarray) else X, shape[1:]
        X = X.reshape(shape[0], int(np.prod(given)))
    else:
        given = None
    if len(shape) > 4:
        raise ValueError(f"X must be rows (n, d) or images (n, h, w) or (n, h, w, c), got an array of shape {shape}.")
    if reset:
        _check_image_shape(image_shape, given)
    else:
        _refuse_single_sample(estimator, original, shape)
    with np.errstate(all="ignore"):  # a sum of large values may overflow
        X = validate_data(estimator, X, reset=reset, dtype="numeric", ensure_min_samples=min_samples)
    _refuse_values(X)  # of a list, too
    X = X.astype(np.float64) if X.dtype == object else X  # as categories of a data frame are
    if reset:
        estimator._given_as_images = given is not None
        estimator.image_shape_ = _resolve_image_shape(given or image_shape, X.shape[1], original)
        if estimator.image_shape_ is None and (advice := image_advice(X)) is not None:
            warnings.warn(
                "The rows of X look like flattened images, but are taken for plain features. Images are told apart far better "
                f"as such: {advice}.",
                stacklevel=4,
            )
    elif given is not None and given != estimator.image_shape_:
        expected = "rows" if estimator.image_shape_ is None else f"images of shape {estimator.image_shape_}"
        name = type(estimator).__name__
        moved = len(given) == 3 and (*given[1:], given[0]) == estimator.image_shape_
        advice = f" Put the channels last: {_channels_last(original, given)}." if moved else ""
        raise ValueError(f"X has images of shape {given}, but {name} is expecting {expected} as input.{advice}")
    return X


def _refuse_values(X):
    """Raise an error if X has times, whose unit would decide how much they count, or masked values."""
    dtypes = X.dtypes if hasattr(X, "columns") else [getattr(X, "dtype", None)]
    names = {str(getattr(dtype, "name", dtype)) for dtype in dtypes}
    times = sorted(name for name in names if name.lower().startswith(TIMES))
    if times:
        raise TypeError(
            f"X has times ({', '.join(times)}), which have no unit of their own: make numbers of them, such as days."
        )
    if np.ma.is_masked(X):
        raise ValueError("X has masked values, and missing values are not supported: fill them, or leave their samples out.")


def _refuse_single_sample(estimator, X, shape):
    """Raise ValueError if X has the shape of one of the samples that a fitted estimator takes an array of."""
    own = estimator.image_shape_
    if shape in (own, (estimator.n_features_in_,)):
        advice = "X[None]" if isinstance(X, ARRAYS) else "[X]"
    elif own is not None and (shape == (*own, 1) or own == (*shape, 1)):
        advice = f"numpy.reshape(X, {(1, *own)})"
    else:
        return
    raise ValueError(f"X has shape {shape}, which is that of a single sample. Reshape your data: pass {advice}.")


def _channels_last(X, shape):
    """Say how images X, or rows that are images of a shape, get their channels from the first axis to the last one."""
    array = "X" if isinstance(X, ARRAYS) else "numpy.asarray(X)"
    if np.ndim(X) == 2:
        array += f".reshape(-1, {', '.join(map(str, shape))})"
    return f"{array}.{'permute' if isinstance(X, torch.Tensor) else 'transpose'}(0, 2, 3, 1)"


def _check_image_shape(image_shape, given):
    if image_shape is not None and given is not None and tuple(image_shape) != given:
        raise ValueError(f"image_shape={tuple(image_shape)} contradicts X, whose images have shape {given}.")


def _resolve_image_shape(image_shape, n_features, X):
    if image_shape is None:
        return None
    image_shape = tuple(image_shape)
    if len(image_shape) not in (2, 3) or not all(isinstance(side, Integral) and side > 0 for side in image_shape):
        raise ValueError(f"image_shape must be (height, width) or (height, width, channels), got {image_shape}.")
    image_shape = tuple(int(side) for side in image_shape)
    if int(np.prod(image_shape)) != n_features:
        raise ValueError(
            f"image_shape={image_shape} stands for {int(np.prod(image_shape))} values, but X has {n_features} features."
        )
    if len(image_shape) == 3 and _has_channels_first(image_shape):
        text = f"Images of shape {image_shape} seem to have their channels first; they must come last"
        text += f": {_channels_last(X, image_shape)}."
        if image_shape[0] >= MIN_IMAGE_SIDE:
            text += f" If they do have {image_shape[2]} channels, swap their height and width."
        raise ValueError(text)
    if min(image_shape[:2]) < MIN_IMAGE_SIDE:
        raise ValueError(
            f"Images of shape {image_shape} are too small for convolutions, which need sides of {MIN_IMAGE_SIDE} or more. "
            "Pass them as rows: X.reshape(len(X), -1), without image_shape."
        )
    return image_shape


def _has_channels_first(image_shape):
    """Tell whether (a, b, c) looks like (channels, height, width): `a` is too small for a height, or b and c are a square."""
    channels, height, width = image_shape
    square = height == width >= SQUARE_SIDE * channels
    return min(height, width) >= MIN_IMAGE_SIDE and (channels < MIN_IMAGE_SIDE or square)


@np.errstate(all="ignore")
def image_advice(X):
    """Say how rows (n, d) would be passed as images, if they look like flattened square ones, gray or with 3 channels."""
    for channels, layouts in LAYOUTS.items():
        side = isqrt(X.shape[1] // channels)
        if side >= MIN_IMAGE_SIDE and side * side * channels == X.shape[1]:
            some = X[:: -(-len(X) // max(2, min(500, MOST_VALUES // X.shape[1])))].astype(np.float64)
            some -= some.mean(axis=0)
            some /= max(np.abs(some).max(), 1e-300)
            likeness, advice = max((image_likeness(some, side, step), advice) for step, advice in layouts.items())
            return advice.format(side) if likeness > 0 else None
    return None


def image_likeness(values, side, step):
    """Return the correlation of a value with the one below it if rows look like images whose pixels are `step` apart, or 0.

    In images, a value goes along with the one beside it and the one below it, less with those two places away, and less with
    those half a row before and after the one below. In tables, columns do not know their place; in series, values half a row
    away are nearer than those of the next row, and a season comes back after two rows.
    """

    def correlation(lag):
        first, second = values[:, :-lag], values[:, lag:]
        return (first * second).sum() / max(np.linalg.norm(first) * np.linalg.norm(second), 1e-300)

    row, half = side * step, side // 2 * step
    beside, below = correlation(step), correlation(row)
    less = [(beside, correlation(2 * step)), (below, correlation(2 * row))]
    less += [(below, abs(correlation(lag))) for lag in (half, row + half)]
    # How far a correlation is from 1 tells images of any resolution from what does not fall off at all.
    falls_off = all(1 - far > 1.2 * (1 - near) for near, far in less)
    return below if min(beside, below) > 0.2 and falls_off else 0.0


def network_shape(image_shape, n_features):
    """Return the shape of a sample as the networks see it: (channels, height, width) or (d,)."""
    if image_shape is None:
        return (n_features,)
    height, width, channels = image_shape if len(image_shape) == 3 else (*image_shape, 1)
    return (channels, height, width)


#: What scikit-learn needs after a failed fit, to tear its callbacks down.
CALLBACK_STATE = ("_callback_fit_ctx", "_skl_callbacks_to_teardown")


@contextmanager
def unchanged_on_error(estimator):
    """Leave an estimator with the attributes it had if the block raises."""
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        callbacks = {name: value for name, value in vars(estimator).items() if name in CALLBACK_STATE}
        vars(estimator).clear()
        vars(estimator).update(before | callbacks)
        raise

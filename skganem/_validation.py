"""What comes in as X: rows or images, from NumPy, pandas, torch or a file; one form goes to the core."""

import warnings
from contextlib import contextmanager
from math import isqrt
from numbers import Integral

import numpy as np
import torch
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_array, validate_data

from skganem.core.data.dataset import WILD_DISTANCE, chunks, value_range, wild_fences
from skganem.core.data.lazy import LazyArray, adapt
from skganem.core.data.shapes import MIN_IMAGE_SIDE, has_channels_first

#: Values that are looked at to tell whether rows are flattened images.
MOST_VALUES = 2**21
#: Rows that are looked at to tell whether values are scaled as in fit, and how many of them tell how much values vary.
MOST_ROWS, SEVERAL_ROWS = 1000, 10
#: Values vary too little if they vary less than this share of how they vary in fit: [0, 1] in place of [0, 16].
NARROW = 0.1
#: What equal values vary by through rounding, at most.
ROUNDING = 1e-9
#: What has axes that can be added and moved.
ARRAYS = (np.ndarray, torch.Tensor)
#: How the names of dtypes of times begin, in NumPy, pandas and polars.
TIMES = ("date", "time", "period", "duration")
#: By the number of channels: how far apart pixels that are side by side may lie in a row. Where that is 1 in spite of three
#: channels, each of these is an image of its own in the row.
LAYOUTS = {1: (1,), 3: (3, 1)}


class NumberInterval(Interval):
    """An interval of numbers, which True and False are not."""

    def is_satisfied_by(self, val):
        """Tell whether a value is a number in the interval."""
        return not isinstance(val, bool) and super().is_satisfied_by(val)


def as_rows(estimator, X, *, reset, image_shape="auto", min_samples=1):
    """Validate X as scikit-learn does and return it as rows (n, d); an array is not copied if its images lie in one piece.

    Parameters
    ----------
    estimator : BaseEstimator
        Gets `n_features_in_`, `feature_names_in_` and `image_shape_` if `reset`, and is compared with them otherwise.
    X : array-like of shape (n, d), (n, h, w) or (n, h, w, c)
    reset : bool
    image_shape : "auto", tuple of int or None
        What the caller says of the shape of X's rows.
    min_samples : int

    Returns
    -------
    ndarray or LazyArray of shape (n, d)
    """
    _refuse_values(X)
    original = X
    if isinstance(X, torch.Tensor):
        X = (X.float() if X.dtype == torch.bfloat16 else X).numpy(force=True)
    X = adapt(X)
    shape = tuple(getattr(X, "shape", np.shape(X) if isinstance(X, (list, tuple)) else ()))
    if len(shape) in (3, 4):
        X, given = np.asarray(X) if not isinstance(X, (np.ndarray, LazyArray)) else X, shape[1:]
        X = X.reshape(shape[0], int(np.prod(given)))
    else:
        given = None
    if len(shape) > 4:
        raise ValueError(f"X must be rows (n, d) or images (n, h, w) or (n, h, w, c), got an array of shape {shape}.")
    if reset and given is not None:
        _check_image_shape(image_shape, given)
    elif not reset:
        _refuse_single_sample(estimator, original, shape)
    with np.errstate(all="ignore"):  # a sum of large values may overflow
        X = validate(estimator, X, reset=reset, min_samples=min_samples)
    _refuse_values(X)  # of a list, too
    X = X.astype(np.float64) if X.dtype == object else X  # as categories of a data frame are
    if reset:
        estimator._given_as_images = given is not None
        estimator.image_shape_ = _resolve_image_shape(estimator, X, image_shape, given, original)
    elif given is not None and given != estimator.image_shape_:
        expected = "rows" if estimator.image_shape_ is None else f"images of shape {estimator.image_shape_}"
        name = type(estimator).__name__
        moved = len(given) == 3 and (*given[1:], given[0]) == estimator.image_shape_
        advice = f" Put the channels last: {_channels_last(original, given)}." if moved else ""
        raise ValueError(f"X has images of shape {given}, but {name} is expecting {expected} as input.{advice}")
    return X


def validate(estimator, X, *, reset, min_samples):
    """Validate rows X as scikit-learn does; those that are read when they are indexed, a chunk at a time."""
    settings = {"reset": reset, "dtype": "numeric", "ensure_min_samples": min_samples}
    if not isinstance(X, LazyArray):
        return validate_data(estimator, X, **settings)
    validate_data(estimator, X[: min_samples if X.size else None], **settings)
    for part in chunks(X) if X.dtype.kind == "f" else ():  # whole numbers are all finite
        check_array(part, dtype="numeric", estimator=estimator, input_name="X")
    return X


def _is_auto(image_shape):
    return isinstance(image_shape, str) and image_shape == "auto"


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
    if image_shape is None:
        raise ValueError("image_shape=None stands for rows, but X has images: pass X.reshape(len(X), -1).")
    if not _is_auto(image_shape) and tuple(image_shape) != given:
        raise ValueError(f"image_shape={tuple(image_shape)} contradicts X, whose images have shape {given}.")


def _resolve_image_shape(estimator, X, image_shape, given, original):
    """Return the shape of the images that rows X (n, d) are, or None; `given` is that of an array of images."""
    if given is not None or not _is_auto(image_shape):
        image_shape = given or image_shape
        return None if image_shape is None else _valid_image_shape(image_shape, X.shape[1], original)
    if estimator._continues:
        return estimator.image_shape_
    found = infer_image_shape(X)
    if found is not None and estimator.verbose:
        print(f"[{type(estimator).__name__}] rows are taken for images of shape {found}", flush=True)
    return found


def _valid_image_shape(image_shape, n_features, X):
    image_shape = tuple(image_shape)
    if len(image_shape) not in (2, 3) or not all(isinstance(side, Integral) and side > 0 for side in image_shape):
        raise ValueError(f"image_shape must be (height, width) or (height, width, channels), got {image_shape}.")
    image_shape = tuple(int(side) for side in image_shape)
    if int(np.prod(image_shape)) != n_features:
        raise ValueError(
            f"image_shape={image_shape} stands for {int(np.prod(image_shape))} values, but X has {n_features} features."
        )
    if has_channels_first(image_shape):
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


@np.errstate(all="ignore")
def infer_image_shape(X):
    """Return the shape of the square images, gray or with 3 channels, that rows X (n, d) look like, or None."""
    for channels, steps in LAYOUTS.items():
        side = isqrt(X.shape[1] // channels)
        if side < MIN_IMAGE_SIDE or side * side * channels != X.shape[1]:
            continue
        some = X[:: -(-len(X) // max(2, min(500, MOST_VALUES // X.shape[1])))].astype(np.float64)
        some = some.clip(*value_range(some, *wild_fences(some, some.min(), some.max())))
        some -= some.mean(axis=0)
        some /= max(np.abs(some).max(), 1e-300)
        likeness, step = max((image_likeness(some, side, step), step) for step in steps)
        if likeness > 0 and step == channels:
            return (side, side) if channels == 1 else (side, side, channels)
        if likeness > 0:
            warnings.warn(
                "The rows of X look like flattened images with channels first, and are taken for plain features. Images are "
                f"told apart far better: pass X.reshape(-1, {channels}, {side}, {side}).transpose(0, 2, 3, 1).",
                stacklevel=6,
            )
    return None


def image_likeness(values, side, step):
    """Return the correlation of a value with the one below it if rows look like images whose pixels are `step` apart, or 0.

    In images, a value goes along with the one beside it and the one below it, less with those two places away, less with those
    half a row before and after the one below, and less across the edge, from the end of a line to the start of the next. In
    tables, columns do not know their place; in series, there are no edges, and values half a line away are nearer than those of
    the next line.
    """

    def correlation(lag, where=slice(None)):
        first, second = values[:, :-lag][:, where], values[:, lag:][:, where]
        return (first * second).sum() / max(np.linalg.norm(first) * np.linalg.norm(second), 1e-300)

    line, half = side * step, side // 2 * step
    beside, below = correlation(step), correlation(line)
    at_edge = np.arange(values.shape[1] - step) % line >= line - step
    less = [(beside, correlation(2 * step)), (beside, correlation(step, at_edge)), (below, correlation(2 * line))]
    opposite = [correlation(half), correlation(line + half)]
    less += [(below, abs(far)) for far in opposite]
    # How far a correlation is from 1 tells images of any resolution from what does not fall off at all.
    falls_off = all(1 - far > 1.2 * (1 - near) for near, far in less)
    season = min(opposite) < -below / 3  # of one line: half of it later, values are opposite
    return below if min(beside, below) > 0.2 and falls_off and not season else 0.0


def network_shape(image_shape, n_features):
    """Return the shape of a sample as the networks see it: (channels, height, width) or (d,)."""
    if image_shape is None:
        return (n_features,)
    height, width, channels = image_shape if len(image_shape) == 3 else (*image_shape, 1)
    return (channels, height, width)


def warn_about_wild_values(scaler, X, stacklevel):
    """Warn if single values of images X (n, d) are so far from all others that fit takes them for broken."""
    if scaler.n_wild:
        low, high = scaler.offset - scaler.scale, scaler.offset + scaler.scale
        warnings.warn(
            f"{scaler.n_wild} of {X.size} values of X are far outside the range of the others, [{low:g}, {high:g}]. Those "
            "around replace them. Look for broken pixels, or for a scaling that makes some pixels large.",
            UserWarning,
            stacklevel=stacklevel + 1,
        )


@np.errstate(over="ignore", invalid="ignore")
def warn_about_other_scale(scaler, X, image_shape, stacklevel):
    """Warn if the values of X (n, d) are not scaled as in fit; the first rows tell. Infinite ones are refused later."""
    given = next(chunks(X))[:MOST_ROWS].astype(np.float64)
    some, several = (given - scaler.offset) / scaler.scale, len(given) >= SEVERAL_ROWS
    if image_shape is None:  # several rows of one cluster may vary little
        varies, far = several * np.sqrt(some.var(axis=0).mean()), np.sqrt(np.square(some).mean(axis=1)).min()
        other = ROUNDING < varies < NARROW / 10 or far > 1 / NARROW
        in_fit = f"their standard deviation was {scaler.scale:.3g}"
    else:
        width, far = np.ptp(some) / 2, np.abs(some).max() - 1
        other = 0 < width < (NARROW if several else NARROW / 10) or far > 2 * WILD_DISTANCE
        in_fit = f"they went from {scaler.offset - scaler.scale:.3g} to {scaler.offset + scaler.scale:.3g}"
    if other and np.isfinite(far):
        warnings.warn(
            f"The values of X, from {given.min():.3g} to {given.max():.3g}, are not scaled as in fit, where {in_fit}. "
            "The answers may mean nothing.",
            UserWarning,
            stacklevel=stacklevel + 1,
        )


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

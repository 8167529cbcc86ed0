"""What comes in as X: rows or images, from NumPy, pandas, torch or a file; one form goes to the core."""

from contextlib import contextmanager
from numbers import Integral

import numpy as np
import torch
from sklearn.utils.validation import validate_data

from skganem.core.shapes import SMALLEST_SIDE


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
    if isinstance(X, torch.Tensor):
        X = X.detach().cpu()
        X = (X.float() if X.dtype == torch.bfloat16 else X).numpy()
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
    X = validate_data(estimator, X, reset=reset, dtype="numeric", ensure_min_samples=min_samples)
    if reset:
        estimator._given_as_images = given is not None
        estimator.image_shape_ = _resolve_image_shape(given or image_shape, X.shape[1])
    elif given is not None and given != estimator.image_shape_:
        expected = "rows" if estimator.image_shape_ is None else f"images of shape {estimator.image_shape_}"
        name = type(estimator).__name__
        raise ValueError(f"X has images of shape {given}, but {name} is expecting {expected} as input.")
    return X


def _check_image_shape(image_shape, given):
    if image_shape is not None and given is not None and tuple(image_shape) != given:
        raise ValueError(f"image_shape={tuple(image_shape)} contradicts X, whose images have shape {given}.")


def _resolve_image_shape(image_shape, n_features):
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
    if len(image_shape) == 3 and image_shape[0] <= 4 and min(image_shape[1:]) >= SMALLEST_SIDE:
        raise ValueError(
            f"Images of shape {image_shape} seem to have their channels first; they must come last: X.transpose(0, 2, 3, 1)."
        )
    if min(image_shape[:2]) < SMALLEST_SIDE:
        raise ValueError(
            f"Images of shape {image_shape} are too small for convolutions, which need sides of {SMALLEST_SIDE} or more. "
            "Pass them as rows: X.reshape(len(X), -1), without image_shape."
        )
    return image_shape


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

"""Fitted estimators in files that hold no code."""

import os
import warnings
from pathlib import Path

from sklearn.utils.validation import check_is_fitted

import skganem
from skganem._base import BaseGANEM
from skganem.core.runtime import serialization

KIND = "model"


def save(estimator, path):
    """Write a fitted estimator to a file that holds no code, in the format of safetensors.

    Unlike a pickle, such a file can be loaded from a source that isn't trusted, and on a machine without the device that it
    was written on. The file appears whole or not at all.

    Parameters
    ----------
    estimator : GANEMClustering, GANEMSemiSupervisedClassifier or GANEMTransformer
        Fitted. Of its parameters, only those of plain values and arrays are written: not those that hold functions, such as a
        recipe with one's own networks, or other libraries' objects, such as a DataFrame. A warning says which ones `load` is to
        be given. A RandomState as `random_state` is not written either, and will be None.
    path : str or path-like
        The file; customarily ``.safetensors``. ``~`` is the home directory.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If it is none of skganem's, or `path` is no path.

    See Also
    --------
    load : Reads the file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn.datasets import make_moons
    >>> from skganem import GANEMClustering, load, save
    >>> X, _ = make_moons(200, noise=0.05, random_state=0)
    >>> model = GANEMClustering(n_clusters=2, max_iter=2, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(model, Path(folder) / "moons.safetensors")
    ...     again = load(Path(folder) / "moons.safetensors")
    >>> bool((again.predict(X) == model.labels_).all())
    True
    """
    path = as_file(path)
    check_is_fitted(estimator)
    if type(estimator) not in estimators().values():
        raise TypeError(f"save is for {', '.join(estimators())}, got a {type(estimator).__name__}.")
    given, state = estimator.get_params(deep=False), estimator.__getstate__()
    own_networks = not is_plain(state["_networks"])  # of the recipe in fit, whatever it is now
    params = {name: value for name, value in given.items() if is_plain(value) and not (own_networks and name == "recipe")}
    lost = sorted(set(given) - set(params) - {"random_state"})
    if lost:
        text = f"save writes plain values and arrays alone, so load is to be given: {', '.join(lost)}."
        warnings.warn(text, UserWarning, stacklevel=2)
    if "_metadata_request" in state:
        text = "save does not write which metadata were requested; call set_score_request and its like again after load."
        warnings.warn(text, UserWarning, stacklevel=2)
    left = {*given, "_skl_callbacks", "_metadata_request"}
    fitted = {name: value for name, value in state.items() if name not in left}
    fitted["_networks"] = None if own_networks else fitted["_networks"]
    about = {"skganem": skganem.__version__, "estimator": type(estimator).__name__}
    serialization.write(path, KIND, {**about, "params": params, "fitted": fitted})


def load(path, *, device=None, **params):
    """Read a fitted estimator from a file that `save` wrote.

    Parameters
    ----------
    path : str or path-like
        The file.
    device : str or torch.device, default=None
        Where to put the model, instead of where the estimator's own `device` says. What is not available here is
        replaced by the CPU, with a warning.
    **params : object
        Constructor parameters in place of the saved ones: those that `save` said it can't write.

    Returns
    -------
    estimator : GANEMClustering, GANEMSemiSupervisedClassifier or GANEMTransformer
        As it was fitted.

    Raises
    ------
    ValueError
        If the file is damaged, was not written by `save`, or was written by a newer version; or if the recipe holds functions
        and is not given.
    TypeError
        If `path` is no path.

    See Also
    --------
    save : Writes the file, and has an example of both.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skganem import load
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "notes.txt"
    ...     n_written = path.write_text("no model at all")
    ...     try:
    ...         load(path)
    ...     except ValueError as error:
    ...         print("is damaged, or no file of skganem's" in str(error))
    True
    """
    path = as_file(path)
    kept = serialization.read(path, KIND)
    cls = estimators()[kept["estimator"]]
    names = set(cls().get_params(deep=False))
    missing = sorted(names - set(kept["params"]) - set(params) - {"random_state"})
    if "recipe" in missing:
        raise ValueError(f"{path} does not hold the recipe, which has functions: load(path, recipe=...) needs it.")
    if missing:
        text = f"{path} holds plain values and arrays alone, not {', '.join(missing)}."
        warnings.warn(text, UserWarning, stacklevel=2)
    estimator = cls(**{**kept["params"], **params})
    estimator.device = estimator.device if device is None else device
    networks = kept["fitted"]["_networks"] or estimator._resolve_recipe().networks
    estimator.__setstate__({**kept["fitted"], "_networks": networks})
    return estimator


def as_file(path):
    """Return the path of a file, with the home directory in place of ``~``; raise an error if it can't be one."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path must be that of a file, a str or path-like, got a {type(path).__name__}.")
    if not os.fspath(path):
        raise ValueError("path must be that of a file, got an empty string.")
    file = Path(path).expanduser()
    if file.is_dir():
        raise IsADirectoryError(f"path must be that of a file, and {str(file)!r} is a folder.")
    return file


def estimators():
    """Return the classes that can be saved, by their names."""
    return {cls.__name__: cls for cls in BaseGANEM.__subclasses__() if cls.__module__.startswith("skganem.")}


def is_plain(value):
    """Tell whether a value can be written without code."""
    try:
        serialization.encode(value, {})
    except serialization.NotPlainError:
        return False
    return True

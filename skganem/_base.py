"""What the three estimators share: parameters, data in, training, networks kept, samples out."""

import copy
import os
import sys
import warnings
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_random_state, check_scalar
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.validation import check_is_fitted, check_memory

from skganem._callbacks import CallbackSupportMixin
from skganem._labels import as_array, unknown_labels
from skganem._progress import PHASES, FitProgress
from skganem._validation import NumberInterval, as_rows, network_shape, warn_about_other_scale, warn_about_wild_values
from skganem.core.data.dataset import ArrayDataset, Scaler
from skganem.core.data.shapes import is_image
from skganem.core.em.checkpoint import Checkpoint
from skganem.core.features.transforms import ImageWarp
from skganem.core.fit import FitResult, FitSpec, fit
from skganem.core.graph.hubness import prefers_cosine
from skganem.core.networks.mixture import MixtureModel, NetworkSpec
from skganem.core.recipe import RECIPES, Recipe
from skganem.core.runtime import serialization
from skganem.core.runtime.device import resolve_device, resolve_precision
from skganem.core.runtime.distributed import current
from skganem.core.runtime.fingerprint import stable_repr
from skganem.core.runtime.launch import joined, process_device
from skganem.core.runtime.rng import float32_with_grad

#: Rows that are looked at for hubs: enough to tell, and a moment's work.
N_HUBNESS_ROWS = 2000
#: What the EM loop records of each iteration, apart from its number.
HISTORY_KEYS = ("loss_g", "loss_d", "loss_e", "confidence", "label_change", "n_empty", "seconds", "phi")


class BaseGANEM(CallbackSupportMixin, BaseEstimator):
    """Base of the GAN-EM estimators; not for use by itself."""

    _parameter_constraints: dict = {
        "recipe": [StrOptions(set(RECIPES)), Recipe],
        "image_shape": [StrOptions({"auto"}), "array-like", None],
        "metric": [StrOptions({"auto", "euclidean", "cosine"})],
        "augmentation": [StrOptions({"auto"}), callable, None],
        "max_iter": [NumberInterval(Integral, 1, None, closed="left"), None],
        "tol": [NumberInterval(Real, 0, 1, closed="both"), None],
        "n_init": [NumberInterval(Integral, 1, None, closed="left")],
        "n_jobs": [Integral, None],
        "batch_size": [NumberInterval(Integral, 2, None, closed="left"), None],
        "width": [NumberInterval(Integral, 1, None, closed="left"), None],
        "device": [str, torch.device],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
        "random_state": ["random_state"],
        "memory": [str, HasMethods("cache"), None],
        "warm_start": ["boolean"],
        "checkpoint_dir": [str, os.PathLike, None],
        "checkpoint_every": [NumberInterval(Integral, 1, None, closed="left")],
        "verbose": ["verbose"],
    }

    def _resolve_recipe(self):
        """Return the recipe with the constructor's parameters put in; None leaves a field to the recipe."""
        recipe = self.recipe if isinstance(self.recipe, Recipe) else RECIPES[self.recipe]()
        own = {name: getattr(self, name) for name in ("max_iter", "tol", "batch_size", "width")}
        init = getattr(self, "init", None)
        own["init"] = init if isinstance(init, str) else None
        changes = {name: value for name, value in own.items() if value is not None}
        if self.augmentation != "auto":
            changes["augmentation"] = self.augmentation
        return replace(recipe, **changes)

    def _resolve_memory(self):
        """Return the memory as a `joblib.Memory`, or None."""
        if self.memory is None:
            return None
        return check_memory(as_folder("memory", self.memory) if isinstance(self.memory, str) else self.memory)

    def _train(self, X, n_clusters, callback_data=None, **details):
        """Fit the core to validated rows and keep the best of `n_init` results; set all shared attributes.

        Callbacks get the rows, or `callback_data` instead, whose values may be functions that return them. `details` are those
        of the core's `FitSpec`: labels, initial w, n_components.
        """
        callback_data = callback_data or {"X": X}
        n_init = 1 if self._continues else self.n_init
        with float32_with_grad():  # what is made of the last fit's model, and of data on a GPU, must be able to train
            spec = self._fit_spec(X, n_clusters, details)
        context = self._init_callback_context(max_subtasks=n_init).call_on_fit_task_begin(estimator=self, **callback_data)
        random_state = check_random_state(self.random_state)
        seeds = [int(random_state.randint(np.iinfo(np.int32).max)) for _ in range(n_init)]
        group = joined()
        group.check_equal(lambda: {"the versions": versions(), **spec.checksums(), **own_checksums(self)})
        if len(X) < group.size:
            raise ValueError(f"n_samples={len(X)} should be >= the number of processes, {group.size}.")
        seeds, checkpoints = group.on_first(self._open_checkpoints, spec, seeds)
        results = self._parallel_results(spec, seeds, checkpoints)
        best, interrupted = None, False
        for start, (seed, checkpoint) in enumerate(zip(seeds, checkpoints, strict=True)):
            task = context.subcontext("init", max_subtasks=len(PHASES) + spec.recipe.max_iter)
            task.call_on_fit_task_begin(estimator=self, **callback_data)
            try:
                result = results[start] or fit(spec, seed, FitProgress(self, task, callback_data, start + 1), checkpoint)
            except KeyboardInterrupt:  # before its first iteration
                if best is None:
                    raise
                interrupted, result = True, best
            if best is None or restart_key(result) > restart_key(best):
                best = result
            interrupted |= result.status == "interrupted"
            so_far = partial(self._fitted_attributes, best)
            stop = task.call_on_fit_task_end(estimator=self, **callback_data, reconstruction_attributes=so_far)
            if stop or interrupted:
                break
        vars(self).update(self._fitted_attributes(best))
        warn_about(best, interrupted)
        context.call_on_fit_task_end(estimator=self, **callback_data, reconstruction_attributes={})

    def _parallel_results(self, spec, seeds, checkpoints):
        """Return the results of starts that joblib makes side by side, or None for each that is to be made here."""
        if self.n_jobs in (None, 1) or len(seeds) == 1 or joined().size > 1:
            return [None] * len(seeds)
        starts = zip(seeds, checkpoints, strict=True)
        return Parallel(n_jobs=self.n_jobs)(delayed(fit)(spec, seed, None, checkpoint) for seed, checkpoint in starts)

    @property
    def _continues(self):
        """Whether fit goes on from the last fit's model."""
        return self.warm_start and hasattr(self, "_model")

    def _fit_spec(self, X, n_clusters, details):
        """Put together what the core is to fit."""
        recipe, device = self._resolve_recipe(), resolve_device(process_device(self.device))
        shape = network_shape(self.image_shape_, X.shape[1])
        if isinstance(recipe.augmentation, ImageWarp) and not is_image(shape):
            raise ValueError("An ImageWarp changes images, and X has plain rows: set image_shape, or another augmentation.")
        if not self._continues:
            self._scaler, self._networks = self._fit_scaler(X, shape), recipe.networks
            warn_about_wild_values(self._scaler, X, stacklevel=5)
        self._dtype, self.metric_ = X.dtype, "cosine" if self._scaler.directions else "euclidean"
        dataset = ArrayDataset(X, shape, self._scaler, device)
        dtype = resolve_precision(self.precision, device, convolutional=is_image(shape))
        spec = FitSpec(dataset, int(n_clusters), recipe, dtype, memory=self._resolve_memory(), **details)
        return self._continue_from(spec) if self._continues else spec

    def _fit_scaler(self, X, shape):
        """Measure how rows (n, d) are scaled, and whether they are compared by cosine distance."""
        scaler = Scaler.fit(X, shape)
        if is_image(shape) or self.metric == "euclidean":
            return scaler
        some = scaler.transform_some(X, N_HUBNESS_ROWS)
        if self.metric == "auto" and not current().on_first(prefers_cosine, some):
            return scaler
        return current().on_first(scaler.by_directions, X)

    def _continue_from(self, spec):
        """Return a spec that goes on from the last fit's model: its weights, and its answers as initial w."""
        model = copy.deepcopy(self._model).to(spec.dataset.device)
        was, wanted = vars(model.spec), vars(spec.networks)
        changed = ", ".join(f"{name} was {was[name]} and is {wanted[name]}" for name in was if was[name] != wanted[name])
        if changed:
            raise ValueError(f"warm_start=True goes on from the last fit's model, but {changed}. Set warm_start=False.")
        return replace(spec, model=model, w=check_answers(model.posterior(spec.dataset)))

    def _open_checkpoints(self, spec, seeds):
        """Return the seeds of the restarts and their checkpoints, where `checkpoint_dir` asks for them.

        The seeds are those that the folder was begun with: without a `random_state`, no two fits would have the same.
        """
        if self.checkpoint_dir is None:
            return seeds, [None] * len(seeds)
        folder = Path(as_folder("checkpoint_dir", self.checkpoint_dir))
        folder.mkdir(parents=True, exist_ok=True)
        # A callable may draw another w each time; the one that the fit began with is in the checkpoint.
        init = getattr(self, "init", None)
        drawn = callable(init) and not self._continues
        fitted = replace(spec, w=None) if drawn else spec
        own = {"fit": fitted.fingerprint(), "init": stable_repr(init) if drawn else None, "n_init": len(seeds)}
        own["random_state"] = seeds if isinstance(self.random_state, Integral) else None
        begun = folder / "fit.safetensors"
        if begun.exists():
            kept = serialization.read(begun, "fit")
            if own != {name: kept.get(name) for name in own}:
                raise ValueError(
                    f"checkpoint_dir={str(folder)!r} belongs to a fit of other data or with other parameters. Take another "
                    "folder, or delete this one to begin anew."
                )
            seeds = kept["seeds"]
        else:
            serialization.write(begun, "fit", {**own, "seeds": seeds})
        paths = [folder / f"init_{start + 1}.safetensors" for start in range(len(seeds))]
        return seeds, [Checkpoint(path, self.checkpoint_every) for path in paths]

    def _partial_attributes(self, state, w):
        """Return the fitted attributes as if the fit had stopped at this iteration."""
        model = copy.deepcopy(state.model)
        model.phi = w.mean(dim=0)
        return self._fitted_attributes(FitResult(model, w, list(state.history), "interrupted", np.nan))

    def _fitted_attributes(self, result):
        """Return the fitted attributes that follow from a result."""
        history = {name: np.array([record[name] for record in result.history]) for name in HISTORY_KEYS}
        history["phi"] = history["phi"].reshape(-1, result.model.spec.n_clusters)  # of no iteration, too
        return {
            "_model": result.model,
            "device_": str(result.model.device),
            "weights_": result.model.phi.cpu().numpy().copy(),
            "n_iter_": len(result.history),
            "converged_": result.status == "converged",
            "criterion_": result.criterion,
            "history_": history,
        }

    def _dataset(self, X):
        """Validate X against what was fitted and wrap it for the core."""
        X = as_rows(self, X, reset=False)
        warn_about_other_scale(self._scaler, X, self.image_shape_, stacklevel=4)
        return ArrayDataset(X, self._model.spec.shape, self._scaler, self._model.device)

    def _posterior(self, X):
        return check_answers(self._model.posterior(self._dataset(X))).cpu().numpy()

    def _embed(self, dataset):
        """Return the points (n, m) between which neighbors are sought."""
        return check_answers(self._model.embed(dataset))

    @property
    def _generates(self):
        """Whether the generator was trained."""
        return not np.isnan(self.history_["loss_g"]).all()

    def _sample(self, n_samples, y, classes, random_state):
        """Generate samples of the given classes, or of classes drawn by their weights."""
        if not self._generates:
            warnings.warn(
                "The generator is not trained, and its samples are noise: training ended before its first M-step, or the "
                "recipe has generated_weight=0.",
                UserWarning,
                stacklevel=3,
            )
        random_state = check_random_state(self.random_state if random_state is None else random_state)
        n_samples = check_scalar(n_samples, "n_samples", Integral, min_val=1)
        if y is None:
            c = np.sort(random_state.choice(len(classes), n_samples, p=self.weights_ / self.weights_.sum()))
        else:
            y = as_array(y)
            if y.ndim and y.shape != (n_samples,):
                raise ValueError(f"y must be one class, or have n_samples={n_samples} entries; it has shape {y.shape}.")
            y = np.broadcast_to(y, n_samples)
            if unknown := unknown_labels(y, classes):
                raise ValueError(f"y contains {unknown}, which are not among {classes.tolist()}.")
            c = np.searchsorted(classes, y)
        return self._generate(c, random_state), classes[c]

    def _generate(self, c, random_state):
        """Generate a sample of each class in c (n,), in the form that X had in fit."""
        seed = int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
        rng = torch.Generator(self._model.device).manual_seed(seed)
        samples = self._model.sample(torch.as_tensor(c, dtype=torch.long, device=self._model.device), rng)
        X = self._scaler.inverse_transform(samples)
        dtype = self._dtype if self._dtype.kind in "iuf" else np.dtype(np.float64)
        if dtype.kind == "f":
            X = X.clip(np.finfo(dtype).min, np.finfo(dtype).max)
        else:
            low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
            # The nearest float to the largest number of 64 bits is one more than it.
            X = X.round().clip(low, float(high) if int(float(high)) <= high else np.nextafter(float(high), 0))
        X = X.astype(dtype)
        return X.reshape(len(X), *self.image_shape_) if self._given_as_images else X

    def to(self, device):
        """Move a fitted estimator to a device.

        Parameters
        ----------
        device : str or torch.device
            "auto", or a device's name such as "cpu" or "cuda:1".

        Returns
        -------
        self : object
            The estimator itself.

        Raises
        ------
        ValueError
            If there is no such device.
        """
        check_is_fitted(self)
        self._model = self._model.to(resolve_device(device))
        self.device_ = str(self._model.device)
        return self

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_model")

    def __getstate__(self):
        state = dict(super().__getstate__())
        if "_model" in state:
            state["_model"] = (state["_model"].spec, state["_model"].to_numpy())
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        if "_model" in state:
            spec, weights = state["_model"]
            self._model = restore_model(spec, self._networks, weights, self.device)
            self.device_ = str(self._model.device)


def own_estimator(estimator, user):
    """Return an estimator, unwrapped if it is frozen; raise an error unless it is one of this package's, and fitted."""
    estimator = estimator.estimator if isinstance(estimator, FrozenEstimator) else estimator
    if not isinstance(estimator, BaseGANEM):
        raise TypeError(
            f"{user} is for skganem's estimators, got a {type(estimator).__name__}; of a pipeline, give the step that is one."
        )
    check_is_fitted(estimator)
    return estimator


def versions():
    """Name the versions that all processes of a data-parallel fit must have."""
    return f"skganem {sys.modules['skganem'].__version__}, torch {torch.__version__}, numpy {np.__version__}"


def own_checksums(estimator):
    """Describe, by name, the parameters that the core does not see, and all processes of a data-parallel fit must have."""
    seed = estimator.random_state  # one that is no int need not be the same: the first process draws the seeds
    named = {name: repr(getattr(estimator, name)) for name in ("n_init", "warm_start", "checkpoint_every")}
    return {
        **named,
        "random_state": repr(seed) if isinstance(seed, Integral) else "",
        "checkpoint_dir": repr(estimator.checkpoint_dir is None),
    }


def as_folder(name, path):
    """Return the path of the folder that a parameter names, with the home directory in place of ``~``."""
    if not os.fspath(path):
        raise ValueError(f"{name} must be the path of a folder or None, got an empty string.")
    folder = os.path.expanduser(path)
    if os.path.isfile(folder):
        raise NotADirectoryError(f"{name} must be the path of a folder, and {os.fspath(path)!r} is a file.")
    return folder


def warn_about(result, interrupted):
    """Warn about what went wrong in training, of which this is the best result."""
    n_iter = len(result.history)
    if interrupted:
        which = f"that of EM iteration {n_iter}" if result.status == "interrupted" else "the best of the starts before"
        warnings.warn(f"Training was interrupted; the model is {which}.", UserWarning, stacklevel=5)
    if result.status == "diverged":
        warnings.warn(
            f"Training diverged in EM iteration {n_iter + 1}; the model is "
            f"{'the one before it' if n_iter else 'not trained'}. Try scaled data, a smaller learning rate, or "
            "precision='float32'.",
            ConvergenceWarning,
            stacklevel=5,
        )
    n_found = len(np.unique(result.w.argmax(dim=1).cpu().numpy()))
    if n_found < result.w.shape[1]:
        warnings.warn(
            f"Only {n_found} of {result.w.shape[1]} clusters have a sample. Try fewer clusters, another random_state, "
            "or n_init > 1.",
            ConvergenceWarning,
            stacklevel=5,
        )


def check_answers(answers):
    """Return what a network answers (n, m); to values of X that are beyond float32, once scaled, there is no answer."""
    if not answers.isfinite().all():
        raise ValueError("X has values that are too far from those in fit.")
    return answers


def restart_key(result):
    """Order restarts: sound ones before those that diverged, then by the criterion, NaN last."""
    criterion = result.criterion if np.isfinite(result.criterion) else -np.inf
    return result.status != "diverged", criterion


def restore_model(spec: NetworkSpec, networks, weights, device):
    """Rebuild a model from its weights, on `device` if it is available here and on the CPU otherwise."""
    try:
        device = resolve_device(device)
    except ValueError as error:
        warnings.warn(f"{error} The model was put on the CPU.", UserWarning, stacklevel=3)
        device = torch.device("cpu")
    return MixtureModel(spec, networks, 0, device).from_numpy(copy.copy(weights))

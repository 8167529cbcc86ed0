"""What the three estimators share: parameters, data in, training, networks kept, samples out."""

import copy
import warnings
from dataclasses import replace
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state, check_scalar
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skganem._input import as_rows, network_shape
from skganem.core.data import Scaling, Source
from skganem.core.fit import Problem, fit
from skganem.core.model import Layout, Model
from skganem.core.recipe import RECIPES, Recipe
from skganem.core.runtime import resolve_device, resolve_precision

HISTORY = ("loss_g", "loss_d", "loss_e", "confidence", "change", "n_empty", "seconds", "phi")


class BaseGANEM(BaseEstimator):
    """Base of the GAN-EM estimators; not for use by itself."""

    _parameter_constraints: dict = {
        "recipe": [StrOptions(set(RECIPES)), Recipe],
        "image_shape": ["array-like", None],
        "augmentation": [StrOptions({"auto"}), callable, None],
        "max_iter": [Interval(Integral, 1, None, closed="left"), None],
        "tol": [Interval(Real, 0, 1, closed="both"), None],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 2, None, closed="left"), None],
        "width": [Interval(Integral, 1, None, closed="left"), None],
        "device": [str, torch.device],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def _resolve_recipe(self):
        """Return the recipe with the constructor's parameters put in; None leaves a field to the recipe."""
        recipe = self.recipe if isinstance(self.recipe, Recipe) else RECIPES[self.recipe]()
        own = {name: getattr(self, name) for name in ("max_iter", "tol", "batch_size", "width")}
        own["init"] = getattr(self, "init", None) if isinstance(getattr(self, "init", None), str) else None
        changes = {name: value for name, value in own.items() if value is not None}
        if self.augmentation != "auto":
            changes["augmentation"] = self.augmentation
        return replace(recipe, **changes)

    def _train(self, X, n_clusters, **details):
        """Fit the core to validated rows and keep the best of `n_init` solutions; set all shared attributes.

        `details` are those of the core's `Problem`: labels, initial w, n_components.
        """
        recipe, device = self._resolve_recipe(), resolve_device(self.device)
        shape = network_shape(self.image_shape_, X.shape[1])
        self._scaling = Scaling.of(X, shape)
        self._dtype = X.dtype
        problem = Problem(
            Source(X, shape, self._scaling, device), n_clusters, recipe, resolve_precision(self.precision, device, shape),
            **details,
        )  # fmt: skip
        random_state = check_random_state(self.random_state)
        best = None
        for start in range(self.n_init):
            solution = fit(problem, int(random_state.randint(np.iinfo(np.int32).max)), self._reporter(start))
            if best is None or merit(solution) > merit(best):
                best = solution
            if solution.end == "interrupted":
                break
        self._networks = recipe.networks
        self._keep(best)
        return best

    def _reporter(self, start):
        """Return the function that is called after each EM iteration."""

        def report(training, w):
            if self.verbose:
                last = training.history[-1]
                print(
                    f"[{type(self).__name__}] init {start + 1}, iteration {last['iteration']}: "
                    f"L_G {last['loss_g']:.3f}, L_D {last['loss_d']:.3f}, L_E {last['loss_e']:.3f}, "
                    f"labels changed {last['change']:.2%}, {last['seconds']:.1f} s"
                )
            return False

        return report

    def _keep(self, solution):
        """Set the fitted attributes that all estimators have, and warn about what went wrong."""
        self._model = solution.model
        self.device_ = str(solution.model.device)
        self.weights_ = solution.model.phi.cpu().numpy()
        self.n_iter_ = len(solution.history)
        self.converged_ = solution.end == "converged"
        self.criterion_ = solution.criterion
        self.history_ = {name: np.array([record[name] for record in solution.history]) for name in HISTORY}
        if solution.end == "interrupted":
            warnings.warn(
                f"Training was interrupted; the model is that of EM iteration {self.n_iter_}.", UserWarning, stacklevel=4
            )
        if solution.end == "diverged":
            warnings.warn(
                f"Training diverged in EM iteration {self.n_iter_ + 1}; the model is the one before it. Try scaled data, a "
                "smaller learning rate, or precision='float32'.",
                ConvergenceWarning,
                stacklevel=4,
            )
        n_found = len(np.unique(solution.w.argmax(dim=1).cpu().numpy()))
        if n_found < solution.w.shape[1]:
            warnings.warn(
                f"Only {n_found} of {solution.w.shape[1]} clusters have a sample. Try fewer clusters, another random_state, "
                "or n_init > 1; duplicated samples cannot be told apart.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _source(self, X):
        """Validate X against what was fitted and wrap it for the core."""
        X = as_rows(self, X, reset=False)
        return Source(X, self._model.layout.shape, self._scaling, self._model.device)

    def _posterior(self, X):
        return self._model.posterior(self._source(X)).cpu().numpy()

    def _sample(self, n_samples, y, classes, random_state):
        """Generate samples of the given classes, or of classes drawn by their weights."""
        random_state = check_random_state(self.random_state if random_state is None else random_state)
        n_samples = check_scalar(n_samples, "n_samples", Integral, min_val=1)
        if y is None:
            c = np.sort(random_state.choice(len(classes), n_samples, p=self.weights_ / self.weights_.sum()))
        else:
            y = np.broadcast_to(np.asarray(y), n_samples)
            unknown = np.setdiff1d(y, classes)
            if len(unknown):
                raise ValueError(f"y contains {unknown.tolist()}, which are not among {np.asarray(classes).tolist()}.")
            c = np.searchsorted(classes, y)
        return self._generate(c, random_state), classes[c]

    def _generate(self, c, random_state):
        """Generate a sample of each class in c (n,), in the form that X had in fit."""
        seed = int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
        rng = torch.Generator(self._model.device).manual_seed(seed)
        samples = self._model.sample(torch.as_tensor(c, dtype=torch.long, device=self._model.device), rng)
        X = self._scaling.undo(samples)
        if np.issubdtype(self._dtype, np.integer):
            bounds = np.iinfo(self._dtype)
            X = X.round().clip(bounds.min, bounds.max)
        X = X.astype(self._dtype if self._dtype.kind in "iuf" else np.float64)
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
            state["_model"] = (state["_model"].layout, state["_model"].to_numpy())
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        if "_model" in state:
            layout, weights = state["_model"]
            self._model = restore(layout, self._networks, weights, self.device)
            self.device_ = str(self._model.device)


def merit(solution):
    """Order restarts: sound ones before those that diverged, then by the criterion, NaN last."""
    criterion = solution.criterion if np.isfinite(solution.criterion) else -np.inf
    return solution.end != "diverged", criterion


def restore(layout: Layout, networks, weights, device):
    """Rebuild a model from its weights, on `device` if it is available here and on the CPU otherwise."""
    try:
        device = resolve_device(device)
    except ValueError as error:
        warnings.warn(f"{error} The model was put on the CPU.", UserWarning, stacklevel=3)
        device = torch.device("cpu")
    return Model(layout, networks, 0, device).from_numpy(copy.copy(weights))

"""What the paper leaves open, and what it fixes, as one record: a recipe."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Any

from torch import Tensor, nn

from skganem.core.features.transforms import Augmentation
from skganem.core.losses.gan import DISCRIMINATOR_LOSSES, GENERATOR_LOSSES, DiscriminatorLoss, GeneratorLoss
from skganem.core.networks.architectures import DEFAULT_NETWORKS, PAPER_NETWORKS, Networks

#: (discriminator, real batch, its w, step) -> penalty added to L_D; or the names "clip", "r1"
Lipschitz = Callable[[nn.Module, Tensor, Tensor, int], Tensor]


CHOICES = {
    "generator_loss": set(GENERATOR_LOSSES),
    "discriminator_loss": set(DISCRIMINATOR_LOSSES),
    "lipschitz": {"clip", "r1"},
    "optimizer": {"rmsprop", "adam"},
    "init": {"graph", "kmeans", "random", "uniform"},
    "augmentation": {"auto"},
}

#: The least and the greatest value of each number, both allowed; some may be None.
LEAST = {
    "max_iter": 1, "m_epochs": 1, "min_m_steps": 1, "max_m_steps": 1, "e_epochs": 0, "min_e_steps": 1, "max_e_steps": 1,
    "e_rounds": 1, "batch_size": 2, "e_batch_size": 2, "width": 1, "n_noise": 1, "n_unheard": 0, "representation_steps": 0,
    "representation_batch_size": 2, "n_neighbors": 1, "graph_size": 2,
}  # fmt: skip
TINY, INF = 1e-12, math.inf
RANGES = {
    "tol": (0, 1), "e_tol": (0, 1), "e_tol_rows": (0, 1), "e_epsilon": (0, 1), "clip": (TINY, INF),
    "decay": (TINY, INF), "sharpening": (TINY, 16), "representation_rate": (TINY, INF), "temperature": (TINY, INF),
    "r1_gamma": (0, INF), "e_averaging": (0, 1), "e_strength": (0, INF), "generated": (0, INF), "consistency": (0, INF),
}  # fmt: skip
OPTIONAL = ("decay", "e_epsilon", "lipschitz", "augmentation")
#: Choices that are a name, and nothing else.
NAMED = ("optimizer", "init")


@dataclass(frozen=True, repr=False)
class Recipe:
    """All settings of training that do not depend on the data.

    The fields' defaults are the recipe "default". `Recipe.paper` gives the paper's own settings. Any field can be
    changed with `but`, for example ``Recipe().but(width=64, lipschitz="r1")``.

    Parameters
    ----------
    max_iter : int
        EM iterations at most (n in Algorithm 1).
    tol : float
        Training ends early when at most this share of the samples has changed its most probable class in each of the
        last two EM iterations, the first `n_unheard` ones aside, and no cluster is empty. 0 never ends it early.
    m_epochs, min_m_steps, max_m_steps : int
        Passes over the data in an M-step (p in Algorithm 1), and the least and largest number of batches they may come to.
    e_epochs, min_e_steps, max_e_steps : int
        Passes over the data in a round of an E-step, the least number of batches that they may come to, and the largest
        number of a whole E-step (q in Algorithm 1, which has one round, and the same number for all data).
    e_rounds, e_tol, e_tol_rows : int, float, float
        An E-step has rounds, up to `e_rounds` of them, and to `max_e_steps` batches in all, until the E-net's classes of real
        samples differ from those of w in at most `e_tol` of the images, or `e_tol_rows` of the rows; without `consistency`, it
        has one. An E-net that stops early on images corrects labels that do not fit; on rows, whose graph is that of the data
        themselves, it loses labels.
    e_averaging : float
        Decay of the running mean of the E-net's weights, which it gets at the end of each round; 0 leaves it the last ones.
    batch_size, e_batch_size : int
        Real samples, and as many generated ones, in a batch of the M-step and of the E-step.
    width : int
        Filters of the networks' first layer (see `skganem.core.networks.architectures`).
    n_noise : int
        Length of the generator's noise z, uniform in [-1, 1].
    networks : Networks
        The factories of the three networks.
    generator_loss : str or callable (logits, c) -> scalar
        L_G: "likelihood" (Eq. 1), "normalized_likelihood", "non_saturating" or "one_hot" (the released code).
    discriminator_loss : str or callable (real logits, w, generated logits, c, phi) -> scalar
        L_D: "all" (Eq. 2) or "own" (Eq. 18).
    lipschitz : {"clip", "r1", None} or callable (discriminator, x, w, step) -> scalar
        What keeps the GAN smooth (Section 4.4): "clip" bounds the generator's weights to [-clip, clip]; "r1" penalises
        the discriminator's gradient at real samples (Mescheder et al. 2018); a callable's value is added to L_D.
    clip, r1_gamma : float
        The settings of these two.
    optimizer : {"rmsprop", "adam"}
    learning_rates : tuple of 3 floats
        Of G, D and E.
    decay : float or None
        Learning rates are multiplied by it after every EM iteration; None lowers them to nearly 0 over `max_iter`
        iterations along a cosine.
    init : {"graph", "kmeans", "random", "uniform"}
        The initial soft labels w; Algorithm 1 has "uniform". With "graph", known labels spread through it, unless it says
        hardly anything of those that are held out, or of rows less than is known without it: w is then uniform, too.
    augmentation : {"auto", None} or callable (x, index, rng) -> x'
        The changes under which an E-net's answer must stay the same. "auto" warps images and mixes rows with their neighbours,
        unless known labels show, as for `init`, that these are of other classes. Encoders learn with images that are shrunken
        first, if their shorter side has 64 pixels or more, to 32 to 47.
    e_strength : float
        The size of the E-step's warps, as a part of those by which encoders learn ("auto" and `ImageWarp`); they change the
        contrast of images with 3 channels alone.
    generated : float
        Weight of the E-step's term on generated samples (Eq. 5).
    weigh_generated : bool
        Weigh each generated sample of that term by the discriminator's opinion of it, 2 D_c.
    n_unheard : int
        E-steps at the beginning without that term, while the generator has not yet learned. Where nothing else teaches the
        E-net, they have it, too: `consistency` is 0, or w says nothing at first (`init` "random" or "uniform") and no labels
        are known.
    consistency : float
        Weight of the E-step's term on real samples, CE{E(x'), w(x)} with x' a changed x and w the previous E-step's.
    sharpening : float
        The power to which w is raised in that term; 1 leaves w as it is. Generated samples then weigh w_c to the power
        `sharpening` - 1, by the E-net before the E-step.
    e_epsilon : float or None
        Instead of labels in every batch: at the end of an E-step, train the E-net on the labelled samples until its error
        on them is at most this (Section 5.3). None mixes labelled samples into every batch.
    representation_steps : int
        Batches of the self-supervised training of each of the two encoders, which give the graph its distances (images with
        an augmentation and ``init="graph"`` only).
    representation_batch_size, representation_rate, temperature : int, float, float
        Its batch size, learning rate and NT-Xent temperature.
    n_neighbors : int
        Neighbours of a sample in the graph: of n different samples in K clusters no more than n / (5 K), or three.
    graph_size : int
        Samples in the graph at most; the others take their labels from their neighbours in it.
    """

    max_iter: int = 10
    tol: float = 1e-3
    m_epochs: int = 1
    min_m_steps: int = 200
    max_m_steps: int = 300
    e_epochs: int = 5
    min_e_steps: int = 200
    max_e_steps: int = 1000
    e_rounds: int = 5
    e_tol: float = 0.02
    e_tol_rows: float = 0.005
    e_averaging: float = 0.99
    batch_size: int = 64
    e_batch_size: int = 128
    width: int = 32
    n_noise: int = 62
    networks: Networks = DEFAULT_NETWORKS
    generator_loss: str | GeneratorLoss = "normalized_likelihood"
    discriminator_loss: str | DiscriminatorLoss = "own"
    lipschitz: str | Lipschitz | None = None
    clip: float = 0.1
    r1_gamma: float = 1.0
    optimizer: str = "adam"
    learning_rates: tuple[float, float, float] = (1e-3, 1e-3, 2e-3)
    decay: float | None = None
    init: str = "graph"
    augmentation: str | Augmentation | None = "auto"
    e_strength: float = 1.0
    generated: float = 1.0
    weigh_generated: bool = True
    n_unheard: int = 4
    consistency: float = 1.0
    sharpening: float = 2.0
    e_epsilon: float | None = None
    representation_steps: int = 400
    representation_batch_size: int = 256
    representation_rate: float = 4e-3
    temperature: float = 0.5
    n_neighbors: int = 15
    graph_size: int = 20_000

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            value = getattr(self, name)
            own = callable(value) and name not in NAMED
            allowed = value in known if isinstance(value, str) else own or (value is None and name in OPTIONAL)
            if not allowed:
                raise ValueError(f"{name} must be one of {', '.join(sorted(known))}, got {value!r}.")
        for name, least in LEAST.items():
            value = getattr(self, name)
            if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name} must be an int of {least} or more, got {value!r}.")
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if not (value is None and name in OPTIONAL) and not (isinstance(value, Real) and low <= float(value) <= high):
                raise ValueError(f"{name} must be a number from {low:g} to {high:g}, got {value!r}.")
        if not (self.generated or self.consistency):
            raise ValueError("generated and consistency are both 0: nothing would teach the E-net.")
        for step in "me":
            least, most = getattr(self, f"min_{step}_steps"), getattr(self, f"max_{step}_steps")
            if least > most:
                raise ValueError(f"min_{step}_steps={least} is more than max_{step}_steps={most}.")
        rates = self.learning_rates
        if not isinstance(rates, Sequence) or len(rates) != 3 or not all(isinstance(r, Real) and float(r) >= 0 for r in rates):
            raise ValueError(f"learning_rates must be three numbers, of G, D and E, got {rates!r}.")
        if not isinstance(self.networks, Networks):
            raise ValueError(f"networks must be a Networks, got {self.networks!r}.")
        # As plain numbers: NumPy's, of which grids are made, are not shown alike, and torch does not take them everywhere.
        for name in LEAST:
            object.__setattr__(self, name, int(getattr(self, name)))
        for name in RANGES:
            if getattr(self, name) is not None:
                object.__setattr__(self, name, float(getattr(self, name)))
        object.__setattr__(self, "learning_rates", tuple(float(rate) for rate in rates))

    @classmethod
    def paper(cls) -> Recipe:
        """Return the settings of Section 5.1 and Appendix B.1: uniform w, RMSprop, clipping, 5 epochs, 1000 E steps.

        With labels, the E-net is trained until it makes no error on them (Appendix B.1; Section 5.3 has 5 or 10 %).

        The paper leaves open the bound of the clipping (ours, 0.1, is five times the initial weights' standard deviation), the
        number of EM iterations ("converges within 20", its slides) and the batch size (64 in Section 5.1, 70 in
        Appendix B.1; ours is 64).
        """
        return cls(
            max_iter=20, tol=0.0, m_epochs=5, min_m_steps=1, max_m_steps=10**9, e_epochs=0, min_e_steps=1000,
            max_e_steps=1000, batch_size=64, e_batch_size=256, width=64, generator_loss="likelihood",
            discriminator_loss="all", lipschitz="clip", optimizer="rmsprop", learning_rates=(2e-4, 2e-4, 2e-4), decay=0.98,
            init="uniform", augmentation=None,
            weigh_generated=False, n_unheard=0, consistency=0.0, sharpening=1.0, e_epsilon=0.0,
            e_averaging=0.0, networks=PAPER_NETWORKS,
        )  # fmt: skip

    @classmethod
    def released(cls) -> Recipe:
        """Return the settings of the authors' released code where it differs from the paper.

        Adam with rates 6e-4, 2e-4 and 6e-5, the cross-entropy of all K + 1 units as L_G, no clipping, batches of 70 and
        200.
        """
        return cls.paper().but(
            generator_loss="one_hot", lipschitz=None, optimizer="adam", learning_rates=(6e-4, 2e-4, 6e-5),
            batch_size=70, e_batch_size=200,
        )  # fmt: skip

    def __repr__(self) -> str:
        """Show the fields that differ from the default recipe."""
        changed = [f"{f.name}={_short(getattr(self, f.name))}" for f in fields(self) if getattr(self, f.name) != f.default]
        return f"Recipe({', '.join(changed)})"

    def but(self, **changes: Any) -> Recipe:
        """Return a copy with some fields changed.

        Parameters
        ----------
        **changes : object
            New values by the fields' names.

        Returns
        -------
        recipe : Recipe
            The copy.

        Raises
        ------
        ValueError
            If there is no field of a name, or a value is not valid.

        Examples
        --------
        >>> from skganem import Recipe
        >>> Recipe.paper().but(width=32).width
        32
        """
        known = {field.name for field in fields(self)}
        unknown = sorted(set(changes) - known)
        if unknown:
            raise ValueError(f"a recipe has no {', '.join(unknown)}; its fields are {', '.join(sorted(known))}")
        return replace(self, **changes)


def _short(value: Any) -> str:
    """Show functions by their names, which unlike their addresses are the same in every process."""
    if isinstance(value, Networks):
        return f"Networks({', '.join(_short(getattr(value, f.name)) for f in fields(value))})"
    return str(getattr(value, "__qualname__", None) or repr(value))


RECIPES: dict[str, Callable[[], Recipe]] = {"default": Recipe, "paper": Recipe.paper, "released": Recipe.released}

"""The settings of training, and how wrong ones are refused."""

import numpy as np
import pytest
import torch

from skganem import GANEMClustering, ImageWarp, Recipe
from skganem.core.em.e_step import n_e_steps
from skganem.core.em.m_step import n_m_steps
from tests.conftest import fast_recipe


def test_paper_recipe():
    """Section 5.1 and Appendix B.1, number by number."""
    paper = Recipe.paper()
    assert paper.init == "uniform"
    assert paper.optimizer == "rmsprop"
    assert paper.learning_rates == (6e-4, 2e-4, 2e-4)  # that of G is the released code's
    assert paper.lr_decay == 0.98
    assert (paper.m_epochs, paper.batch_size, n_m_steps(paper, 64 * 100, (1, 28, 28))) == (5, 64, 500)
    assert (n_e_steps(paper, 1), n_e_steps(paper, 10**6), paper.e_batch_size) == (1000, 1000, 256)
    assert paper.lipschitz == "clip"
    assert (paper.generator_loss, paper.discriminator_loss) == ("likelihood", "all")
    assert paper.augmentation is None
    assert paper.consistency_weight == 0
    assert (paper.width, paper.n_noise) == (64, 62)
    assert (paper.max_iter, paper.tol, paper.e_ema_decay, paper.sharpening, paper.e_epsilon) == (20, 0, 0, 1, 0)


def test_released_recipe():
    released = Recipe.released()
    assert (released.optimizer, released.learning_rates, released.lipschitz) == ("adam", (6e-4, 2e-4, 6e-5), None)
    assert (released.batch_size, released.e_batch_size, released.init) == (70, 200, "uniform")


def test_fast_recipe():
    """Fewer of what takes time, and nothing else."""
    fast, default = Recipe.fast(), Recipe()
    changed = {name for name, value in vars(fast).items() if value != getattr(default, name)}
    assert changed >= {"max_iter", "n_warmup_iter", "max_m_steps", "e_rounds"}
    assert all(getattr(fast, name) < getattr(default, name) for name in changed)


def test_the_default_recipe_penalizes_the_discriminators_gradient():
    assert (Recipe().lipschitz, Recipe().r1_gamma) == ("r1", 0.3)


def test_an_unknown_choice_is_refused_by_name():
    with pytest.raises(ValueError, match="init must be one of graph, kmeans, random, uniform, got 'kmean'"):
        Recipe().but(init="kmean")


def test_an_unknown_field_is_refused_by_name():
    with pytest.raises(ValueError, match="a recipe has no learning_rate;"):
        Recipe().but(learning_rate=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"min_e_steps": -5}, "min_e_steps must be an int of 1 or more"),
        ({"width": "a"}, "width must be an int of 1 or more"),
        ({"batch_size": 1}, "batch_size must be an int of 2 or more"),
        ({"n_noise": True}, "n_noise must be an int"),
        ({"tol": 5}, "tol must be a number from 0 to 1"),
        ({"sharpening": 0}, "sharpening must be a number from 1e-12 to 16"),
        ({"encoder_learning_rate": float("nan")}, "encoder_learning_rate must be a number"),
        ({"sharpening": None}, "sharpening must be a number"),
        ({"learning_rates": 1e-3}, "learning_rates must be three numbers"),
        ({"learning_rates": (1e-3, 1e-3)}, "learning_rates must be three numbers"),
        ({"networks": len}, "networks must be a Networks"),
        ({"init": "spectral"}, "init must be one of"),
        ({"tol": True}, "tol must be a number from 0 to 1, got True"),
        ({"learning_rates": (True, 1e-3, 1e-3)}, "learning_rates must be three numbers"),
        ({"discriminator_weighting": "no"}, "discriminator_weighting must be True or False, got 'no'"),
        ({"discriminator_weighting": 1}, "discriminator_weighting must be True or False"),
        ({"augmentation": ImageWarp}, r"augmentation must be one of .* Pass an instance: ImageWarp\(\.\.\.\)"),
        ({"generator_loss": torch.nn.CrossEntropyLoss}, "generator_loss must be one of .* Pass an instance"),
    ],
)
def test_invalid_values_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Recipe().but(**change)


def test_numpy_numbers_are_as_good_as_pythons(digits):
    """Grids are made of them; a checkpoint would refuse them, and torch takes them for no shape of an image."""
    drawn = {"width": np.int64(4), "batch_size": np.int16(16), "tol": np.float64(0.5), "learning_rates": [np.float64(1)] * 3}
    drawn["discriminator_weighting"] = np.False_
    plain = {"discriminator_weighting": False, "width": 4, "batch_size": 16, "tol": 0.5, "learning_rates": (1.0, 1.0, 1.0)}
    assert repr(Recipe().but(**drawn)) == repr(Recipe().but(**plain))
    recipe = fast_recipe(max_iter=1, encoder_steps=1)
    model = GANEMClustering(np.int64(2), recipe=recipe, width=np.int64(4)).fit(digits[0])
    assert type(model._model.spec.n_clusters) is int

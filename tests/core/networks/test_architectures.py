import pytest
import torch
from torch import nn

from skganem import Recipe
from skganem.core.networks.architectures import DEFAULT_NETWORKS
from skganem.core.networks.mixture import MixtureModel, NetworkSpec
from tests.conftest import CPU


def layers_of(module):
    """List the layers as the paper's tables do."""
    out = []
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            assert layer.kernel_size == (4, 4)
            name = "deconv" if isinstance(layer, nn.ConvTranspose2d) else "conv"
            out.append((name, layer.out_channels, layer.stride[0], layer.padding[0]))
        elif isinstance(layer, nn.Linear):
            out.append(("fc", layer.out_features))
        elif isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            out.append("BN")
        elif isinstance(layer, nn.LeakyReLU):
            out.append(("lrelu", layer.negative_slope))
    return out


LRELU = ("lrelu", 0.2)


def paper_model(shape, width, n_clusters=10, n_noise=62):
    return MixtureModel(NetworkSpec(shape, n_clusters, n_noise, width), Recipe.paper().networks, 0, CPU)


def test_table_4():
    model = paper_model((1, 28, 28), 64)
    assert layers_of(model.generator) == [
        ("fc", 128 * 7 * 7), "BN", LRELU, ("deconv", 64, 2, 1), "BN", LRELU, ("deconv", 1, 2, 1),
    ]  # fmt: skip
    body = [("conv", 64, 2, 1), "BN", LRELU, ("conv", 128, 2, 1), "BN", LRELU, ("conv", 256, 2, 1), "BN", LRELU]
    body += [("fc", 1024), "BN", LRELU]
    assert layers_of(model.discriminator) == [*body, ("fc", 11)]
    assert layers_of(model.e_net) == [*body, ("fc", 10)]
    assert model.generator.body[0].in_features == 72


def test_table_5():
    model = paper_model((3, 32, 32), 64)
    assert layers_of(model.generator) == [
        ("fc", 128 * 4 * 4), "BN", LRELU, ("deconv", 64, 2, 1), "BN", LRELU, ("deconv", 32, 2, 1), "BN", LRELU,
        ("deconv", 3, 2, 1),
    ]  # fmt: skip
    assert layers_of(model.e_net)[-2:] == [LRELU, ("fc", 10)]
    assert ("fc", 1024) in layers_of(model.discriminator)


def test_table_6_with_strides_that_reach_64():
    model = paper_model((3, 64, 64), 128, n_clusters=2, n_noise=298)
    convolutions = [layer[1] for layer in layers_of(model.discriminator) if layer[0] == "conv"]
    assert convolutions == [128, 256, 512, 1024]
    assert model.generator.body[0].in_features == 300
    assert layers_of(model.generator)[0] == ("fc", 1024 * 4 * 4)  # Table 6's first deconvolution, from 1x1 to 4x4
    filters = [layer[1] for layer in layers_of(model.generator) if layer[0] == "deconv"]
    assert filters == [512, 256, 128, 3]
    z, c = torch.zeros(2, 298), torch.tensor([0, 1])
    assert model.generator(z, c).shape == (2, 3, 64, 64)


@pytest.mark.parametrize(("channels", "low"), [(1, 0.0), (3, -1.0)])
def test_the_papers_networks_see_gray_images_in_the_unit_range(channels, low):
    """Appendix B.1 has [0, 1] for MNIST, B.2 and B.3 [-1, 1] for images in color."""
    seen = []
    body = paper_model((channels, 28, 28), 2).discriminator.body
    convolution = next(layer for layer in body if isinstance(layer, nn.Conv2d))
    convolution.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    body(torch.stack([torch.full((channels, 28, 28), value) for value in (-1.0, 1.0)]))
    assert (float(seen[0].min()), float(seen[0].max())) == (low, 1.0)


def test_the_released_generator_has_another_dense_layer_and_relu():
    model = MixtureModel(NetworkSpec((1, 28, 28), 10, 62, 64), Recipe.released().networks, 0, CPU)
    dense = [layer.out_features for layer in model.generator.modules() if isinstance(layer, nn.Linear)]
    assert dense == [1024, 128 * 7 * 7]
    assert sum(isinstance(layer, nn.ReLU) for layer in model.generator.modules()) == 3
    assert not any(isinstance(layer, nn.LeakyReLU) for layer in model.generator.modules())


@pytest.mark.parametrize(
    "shape", [(1, 8, 8), (3, 9, 8), (1, 13, 21), (1, 28, 28), (4, 32, 48), (3, 45, 45), (1, 96, 64), (2, 5)[:1]]
)
def test_networks_fit_any_shape(shape):
    model = MixtureModel(NetworkSpec(shape, 3, 5, 4), DEFAULT_NETWORKS, 0, CPU)
    x = model.sample(torch.tensor([0, 1, 2, 0]), torch.Generator().manual_seed(0))
    assert x.shape == (4, *shape)
    assert model.discriminator(x).shape == (4, 4)
    assert model.e_net(x).shape == (4, 3)


@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 128, 128)])
def test_networks_may_have_width_1(shape):
    model = MixtureModel(NetworkSpec(shape, 2, 3, 1), DEFAULT_NETWORKS, 0, CPU)
    assert model.sample(torch.tensor([0, 1]), torch.Generator().manual_seed(0)).shape == (2, *shape)

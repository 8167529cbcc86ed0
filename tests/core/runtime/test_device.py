import pytest
import torch
from torch import nn

from skganem.core.runtime.device import autocast, freeze, resolve_device, resolve_precision
from tests.conftest import CPU


@pytest.mark.parametrize(("cuda", "mps", "expected"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")])
def test_auto_takes_the_fastest_device(monkeypatch, cuda, mps, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert resolve_device("auto").type == expected


@pytest.mark.parametrize("device", ["gpu", "CPU", "meta", "cuda:99", "hpu", "xla", "", None, torch.device("meta")])
def test_what_is_no_device_here_is_refused_by_name(device):
    with pytest.raises(ValueError, match=f"^device='{device}' is not available here: ") as error:
        resolve_device(device)
    assert len(str(error.value)) < 250


@pytest.mark.parametrize(("matrices", "vectors"), [(True, True), (False, True), (False, False)])
def test_convolutions_are_computed_in_bfloat16_where_the_processor_multiplies_in_it(monkeypatch, matrices, vectors):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: matrices)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: vectors)
    fast = torch.bfloat16 if vectors else torch.float32
    assert resolve_precision("auto", CPU, convolutional=True) == fast
    assert resolve_precision("auto", CPU, convolutional=False) == torch.float32
    assert resolve_precision("float32", CPU, convolutional=True) == torch.float32


def test_gradients_do_not_depend_on_the_autocast_of_other_threads():
    torch.manual_seed(0)
    net, x, y = nn.Linear(64, 64), torch.rand(32, 64), torch.rand(32, 64)

    def gradient(meanwhile):
        with autocast(CPU, torch.bfloat16):
            first = net(x)
            meanwhile()
            loss = (first.float().square() + net(y).float().square()).mean()
        return torch.autograd.grad(loss, net.weight)[0]

    assert torch.equal(gradient(lambda: None), gradient(torch.clear_autocast_cache))


def test_parameters_that_were_frozen_before_stay_frozen():
    layer = nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    with freeze(layer):
        assert not layer.weight.requires_grad
    assert layer.weight.requires_grad
    assert not layer.bias.requires_grad

import torch

from skganem.core.runtime.rng import deterministic_cudnn


def test_fits_in_threads_restore_cudnns_flags():
    """The one that began first ends first: the other's bits must still be the same, and the flags are restored at last."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    first, second = deterministic_cudnn(), deterministic_cudnn()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert (cudnn.deterministic, cudnn.benchmark) == (True, False)
    second.__exit__(None, None, None)
    assert (cudnn.deterministic, cudnn.benchmark) == before

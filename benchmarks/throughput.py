"""How fast the training and the predictions are: this package, a plain loop, and what the machine can do.

    python benchmarks/throughput.py --out benchmarks/results/throughput.jsonl
    python benchmarks/throughput.py --quick

All rates are measured in one run, on the paper's MNIST networks (Table 4, width 64) and random images, and are images per
second: of the M-step, a real image and a generated one count as one. The plain loop is what one would write first: eager,
float32, a ``DataLoader``, each forward pass where it is needed, gradients of everything. The machine's limit is the time of
the bare convolutions and matrix products that the losses can't do without, at the rate of the fastest of the largest layer
(forward and backward) and of a large matrix product.
"""

import argparse
import math
import time

import numpy as np
import torch
from report import append, machine, peak_memory
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

from skganem import GANEMClustering, GANEMTransformer, Recipe
from skganem.core.data.batches import chunk_size
from skganem.core.data.dataset import ArrayDataset, Scaler
from skganem.core.em.e_step import e_step
from skganem.core.em.m_step import m_step
from skganem.core.em.state import EMState
from skganem.core.networks.mixture import MixtureModel, NetworkSpec
from skganem.core.runtime.device import resolve_device, resolve_precision


def images(n, side=28, channels=1):
    """Return n random images as rows of uint8."""
    return np.random.default_rng(0).integers(0, 256, (n, side * side * channels), dtype=np.uint8)


def soft_labels(n, n_clusters):
    """Return random soft labels (n, n_clusters)."""
    return torch.softmax(torch.randn(n, n_clusters, generator=torch.Generator().manual_seed(0)), dim=1)


def training(n, n_clusters, recipe, device, precision, side=28, channels=1):
    """Set up the package's training on random images."""
    X, shape = images(n, side, channels), (channels, side, side)
    dtype = resolve_precision(precision, device, convolutional=True)
    dataset = ArrayDataset(X, shape, Scaler.fit(X, shape), device)
    model = MixtureModel(NetworkSpec(shape, n_clusters, recipe.n_noise, recipe.width), recipe.networks, 0, device)
    rng = torch.Generator(device).manual_seed(0)
    return EMState(model, dataset, recipe, rng, dtype)


def seconds(work, device, repeats=3):
    """Return the least time that some work takes, after one run to warm up."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times[1:])


class PlainLoop:
    """The M-step and the E-step as one would first write them, in the released code's order of work."""

    def __init__(self, n, n_clusters, device, batch_size):
        self.model = MixtureModel(NetworkSpec((1, 28, 28), n_clusters, 62, 64), Recipe.released().networks, 0, device)
        for module in self.model.networks():
            module.to(memory_format=torch.contiguous_format).train()
        self.optimizers = [torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999)) for net in self.model.networks()]
        X = torch.from_numpy(images(n)).view(n, 1, 28, 28).float() / 127.5 - 1
        self.data, self.device, self.n_clusters = TensorDataset(X, soft_labels(n, n_clusters)), device, n_clusters
        self.batch_size = batch_size

    def generate(self, n):
        """Generate n samples of random classes."""
        c = torch.randint(self.n_clusters, (n,), device=self.device)
        return self.model.generator(torch.rand(n, 62, device=self.device) * 2 - 1, c), c

    def m_step(self):
        """Pass over the data once."""
        criterion, (_, discriminator, _) = nn.BCEWithLogitsLoss(), self.model.networks()
        optimizer_g, optimizer_d, _ = self.optimizers
        for x, w in DataLoader(self.data, self.batch_size, shuffle=True):
            x, w = x.to(self.device), w.to(self.device)
            real = torch.cat([w, torch.ones(len(x), 1, device=self.device)], dim=1)
            optimizer_d.zero_grad()
            fake, _ = self.generate(len(x))
            logits = discriminator(fake.detach())
            loss_d = criterion(discriminator(x), real) + criterion(logits, torch.zeros_like(logits))
            loss_d.backward()
            optimizer_d.step()
            optimizer_g.zero_grad()
            fake, c = self.generate(len(x))
            target = nn.functional.one_hot(c, self.n_clusters + 1).float()
            target[:, -1] = 1
            loss_g = criterion(discriminator(fake), target)
            loss_g.backward()
            optimizer_g.step()
            loss_d.item(), loss_g.item()

    def e_step(self, n_batches, batch_size):
        """Train the E-net on generated samples."""
        for _ in range(n_batches):
            self.optimizers[2].zero_grad()
            fake, c = self.generate(batch_size)
            loss = nn.functional.cross_entropy(self.model.e_net(fake), c)
            loss.backward()
            self.optimizers[2].step()
            loss.item()


def convolution_rate(batch_size, device, dtype):
    """Return the FLOP/s of the discriminator's largest convolution (Table 4), forward and backward."""
    x = torch.randn(batch_size, 64, 14, 14, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    layer = nn.Conv2d(64, 128, 4, 2, 1, bias=False, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    x.requires_grad_(True)
    gradient = torch.randn_like(layer(x))

    def work():
        for _ in range(10):
            torch.autograd.grad(layer(x), (x, layer.weight), gradient)

    return 10 * 3 * 2 * gradient.numel() * 16 * 64 / seconds(work, device)


def product_rate(device, dtype, size=2048):
    """Return the FLOP/s of a large matrix product."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / seconds(lambda: a @ b, device)


def machine_rate(batch_size, device, dtype):
    """Return the FLOP/s of the faster of the two: what the machine can do at the moment."""
    return max(convolution_rate(batch_size, device, dtype), product_rate(device, dtype))


def flops(work):
    """Count the floating-point operations of some work."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def steps(n, batch_size, n_clusters, device, precision):
    """Measure the M-step and the E-step: yield one record each."""
    paper = Recipe.paper().but(batch_size=batch_size, m_epochs=1, min_e_steps=max(1, n // 256))
    task, w = training(n, n_clusters, paper, device, precision), soft_labels(n, n_clusters).to(device)
    plain = PlainLoop(n, n_clusters, device, batch_size)
    rate = machine_rate(batch_size, device, task.dtype)
    generated = paper.min_e_steps * paper.e_batch_size
    cases = {
        "M-step": (n, lambda: m_step(task, w), plain.m_step),
        "E-step": (generated, lambda: e_step(task, w), lambda: plain.e_step(paper.min_e_steps, paper.e_batch_size)),
    }
    for name, (n_images, ours, theirs) in cases.items():
        needed = flops(ours)
        ours, theirs = n_images / seconds(ours, device), n_images / seconds(theirs, device)
        # Something else may have slowed the machine down before, and not while the steps were timed.
        rate = max(rate, machine_rate(batch_size, device, task.dtype))
        limit = n_images * rate / needed
        yield {
            "what": name, "batch_size": batch_size, "k": n_clusters, "n": n, "precision": str(task.dtype).split(".")[1],
            "images_per_second": ours, "plain_loop": theirs, "limit": limit, "limit_flops": rate,
            "times_plain": ours / theirs, "part_of_limit": ours / limit,
        }  # fmt: skip


def scaling(device, precision, sizes, clusters, n_steps):
    """Measure one default M-step batch by K, and one epoch by N: yield a record each."""
    for k in clusters:
        task = training(sizes[0], k, Recipe().but(min_m_steps=n_steps, max_m_steps=n_steps), device, precision)
        w = soft_labels(sizes[0], k).to(device)
        yield {
            "what": "M-step by K",
            "k": k,
            "seconds_per_step": seconds(lambda t=task, w=w: m_step(t, w), device) / n_steps,
        }
    for n in sizes:
        task = training(n, 10, Recipe().but(min_m_steps=1, max_m_steps=10**9), device, precision)
        w = soft_labels(n, 10).to(device)
        epoch = seconds(lambda t=task, w=w: m_step(t, w), device, repeats=1)
        yield {"what": "M-step by N", "n": n, "seconds_per_epoch": epoch, "microseconds_per_image": epoch / n * 1e6}


def predictions(n, device):
    """Measure predict_proba and transform against the bare network's forward pass: yield a record each."""
    X = images(n).reshape(n, 28, 28)
    brief = Recipe().but(
        max_iter=1, encoder_steps=1, min_m_steps=1, max_m_steps=1, min_e_steps=1, max_e_steps=1, graph_size=500
    )
    fitted = {
        "predict_proba": GANEMClustering(10, recipe=brief, device=device, random_state=0).fit(X[:500]),
        "transform": GANEMTransformer(100, recipe=brief, device=device, random_state=0).fit(X[:500]),
    }
    for name, estimator in fitted.items():
        e_net = estimator._model.e_net
        batch = torch.randn(
            chunk_size(estimator._model.spec.shape, estimator._model.device), 1, 28, 28, device=device
        ).contiguous(memory_format=torch.channels_last)
        count = math.ceil(n / len(batch))

        @torch.no_grad()
        def bare(e_net=e_net, batch=batch, count=count):
            for _ in range(count):
                e_net(batch)

        ours, least = seconds(lambda e=estimator, m=name: getattr(e, m)(X), device), seconds(bare, device)
        yield {"what": name, "n": n, "seconds": ours, "bare_seconds": least, "times_bare": ours / least}


def main(arguments=None):
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[64])
    parser.add_argument("--sizes", nargs="+", type=int, default=[10_000, 30_000, 60_000])
    parser.add_argument("--clusters", nargs="+", type=int, default=[10, 100])
    parser.add_argument("--predicted", type=int, default=70_000)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true", help="a few batches of everything: to see that it works")
    parser.add_argument("--out", help="file to which a line is added for each measurement")
    arguments = parser.parse_args(arguments)
    torch.set_num_threads(arguments.threads)
    device = resolve_device(arguments.device)
    if arguments.quick:
        arguments.sizes, arguments.predicted = [128, 256], 512
    measure(arguments, device)


def measure(arguments, device):
    """Print each measurement, and write it down."""
    n = min(arguments.sizes[0], 2560)
    for records in (
        *(steps(n, size, 10, device, arguments.precision) for size in arguments.batch_sizes),
        scaling(device, arguments.precision, arguments.sizes, arguments.clusters, n_steps=2 if arguments.quick else 100),
        predictions(arguments.predicted, device),
    ):
        for record in records:
            record |= {"device": str(device), "peak_memory": peak_memory(), **machine()}
            print(*(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in list(record.items())[:11]), flush=True)
            if arguments.out:
                append(arguments.out, record)


if __name__ == "__main__":
    main()

"""A fit from image files beside one from the array of their images: peak memory, time, and whether the labels are equal.

    python benchmarks/image_files.py --samples 20000
    python benchmarks/image_files.py --quick

The images are scikit-learn's digits, enlarged to 28x28, moved and with noise. Each fit is a process of its own.
"""

import argparse
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from gpu import QUICK
from PIL import Image
from report import append, machine, peak_memory
from sklearn.datasets import load_digits

from skganem import GANEMClustering, ImageFiles

SIDE = 28
KINDS = ("files", "cached files", "array")


def write_images(folder, n):
    """Write n PNG files."""
    rng, digits = np.random.default_rng(0), (load_digits().images * 15).astype(np.uint8)
    for i, image in enumerate(digits[rng.integers(0, len(digits), n)]):
        enlarged = np.asarray(Image.fromarray(image).resize((SIDE, SIDE)), dtype=float)
        moved = np.roll(enlarged, rng.integers(-2, 3, 2), axis=(0, 1)) + rng.normal(0, 10, (SIDE, SIDE))
        Image.fromarray(moved.clip(0, 255).astype(np.uint8)).save(folder / f"{i:06}.png")


def run(kind, folder, recipe):
    """Fit, and return the labels, what memory the process took before and at most, and the seconds with the decoding."""
    before, start = peak_memory(), time.perf_counter()
    X = ImageFiles(folder, (SIDE, SIDE), cache=folder / "cache.npy" if kind == "cached files" else None)
    model = GANEMClustering(10, recipe=recipe, random_state=0).fit(X[:] if kind == "array" else X)
    seconds = time.perf_counter() - start
    return model.labels_, {"kind": kind, "before_bytes": before, "peak_bytes": peak_memory(), "seconds": seconds}


def main():
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--quick", action="store_true", help="500 files and little training: to see that it works")
    parser.add_argument("--out", default="benchmarks/results/image_files.jsonl")
    arguments = parser.parse_args()
    n, recipe = (500, QUICK) if arguments.quick else (arguments.samples, "fast")
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), n)
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool:
            results = [pool.submit(run, kind, Path(folder), recipe).result() for kind in KINDS]
    expected = results[-1][0]
    for labels, record in results:
        record |= {"samples": n, "quick": arguments.quick, "labels_equal": bool((labels == expected).all())}
        print(f"{record['kind']}: {record['peak_bytes'] / 2**20:.0f} MiB at most, {record['seconds']:.1f} s, ", end="")
        print(f"labels {'equal' if record['labels_equal'] else 'differ'}")
        append(arguments.out, {**record, **machine()})


if __name__ == "__main__":
    main()

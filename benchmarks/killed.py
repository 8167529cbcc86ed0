"""Kill a fit with checkpoints at random moments, run it again, and compare with a fit that was left in peace.

    python benchmarks/killed.py --times 20

Each fit is a process of its own, killed by SIGKILL once or more often, and then left to end. Equal means: to the last bit.
"""

import argparse
import os
import random
import signal
import tempfile
import time

import torch
from report import append, machine
from sklearn.datasets import load_digits

from skganem import GANEMClustering, Recipe, load, save

RECIPE = Recipe().but(
    encoder_steps=20, min_m_steps=8, max_m_steps=8, e_epochs=0, min_e_steps=8, e_rounds=2, width=8, max_iter=8,
    n_warmup_iter=2, tol=0.0,
)  # fmt: skip


def fit(folder, path):
    """Fit with checkpoints in a folder, and write the model to a file."""
    X = load_digits().images[:300]
    save(GANEMClustering(10, recipe=RECIPE, random_state=0, checkpoint_dir=folder).fit(X), path)


def forked(work):
    """Run a function in a process of its own; return its number."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    return child


def contents(path):
    """Return what makes two models equal: their answers, their samples, and their history without the seconds."""
    model = load(path)
    X = load_digits().images
    history = [values.tobytes() for name, values in model.history_.items() if name != "seconds"]
    return model.predict_proba(X).tobytes(), model.sample(20, random_state=0)[0].tobytes(), model.criterion_, history


def main():
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="benchmarks/results/killed.jsonl")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    moments = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        os.waitpid(forked(lambda: fit(f"{folder}/peace", f"{folder}/peace.safetensors")), 0)
        whole = time.perf_counter() - start
        expected, equal, kills = contents(f"{folder}/peace.safetensors"), 0, 0
        for number in range(arguments.times):
            own, path = f"{folder}/{number}", f"{folder}/{number}.safetensors"
            while not os.path.exists(path):
                child = forked(lambda own=own, path=path: fit(own, path))
                time.sleep(moments.uniform(0, whole))
                os.kill(child, signal.SIGKILL)
                kills += os.WIFSIGNALED(os.waitpid(child, 0)[1])
            equal += contents(path) == expected
            print(f"{number + 1}: {equal} equal after {kills} kills", flush=True)
    append(arguments.out, {"times": arguments.times, "equal": equal, "kills": kills, "seconds_of_a_fit": whole, **machine()})


if __name__ == "__main__":
    main()

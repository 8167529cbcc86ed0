"""Error rates of clusterings: GAN-EM and what one would use instead, over seeds.

    python benchmarks/clustering.py --data digits moons --seeds 5
    SKGANEM_DATA=/path/to/data python benchmarks/clustering.py --data mnist-10k --seeds 5

Each run adds a line to the file given by ``--out``; ``--table`` prints the table of that file.
"""

import time
import warnings

import numpy as np
from data import CLUSTERING, named
from report import append, machine, over_attributes, parsed, parser, peak_memory, read, table
from rivals import CLUSTERERS, TAKES_IMAGES
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from skganem import GANEMClustering, clustering_error

METHODS = {
    "GAN-EM": lambda k, seed, **settings: GANEMClustering(k, random_state=seed, **settings),
    "GAN-EM fast": lambda k, seed: GANEMClustering(k, recipe="fast", random_state=seed),
    "GAN-EM paper": lambda k, seed: GANEMClustering(k, recipe="paper", random_state=seed),
    **CLUSTERERS,
}


class Phases:
    """A callback of scikit-learn that adds up the CPU seconds of each kind of task."""

    def __init__(self):
        self.seconds, self.began = {}, {}

    def setup(self, estimator, context):
        """Do nothing."""

    def teardown(self, estimator, context):
        """Do nothing."""

    def on_fit_task_begin(self, estimator, context):
        """Start the clock of a task."""
        self.began[context.task_name] = time.process_time()

    def on_fit_task_end(self, estimator, context):
        """Stop it."""
        name = context.task_name
        self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - self.began[name]

    def leaves(self):
        """Return the seconds by the names of those tasks that are not made of others of them."""
        return {name: seconds for name, seconds in self.seconds.items() if name not in ("fit", "init", "batches")}


def run(data, method, seed, n_clusters=None, **settings):
    """Cluster one data set once; return the record. Settings are the estimator's (GAN-EM only)."""
    load, k = CLUSTERING[data]
    X, y = load(seed)
    estimator, phases = METHODS[method](n_clusters or k, seed, **settings), Phases()
    if hasattr(estimator, "set_callbacks") and method.startswith("GAN-EM"):
        estimator.set_callbacks(phases)
    if method.startswith("GAN-EM") and X.ndim == 2:
        estimator.set_params(image_shape=None)  # for the digits, too, which it would recognize
    X = X if method in TAKES_IMAGES else X.reshape(len(X), -1).astype(np.float32)
    cpu, start = time.process_time(), time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        labels = estimator.fit_predict(X)
    cpu, seconds = time.process_time() - cpu, time.perf_counter() - start
    figures = {
        "error": clustering_error(y, labels),
        "many_to_one": clustering_error(y, labels, mapping="many-to-one"),
        "nmi": normalized_mutual_info_score(y, labels),
        "ari": adjusted_rand_score(y, labels),
        "seconds": seconds,
        "cpu_seconds": cpu,
        "phases": phases.leaves(),
        "peak_memory": peak_memory(),
        "n_iter": getattr(estimator, "n_iter_", None),
        "criterion": getattr(estimator, "criterion_", None),
    }
    return {"data": data, "method": method, "k": n_clusters or k, "seed": seed, **figures, **machine()}


def main():
    """Run what the command line asks for."""
    asked = parser(__doc__, "clustering")
    asked.add_argument("--data", nargs="+", choices=[*CLUSTERING, "celeba-32"], default=["digits", "digits-rows", "moons"])
    asked.add_argument("--methods", nargs="+", choices=METHODS, default=["GAN-EM", "KMeans", "GaussianMixture"])
    asked.add_argument("--clusters", type=int, help="other than the number of classes: many-to-one errors")
    asked.add_argument("--table", action="store_true", help="only print the table of the file")
    arguments = parsed(asked)
    figure = "many_to_one" if arguments.clusters else "error"
    if not arguments.table:
        for data in named(arguments.data, CLUSTERING):
            for method in arguments.methods:
                for seed in arguments.seeds:
                    try:
                        record = run(data, method, seed, arguments.clusters)
                    except ValueError as error:  # such as of a mixture of few samples; the others go on
                        print(data, method, seed, error, flush=True)
                        continue
                    append(arguments.out, record)
                    print(data, method, seed, f"{record[figure]:.4f}", f"{record['seconds']:.1f} s", flush=True)
    table(over_attributes(read(arguments.out), ("data", "k", "method")), ("data", "k", "method"), figure)


if __name__ == "__main__":
    main()

"""The error after each EM iteration, for example with the paper's own settings.

    SKGANEM_DATA=/path/to/data python benchmarks/curve.py --data mnist-10k --recipe paper --seeds 3
    SKGANEM_DATA=/path/to/data python benchmarks/curve.py --data mnist-60k --recipe paper --checkpoint-dir paper-60k
    SKGANEM_DATA=/path/to/data python benchmarks/curve.py --data mnist-dev --recipe default --set generated_weight=0.0

The labels are looked at only to write the error down. A line is written after each iteration. With a checkpoint folder, the
same command goes on where it was stopped.
"""

import time

from data import CLUSTERING
from report import add_changes, append, changes, machine, parsed, parser

from skganem import GANEMClustering, clustering_error
from skganem.core.recipe import RECIPES


class ErrorRecorder:
    """A callback that writes down the error after each EM iteration."""

    def __init__(self, y, run, out):
        self.y, self.run, self.out, self.start = y, run, out, time.process_time()

    def setup(self, estimator, context):
        """Do nothing."""

    def teardown(self, estimator, context):
        """Do nothing."""

    def on_fit_task_begin(self, estimator, context):
        """Do nothing."""

    def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None):
        """Compare the labels so far with the classes."""
        if context.task_name == "EM iteration":
            labels = fitted_estimator.predict(X)
            figures = {"error": clustering_error(self.y, labels)}
            figures["many_to_one"] = clustering_error(self.y, labels, mapping="many-to-one")
            history = {name: float(values[-1]) for name, values in fitted_estimator.history_.items() if values.ndim == 1}
            seconds = time.process_time() - self.start
            record = {**self.run, "iteration": fitted_estimator.n_iter_, **figures, **history, "cpu_seconds": seconds}
            append(self.out, {**record, **machine()})
            print(f"seed {self.run['seed']}, iteration {record['iteration']}: error {figures['error']:.4f}", flush=True)


def main():
    """Run what the command line asks for."""
    asked = parser(__doc__, "curve", seeds=1)
    asked.add_argument("--data", choices=CLUSTERING, default="digits")
    asked.add_argument("--n-clusters", type=int, help="other than the number of classes")
    asked.add_argument("--recipe", choices=RECIPES, default="paper")
    asked.add_argument("--max-iter", type=int)
    asked.add_argument("--checkpoint-dir", help="a folder for each seed is made in it")
    add_changes(asked)
    arguments = parsed(asked)
    changed = changes(arguments.set)
    recipe = RECIPES[arguments.recipe]().but(**changed)
    load, k = CLUSTERING[arguments.data]
    k = arguments.n_clusters or k
    for seed in arguments.seeds:
        X, y = load(seed)
        folder = f"{arguments.checkpoint_dir}/{seed}" if arguments.checkpoint_dir else None
        run = {"data": arguments.data, "n_clusters": k, "recipe": arguments.recipe, "changes": changed, "seed": seed}
        model = GANEMClustering(k, recipe=recipe, max_iter=arguments.max_iter, random_state=seed, checkpoint_dir=folder)
        model.set_callbacks(ErrorRecorder(y, run, arguments.out)).fit(X)


if __name__ == "__main__":
    main()

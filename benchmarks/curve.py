"""The error after each EM iteration, for example with the paper's own settings.

    SKGANEM_DATA=/path/to/data python benchmarks/curve.py --data mnist-10k --recipe paper --max-iter 8
    SKGANEM_DATA=/path/to/data python benchmarks/curve.py --data mnist-dev --recipe default --set generated_weight=0.0

The labels are looked at only to write the error down. A line is written after each iteration.
"""

import time

from clustering import CLUSTERING
from report import add_changes, append, changes, machine, parsed, parser

from skganem import GANEMClustering, clustering_error
from skganem.core.recipe import RECIPES


class Watched(GANEMClustering):
    """GANEMClustering that calls ``watch(iteration, w)`` after each EM iteration."""

    def _reporter(self, *arguments):
        def report(state, w):
            self.watch(state.iteration, w.cpu().numpy())
            return False

        return report


def main():
    """Run what the command line asks for."""
    asked = parser(__doc__, "curve", seeds=1)
    asked.add_argument("--data", choices=CLUSTERING, default="digits")
    asked.add_argument("--recipe", choices=RECIPES, default="paper")
    asked.add_argument("--max-iter", type=int)
    add_changes(asked)
    arguments = parsed(asked)
    changed = changes(arguments.set)
    recipe = RECIPES[arguments.recipe]().but(**changed)
    load, k = CLUSTERING[arguments.data]
    for seed in arguments.seeds:
        X, y = load(seed)
        start = time.perf_counter()
        model = Watched(k, recipe=recipe, max_iter=arguments.max_iter, random_state=seed)

        def watch(iteration, w, y=y, seed=seed, start=start):
            labels = w.argmax(axis=1)
            figures = {"error": clustering_error(y, labels), "many_to_one": clustering_error(y, labels, mapping="many-to-one")}
            run = {"data": arguments.data, "recipe": arguments.recipe, "changes": changed, "seed": seed, "iteration": iteration}
            seconds = time.perf_counter() - start
            append(arguments.out, {**run, **figures, "confidence": float(w.max(1).mean()), "seconds": seconds, **machine()})
            print(f"seed {seed}, iteration {iteration}: error {figures['error']:.4f}, {seconds:.0f} s", flush=True)

        model.watch = watch
        model.fit(X)


if __name__ == "__main__":
    main()

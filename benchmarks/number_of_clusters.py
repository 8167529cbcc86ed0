"""The number of clusters that is chosen for images, over seeds: by `NumberOfClustersDisplay`, and by `GridSearchCV`.

    SKGANEM_DATA=/path/to/data python benchmarks/number_of_clusters.py --data digits mnist-dev-3000 optdigits --seeds 5
    python benchmarks/number_of_clusters.py --data digits --how GridSearchCV --seeds 5

All numbers from 4 to 16 are scored, or, by ``GridSearchCV`` with three folds and a memory, those from 6 to 14. The least number
whose score is within one standard error of the highest is chosen.
"""

import tempfile
import time

import matplotlib
from data import CLUSTERING
from report import append, machine, parsed, parser, read
from sklearn.model_selection import GridSearchCV, KFold

from skganem import GANEMClustering, Recipe
from skganem.display import NumberOfClustersDisplay

matplotlib.use("Agg")


def by_display(X, seed):
    """Return the number that the display chooses, and the scores by number."""
    display = NumberOfClustersDisplay.from_estimator(GANEMClustering(random_state=seed), X, n_clusters=range(4, 17))
    return display.best_n_clusters_, dict(zip(display.n_clusters.tolist(), display.scores.tolist(), strict=True))


def by_search(X, seed):
    """Return the number that a search with short fits chooses, and the mean scores by number."""
    labels_only = Recipe.fast().but(max_iter=1, generated_weight=0)
    numbers, folds = list(range(6, 15)), KFold(3, shuffle=True, random_state=seed)
    with tempfile.TemporaryDirectory() as folder:
        model = GANEMClustering(recipe=labels_only, random_state=seed, memory=folder)
        search = GridSearchCV(model, {"n_clusters": numbers}, cv=folds, refit=False).fit(X)
    scores, spread = (search.cv_results_[f"{name}_test_score"] for name in ("mean", "std"))
    best = scores.argmax()
    within_one_error = scores >= scores[best] - spread[best] / search.n_splits_**0.5
    chosen = numbers[within_one_error.argmax()]
    return chosen, dict(zip(numbers, scores.tolist(), strict=True))


HOW = {"NumberOfClustersDisplay": by_display, "GridSearchCV": by_search}


def main():
    """Run what the command line asks for."""
    asked = parser(__doc__, "number_of_clusters")
    asked.add_argument("--data", nargs="+", choices=CLUSTERING, default=["digits"])
    asked.add_argument("--how", nargs="+", choices=HOW, default=["NumberOfClustersDisplay"])
    arguments = parsed(asked)
    for data in arguments.data:
        for how in arguments.how:
            for seed in arguments.seeds:
                X, _ = CLUSTERING[data][0](seed)
                start = time.process_time()
                chosen, scores = HOW[how](X, seed)
                seconds = time.process_time() - start
                record = {"data": data, "method": how, "seed": seed, "chosen": chosen, "scores": scores, "cpu_seconds": seconds}
                append(arguments.out, {**record, **machine()})
                print(f"{data}, {how}, seed {seed}: {chosen}, {seconds:.0f} CPU s", flush=True)
    for data, how in dict.fromkeys((record["data"], record["method"]) for record in read(arguments.out)):
        runs = [record for record in read(arguments.out) if (record["data"], record["method"]) == (data, how)]
        print(f"{data}, {how}: {[record['chosen'] for record in runs]}")


if __name__ == "__main__":
    main()

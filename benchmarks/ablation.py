"""What each change from the paper's settings to the default brings: the error after each of them, over seeds.

    SKGANEM_DATA=/path/to/data python benchmarks/ablation.py --data mnist-dev-3000 --seeds 3

Each line has all changes above it. To compare settings more than amounts of training, every line but the last has networks of
the default's width, 12 EM iterations and 300 batches in a round of the E-step.
"""

from clustering import CLUSTERING, run
from report import append, parsed, parser, read, table

from skganem import Recipe
from skganem.core.networks.architectures import DEFAULT_NETWORKS

ALIKE = {"width": 32, "max_iter": 12, "min_e_steps": 300, "tol": 0.0}
#: In this order, each to the recipe that the ones before have made of that of the released code.
CHANGES = {
    "initial responsibilities from the graph of pixels": {"init": "graph"},
    "E-net sees real samples": {"consistency_weight": 1.0},
    "augmented views, features for the graph": {"augmentation": "auto"},
    "sharpening": {"sharpening": 2.0},
    "Eq. 18, logarithm of Eq. 1": {"discriminator_loss": "own", "generator_loss": "normalized_likelihood"},
    "D without batch normalization": {"networks": DEFAULT_NETWORKS},
    "discriminator weighting, generator warm-up": {"discriminator_weighting": True, "n_warmup_iter": 6},
    "EMA of the E-net's weights": {"e_ema_decay": 0.99},
    "R1 penalty": {"lipschitz": "r1"},
}


def recipes():
    """Return the recipes of the table by their lines' names."""
    made = {"paper": Recipe.paper().but(**ALIKE), "released code": Recipe.released().but(**ALIKE)}
    last = made["released code"]
    for name, changes in CHANGES.items():
        made[name] = last = last.but(**changes)
    return {**made, "default": Recipe()}


def main():
    """Run what the command line asks for."""
    asked = parser(__doc__, "ablation", seeds=3)
    asked.add_argument("--data", choices=CLUSTERING, default="mnist-dev-3000")
    asked.add_argument("--lines", nargs="+", choices=recipes(), default=list(recipes()))
    arguments = parsed(asked)
    for line in arguments.lines:
        for seed in arguments.seeds:
            record = run(arguments.data, "GAN-EM", seed, recipe=recipes()[line])
            append(arguments.out, {**record, "line": line})
            print(line, seed, f"{record['error']:.4f}, {record['seconds']:.1f} s", flush=True)
    table(read(arguments.out), ("data", "line"), "error")


if __name__ == "__main__":
    main()

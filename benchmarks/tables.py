"""The tables of the documentation, made of the records in ``benchmarks/results``; run, it renews those of the README."""

from itertools import combinations
from pathlib import Path

from report import latest, over_attributes, read, summary

RESULTS = Path(__file__).parent / "results"
#: Data on which defaults were chosen, and trials: their figures belong in no table of results.
LEFT_OUT = ("mnist-dev", "letters-dev", "svhn-dev", "celeba-32-dev", "photo-features", "digits-few")
#: Methods that are made of the default's networks, and the commits whose default is the present one.
OURS = ("GAN-EM", "SimCLR", "supervised network")
PRESENT = {"9e6bd8b", "13e7918", "8c60507", "8b43429"}
#: Data of the same samples for each seed: fits of several seeds are what restarts in one fit would be.
SAME = ("mnist-10k", "mnist-60k", "fashion-10k", "letters", "digits", "digits-rows", "optdigits", "optdigits-rows")
RESTARTS = (1, 2, 3, 5)


def is_dated(record):
    """Tell whether a record, or one of those whose mean it is, is of a former default."""
    commits = record.get("commits", {record.get("commit")})
    return record["method"].startswith(OURS) and not commits <= PRESENT


def dated_groups(records, keys):
    """Return those groups of records, named as `summary` names them, of which one or more are of a former default."""
    return {tuple(str(record[key]) for key in keys) for record in records if is_dated(record)}


def list_table(header, rows):
    """Return a table in reStructuredText, or a word where there would be none."""
    if not rows:
        return "No records yet.\n"
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in (header, *rows):
        lines += [f"   {'* -' if i == 0 else '  -'} {cell}" for i, cell in enumerate(row)]
    return "\n".join(lines) + "\n"


def figures(records, keys, figure, others=()):
    """Return the rows of a table, within each data set from the least mean error to the greatest; `others` are means alone."""
    shown = [record for record in latest(records, keys) if not record["data"].startswith(LEFT_OUT)]
    keys = (*keys, "gpu")
    groups = summary(shown, keys, figure)
    groups.sort(key=lambda row: (row[0][:-2], row[2]))  # by everything but method and hardware, then by the mean
    means = [{group: mean for group, _, mean, *_ in summary(shown, keys, other, scale=1)} for other in others]
    rows = zip(statistics(groups, dated_groups(shown, keys)), groups, strict=True)
    return [(*row, *(f"{mean[group]:.3f}" for mean in means)) for row, (group, *_) in rows]


def statistics(groups, dated=()):
    """Return the rows of a table of what `summary` returns, the last of whose keys is "gpu"; a mark for dated ones."""
    rows = []
    for group, n, mean, std, worst, seconds in groups:
        *names, method, gpu = group
        hardware = "CPU" if gpu == "None" else gpu
        marked = f"{method} †" if group in dated else method
        rows.append((*names, marked, n, f"{mean:.2f}", f"{std:.2f}", f"{worst:.2f}", f"{seconds:.1f}", hardware))
    return rows


STATISTICS = ("runs", "mean", "std", "worst", "seconds", "on")


def restarts(records):
    """Return a row for each data set and K: the error, mean and worst, if the run with the highest criterion of n is kept.

    Mean and worst are those of all choices of n of the runs on a CPU.
    """
    groups, rows = {}, []
    for record in sorted(latest(records, ("data", "k", "method")), key=lambda record: record["seed"]):
        if record["method"] == "GAN-EM" and record["data"] in SAME and record["gpu"] is None:
            groups.setdefault((record["data"], record["k"]), []).append(record)
    for (data, k), runs in sorted(groups.items()):
        figure = "many_to_one" if k > 10 else "error"
        cells = []
        for n in RESTARTS:
            errors = [100 * max(some, key=lambda run: run["criterion"])[figure] for some in combinations(runs, n)]
            cells.append(f"{sum(errors) / len(errors):.2f}, {max(errors):.2f}" if errors else "")
        rows.append((data, k, *cells))
    return rows


def clusterings():
    """Return the records of clusterings; those in which each run had a process of its own come last, and count."""
    return read(RESULTS / "clustering.jsonl") + read(RESULTS / "time_to_accuracy.jsonl")


TIMES = ("data", "method", "runs", "mean", "worst", "CPU seconds", "of these")


def times(records):
    """Return a row for each data set and method: error, CPU seconds, and those of the phases of a fit."""
    groups, rows = {}, []
    for record in latest(records, ("data", "method", "threads")):
        groups.setdefault((record["data"], record["method"]), []).append(record)
    for (data, method), runs in sorted(groups.items()):
        errors, seconds = [100 * run["error"] for run in runs], [run["cpu_seconds"] for run in runs]
        names = dict.fromkeys(name for run in runs for name in run["phases"])
        parts = [f"{name} {sum(run['phases'].get(name, 0) for run in runs) / len(runs):.0f}" for name in names]
        mean = f"{sum(errors) / len(errors):.2f}"
        rows.append(
            (data, method, len(runs), mean, f"{max(errors):.2f}", f"{sum(seconds) / len(seconds):.1f}", ", ".join(parts))
        )
    return rows


NUMBERS = ("data", "by", "numbers chosen", "CPU seconds")


def numbers(records):
    """Return a row for each data set and way to choose: the numbers that were chosen, seed by seed."""
    groups = {}
    for record in sorted(latest(records, ("data", "method")), key=lambda record: record["seed"]):
        groups.setdefault((record["data"], record["method"]), []).append(record)
    return [
        (*names, ", ".join(str(run["chosen"]) for run in runs), f"{sum(run['cpu_seconds'] for run in runs) / len(runs):.0f}")
        for names, runs in sorted(groups.items())
    ]


def tables():
    """Return the tables by their files' names."""
    made = {}
    clustering = over_attributes(clusterings(), ("data", "k", "method"))
    for name, figure in (("one_to_one", "error"), ("many_to_one", "many_to_one")):
        records = [record for record in clustering if (record["k"] > 10) == (name == "many_to_one")]
        rows = figures(records, ("data", "k", "method"), figure, ("ari", "nmi"))
        made[name] = list_table(("data", "K", "method", *STATISTICS, "ARI", "NMI"), rows)
    header = ("data", "K", *(f"n_init={n}" for n in RESTARTS))
    made["restarts"] = list_table(header, restarts(clusterings()))
    made["time_to_accuracy"] = list_table(TIMES, times(read(RESULTS / "time_to_accuracy.jsonl")))
    rows = figures(over_attributes(read(RESULTS / "semi_supervised.jsonl"), ("data", "method")), ("data", "method"), "error")
    made["semi_supervised"] = list_table(("data", "method", *STATISTICS), rows)
    features = read(RESULTS / "features.jsonl")
    made["features"] = list_table(("data", "method", *STATISTICS), figures(features, ("data", "method"), "error"))
    clusters = [record for record in features if "clustering_error" in record]
    rows = figures(clusters, ("data", "method"), "clustering_error")
    made["feature_clusters"] = list_table(("data", "method", *STATISTICS), rows)
    ablation = latest(read(RESULTS / "ablation.jsonl"), ("line",))
    made["ablation"] = list_table(("settings", *STATISTICS), statistics(summary(ablation, ("line", "gpu"), "error")))
    chosen = {}
    for record in latest(read(RESULTS / "choosing_k.jsonl"), ("data", "method")):
        chosen.setdefault((record["data"], record["method"]), {})[record["seed"]] = record
    rows = []
    for names, runs in sorted(chosen.items()):
        seconds = sum(run["seconds"] for run in runs.values()) / len(runs)
        rows.append((*names, ", ".join(str(runs[seed]["chosen"]) for seed in sorted(runs)), f"{seconds:.0f}"))
    made["number_of_clusters"] = list_table(NUMBERS, numbers(read(RESULTS / "number_of_clusters.jsonl")))
    made["choosing_k"] = list_table(("data", "method", "numbers chosen, seed by seed", "seconds"), rows)
    return made


#: The tables of the README: the columns' methods, and the rows' names with the records they are made of.
CLUSTERING = (
    ("GAN-EM", "EVoC", "UMAP + GMM", "UMAP + HDBSCAN", "KMeans"),
    {
        "MNIST, 10,000 training images": ("mnist-10k", 10),
        "MNIST, all 60,000 training images": ("mnist-60k", 10),
        "MNIST, 200 of the 10,000 images": ("mnist-200", 10),
        "MNIST, 100 to 1000 images of each digit": ("mnist-imbalanced", 10),
        "clothes (Fashion-MNIST), 10,000 images": ("fashion-10k", 10),
        "letters A to J in 1000 typefaces, 28x28": ("letters", 10),
        "digits, 1797 images 8x8": ("digits", 10),
        "the same as rows of 64 values": ("digits-rows", 10),
        "3823 digits of other writers, 8x8": ("optdigits", 10),
        "these as rows": ("optdigits-rows", 10),
    },
)
FEW_LABELS = (
    ("GAN-EM", "supervised network", "LabelSpreading", "SelfTraining(SVC)"),
    {
        "digits, half of the images, 5 labels a class": ("digits",),
        "MNIST, 10,000 images, 10 labels a class": ("mnist-100",),
        "MNIST, 10,000 images, 100 labels a class": ("mnist-1000",),
        "letters in 1000 typefaces, 10 labels a class": ("letters-100",),
        "house numbers in color (SVHN), 8001 images, 100 labels a class": ("svhn-1000",),
    },
)
FEATURES = (("GAN-EM 100", "UMAP 10", "PCA 100", "GAN-EM 2", "PCA 2"), {"MNIST, 10,000 images without labels": ("mnist-10k",)})


def cell(n, mean, worst, dated, on_gpu, bold):
    """Return mean and worst of n runs as text, with marks if some of them are dated, and if they ran on a GPU."""
    text = f"**{mean:.1f}**, {worst:.1f}" if bold else f"{mean:.1f}, {worst:.1f}"
    runs = "" if n == 5 else f" ({n} run{'s' * (n > 1)})"
    return text + runs + " †" * dated + " ‡" * on_gpu


def shown_runs(records, keys):
    """Return n, mean, worst, whether dated and whether on a GPU, by group: of two kinds of machines, one of them.

    It is the one whose runs are of the present default; then the one with more of them; then the CPU.
    """
    kept = latest(records, keys)
    dated, found = dated_groups(kept, (*keys, "gpu")), {}
    for group, n, mean, _, worst, _ in summary(kept, (*keys, "gpu"), "error"):
        runs = (n, mean, worst, group in dated, group[-1] != "None")
        found.setdefault(group[:-1], []).append(runs)
    return {group: min(kinds, key=lambda runs: (runs[3], -runs[0], runs[4])) for group, kinds in found.items()}


def headline(records, keys, methods, rows):
    """Return a table of mean and worst error of each method, the best in bold; rows without the first one are left out."""
    found = shown_runs(records, (*keys, "method"))
    cells, rows = [], {name: which for name, which in rows.items() if (*map(str, which), methods[0]) in found}
    methods = [method for method in methods if any((*map(str, which), method) in found for which in rows.values())]
    for name, which in rows.items():
        groups = [(*map(str, which), method) for method in methods]
        best = min(found[group][1] for group in groups if group in found)
        row = [cell(*found[group], bold=found[group][1] == best) if group in found else "" for group in groups]
        cells.append((name, *row))
    return list_table(("data", *methods), cells)


def readme(text):
    """Return the text of the README with its tables made anew."""
    few_labels, features = (read(RESULTS / f"{name}.jsonl") for name in ("semi_supervised", "features"))
    made = {
        "clustering": headline(clusterings(), ("data", "k"), *CLUSTERING),
        "few-labels": headline(few_labels, ("data",), *FEW_LABELS),
        "features": headline(features, ("data",), *FEATURES),
    }
    for name, table in made.items():
        begin, end = f".. {name}-begin\n", f".. {name}-end\n"
        text = f"{text.split(begin)[0]}{begin}\n{table}\n{end}{text.split(end)[1]}"
    return text


def write(folder):
    """Write each table to a file of a folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in tables().items():
        (folder / f"{name}.inc").write_text(text)


if __name__ == "__main__":
    path = Path(__file__).parent.parent / "README.rst"
    path.write_text(readme(path.read_text()))

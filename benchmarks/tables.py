"""The tables of the documentation, made of the records in ``benchmarks/results``, into a folder."""

import argparse
from pathlib import Path

from report import latest, read, summary
from semi_supervised import over_attributes

RESULTS = Path(__file__).parent / "results"
#: Data on which defaults were chosen, and trials: their figures belong in no table of results.
LEFT_OUT = ("mnist-dev", "digits-few")


def list_table(header, rows):
    """Return a table in reStructuredText, or a word where there would be none."""
    if not rows:
        return "No records yet.\n"
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in (header, *rows):
        lines += [f"   {'* -' if i == 0 else '  -'} {cell}" for i, cell in enumerate(row)]
    return "\n".join(lines) + "\n"


def figures(records, keys, figure):
    """Return the rows of a table, within each data set from the least mean error to the greatest."""
    shown = [record for record in latest(records, keys) if not record["data"].startswith(LEFT_OUT)]
    groups = summary(shown, (*keys, "gpu"), figure)
    groups.sort(key=lambda row: (row[0][:-2], row[2]))  # by everything but method and hardware, then by the mean
    rows = []
    for (*names, gpu), n, mean, std, worst, seconds in groups:
        hardware = "CPU" if gpu == "None" else gpu
        rows.append((*names, n, f"{mean:.2f}", f"{std:.2f}", f"{worst:.2f}", f"{seconds:.1f}", hardware))
    return rows


STATISTICS = ("runs", "mean", "std", "worst", "seconds", "on")


def tables():
    """Return the tables by their files' names."""
    made = {}
    clustering = read(RESULTS / "clustering.jsonl")
    for name, figure in (("one_to_one", "error"), ("many_to_one", "many_to_one")):
        records = [record for record in clustering if (record["k"] > 10) == (name == "many_to_one")]
        rows = figures(records, ("data", "k", "method"), figure)
        made[name] = list_table(("data", "K", "method", *STATISTICS), rows)
    rows = figures(over_attributes(read(RESULTS / "semi_supervised.jsonl")), ("data", "method"), "error")
    made["semi_supervised"] = list_table(("data", "method", *STATISTICS), rows)
    if (RESULTS / "features.jsonl").exists():
        features = read(RESULTS / "features.jsonl")
        made["features"] = list_table(("data", "method", *STATISTICS), figures(features, ("data", "method"), "error"))
        clusters = [record for record in features if "clustering_error" in record]
        rows = figures(clusters, ("data", "method"), "clustering_error")
        made["feature_clusters"] = list_table(("data", "method", *STATISTICS), rows)
    return made


def write(folder):
    """Write each table to a file of a folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in tables().items():
        (folder / f"{name}.inc").write_text(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    write(parser.parse_args().folder)

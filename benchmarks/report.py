"""Records of runs as JSON lines, and tables made of them."""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
from ast import literal_eval
from pathlib import Path

import numpy as np
import sklearn
import torch

import skganem
from skganem.core.runtime.device import resolve_device, resolve_precision


def parser(doc, name, seeds=5):
    """Return a parser of what every benchmark over seeds is asked; results go to the file of its name."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--seeds", type=int, default=seeds, help="how many")
    made.add_argument("--first-seed", type=int, default=0)
    made.add_argument("--threads", type=int, default=torch.get_num_threads())
    made.add_argument("--out", default=f"benchmarks/results/{name}.jsonl")
    return made


def parsed(made):
    """Parse the command line, and set what it says of threads; the seeds become a range."""
    arguments = made.parse_args()
    torch.set_num_threads(arguments.threads)
    os.environ["NUMBA_NUM_THREADS"] = str(arguments.threads)  # UMAP's numba sets OpenMP's threads, and so torch's, to its own
    arguments.seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    return arguments


def add_changes(made):
    """Have a parser ask for changes of the recipe."""
    made.add_argument("--set", nargs="+", default=[], metavar="FIELD=VALUE", help="fields of GAN-EM's recipe to change")


def changes(pairs):
    """Return the fields and values of pairs FIELD=VALUE."""
    return {name: parsed_value(value) for name, value in (pair.split("=", 1) for pair in pairs)}


def parsed_value(text):
    """Return the number, tuple or None that a text stands for, or else the text."""
    try:
        return literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def machine():
    """Describe the software and hardware that a run ran on."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    precision = resolve_precision("auto", resolve_device("auto"), convolutional=True)
    versions = {"python": platform.python_version(), "torch": torch.__version__, "sklearn": sklearn.__version__}
    return {
        **versions,
        "skganem": skganem.__version__,
        "commit": commit(),
        "threads": torch.get_num_threads(),
        "cpu": cpu_name(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "precision_of_images": str(precision).removeprefix("torch."),
        "gpu": gpu,
    }


def commit():
    """Return the name of this checkout's commit, with "-dirty" after it if files were changed since; None outside of one."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, check=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def cpu_name():
    """Return the processor's name where the system tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def peak_memory():
    """Return the largest resident memory of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def append(path, record):
    """Add a record to a file of JSON lines."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(record) + "\n")


def read(path):
    """Return all records of a file of JSON lines."""
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def latest(records, keys):
    """Keep, of the records of the same run on the same kind of machine, the last one."""
    kept = {tuple(str(record.get(key)) for key in (*keys, "seed", "gpu")): record for record in records}
    return list(kept.values())


def over_attributes(records, keys):
    """Replace the records of one draw's attributes, whose names come after a slash, by the mean of their figures."""
    groups = {}
    for record in latest(records, keys):
        shared = {**{key: record[key] for key in (*keys, "seed")}, "gpu": record["gpu"], "data": record["data"].split("/")[0]}
        groups.setdefault(tuple(shared.items()), []).append(record)
    return [
        {**dict(shared), **mean_of(members), "commits": {member.get("commit") for member in members}}
        for shared, members in groups.items()
    ]


def mean_of(records):
    """Return the mean of each figure that is a fraction or a time."""
    names = [name for name in ("error", "many_to_one", "ari", "nmi", "seconds") if name in records[0]]
    return {name: np.mean([record[name] for record in records]) for name in names}


def summary(records, keys, figure, scale=100):
    """Return, for each group of records, its keys, how many, mean, deviation and worst of the figure, and mean seconds."""
    groups = {}
    for record in records:
        groups.setdefault(tuple(str(record[key]) for key in keys), []).append(record)
    rows = []
    for group, members in groups.items():
        values = scale * np.array([member[figure] for member in members])
        seconds = np.mean([member["seconds"] for member in members])
        rows.append((group, len(values), values.mean(), values.std(), values.max(), seconds))
    return rows


def table(records, keys, figure, percent=True):
    """Print the summary of a figure, a line for each group."""
    unit, scale = ("%", 100) if percent else ("", 1)
    print(f"{' / '.join(keys):44s} {'seeds':>5s} {'mean ' + unit:>8s} {'std':>6s} {'worst':>7s} {'seconds':>8s}")
    for group, n, mean, std, worst, seconds in summary(latest(records, keys), keys, figure, scale):
        print(f"{' / '.join(group):44s} {n:5d} {mean:8.2f} {std:6.2f} {worst:7.2f} {seconds:8.1f}")

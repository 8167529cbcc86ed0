"""The benchmarks compare what they say, and the one for machines with a GPU runs to its end on a CPU."""

import importlib
import json
import os
import subprocess
import sys
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from skganem import clustering_error
from tests.conftest import fast_recipe

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def records(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_readme_shows_what_was_measured(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    tables = importlib.import_module("tables")
    text = (BENCHMARKS.parent / "README.rst").read_text()
    assert text == tables.readme(text), "run python benchmarks/tables.py"
    changed = text.replace("**, ", "**, 9")
    assert changed != text == tables.readme(changed)


def test_restarts_keep_the_run_with_the_highest_criterion(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    tables = importlib.import_module("tables")
    base = {"method": "GAN-EM", "data": "letters", "k": 10, "gpu": None}
    runs = [(0.3, 1.0), (0.1, 2.0), (0.2, 3.0)]
    records = [{**base, "seed": i, "error": error, "criterion": criterion} for i, (error, criterion) in enumerate(runs)]
    others = [{**records[0], "data": "mnist-200"}, {**records[0], "gpu": "H100"}, {**records[0], "method": "KMeans"}]
    assert tables.restarts(records + others) == [("letters", 10, "20.00, 30.00", "16.67, 20.00", "20.00, 20.00", "")]


def test_runs_of_a_former_default_are_marked(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    report, tables = importlib.import_module("report"), importlib.import_module("tables")
    monkeypatch.setattr(tables, "PRESENT", {"new", "newer"})

    def marked(method, *commits):
        base = {"seed": 0, "method": method, "gpu": None, "error": 0.1, "seconds": 1}
        records = [{**base, "data": f"faces/{i}", "commit": commit} for i, commit in enumerate(commits)]
        return "†" in tables.figures(report.over_attributes(records, ("data", "method")), ("data", "method"), "error")[0][1]

    assert marked("GAN-EM", "new", "old")
    assert marked("supervised network", None)
    assert not marked("GAN-EM", "new", "newer")
    assert not marked("KMeans", "old")


def test_of_two_machines_the_present_default_counts_then_the_runs_then_the_cpu(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    tables = importlib.import_module("tables")
    monkeypatch.setattr(tables, "PRESENT", {"new", "newer"})

    def on_gpu(cpu, gpu):
        """Tell which machine's runs are shown, of the CPU's and the GPU's commits; the CPU has the smaller errors."""
        runs = [(error, name, commit) for error, name, of in ((0.1, None, cpu), (0.2, "H100", gpu)) for commit in of]
        base = {"data": "digits", "method": "GAN-EM", "k": 10, "seconds": 1}
        records = [{**base, "seed": i, "gpu": name, "error": e, "commit": c} for i, (e, name, c) in enumerate(runs)]
        ((_, mean, _, _, shown),) = tables.shown_runs(records, ("data", "method")).values()
        assert mean == pytest.approx(20 if shown else 10)
        return shown

    assert on_gpu(["old", "old"], ["new"])
    assert on_gpu(["new"], ["new", "new"])
    assert not on_gpu(["new"], ["new"])
    assert not on_gpu(["new"], ["old", "old"])


def test_times_are_means_over_runs_with_those_of_the_phases(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    tables = importlib.import_module("tables")
    base = {"data": "digits", "method": "GAN-EM", "threads": 1, "gpu": None}
    runs = [(0.02, 30.0, {"features": 4.0, "EM iteration": 20.0}), (0.04, 50.0, {"features": 6.0, "EM iteration": 30.0})]
    records = [{**base, "seed": i, "error": e, "cpu_seconds": s, "phases": p} for i, (e, s, p) in enumerate(runs)]
    assert tables.times(records) == [("digits", "GAN-EM", 2, "3.00", "4.00", "40.0", "features 5, EM iteration 25")]


def test_the_ablation_leads_to_the_default(monkeypatch):
    """Each line changes what it names, and the last one only for how long and how fast to train."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    ablation = importlib.import_module("ablation")
    recipes = list(ablation.recipes().values())
    changed = [{f.name for f in fields(a) if getattr(a, f.name) != getattr(b, f.name)} for a, b in pairwise(recipes[1:])]
    assert changed[:-1] == [set(change) for change in ablation.CHANGES.values()]
    steps = {"max_iter", "tol", "min_m_steps", "max_m_steps", "e_epochs", "min_e_steps", "max_e_steps"}
    assert changed[-1] == steps | {"batch_size", "e_batch_size", "learning_rates", "lr_decay", "e_epsilon"}


@pytest.mark.parametrize("shape", [(60, 8, 8), (60, 8, 8, 3)])
def test_features_without_labels_are_clustered(monkeypatch, shape):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    rivals = importlib.import_module("rivals")
    monkeypatch.setattr(rivals, "Recipe", fast_recipe)
    X = np.random.default_rng(0).random(shape)
    X[::2, :, :4] += 1
    labels = rivals.CLUSTERERS["SimCLR + KMeans"](2, seed=0).fit_predict(X)
    assert clustering_error(np.arange(60) % 2, labels) == 0
    assert "SimCLR + KMeans" in rivals.TAKES_IMAGES


@pytest.mark.filterwarnings("ignore")
def test_gpu_run(tmp_path):
    command = [sys.executable, "benchmarks/gpu.py", str(tmp_path), "--quick", "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=BENCHMARKS.parent, env=environment, check=True, capture_output=True, timeout=300)
    throughput = records(tmp_path / "throughput.jsonl")
    assert {r["what"] for r in throughput} >= {"M-step", "E-step", "M-step by K", "M-step by N", "predict_proba", "transform"}
    assert all(r["limit"] > r["images_per_second"] > 0 for r in throughput if "limit" in r)
    assert [r["k"] for r in records(tmp_path / "clustering.jsonl")] == [10, 20, 30]
    assert 0 <= records(tmp_path / "semi_supervised.jsonl")[0]["error"] <= 1


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_fits_from_files_and_from_the_array_are_compared(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    benchmark = importlib.import_module("image_files")
    benchmark.write_images(tmp_path, 40)
    results = [benchmark.run(kind, tmp_path, fast_recipe(max_iter=1)) for kind in benchmark.KINDS]
    assert [record["kind"] for _, record in results] == ["files", "cached files", "array"]
    assert (tmp_path / "cache.npy").exists()
    for labels, record in results:
        np.testing.assert_array_equal(labels, results[-1][0])
        assert record["peak_bytes"] >= record["before_bytes"]


def test_letters_are_drawn_once_in_each_typeface(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setenv("SKGANEM_DATA", str(tmp_path))
    letters, data = importlib.import_module("letters"), importlib.import_module("data")
    letters.main([Path(matplotlib.get_data_path()) / "fonts"])
    names = np.load(tmp_path / "letters.npz")["names"].tolist()
    assert {"DejaVu Sans", "DejaVu Serif", "DejaVu Sans Mono"} <= set(names)
    assert "DejaVu Sans Display" not in names  # which has no Latin letters
    assert len(set(names)) == len(names)
    X, y = data.typefaces()
    assert X.shape == (10 * len(names), 28, 28)
    assert y.tolist() == list(range(10)) * len(names)
    inked = [np.argwhere(image) for image in X]
    assert {int((places.max(axis=0) - places.min(axis=0)).max()) + 1 for places in inked} <= {19, 20}
    assert len(np.unique(X.reshape(len(names), -1), axis=0)) == len(names)


def test_development_data_are_training_images_alone_and_changed_recipes_are_named(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    benchmark = importlib.import_module("semi_supervised")
    train, digit = np.arange(1601, dtype=np.float32)[:, None, None, None] * np.ones((8, 8, 3)), np.arange(1601) % 10
    data = {"x_train": train, "y_train": digit, "x_test": None, "y_test": None}
    monkeypatch.setattr(benchmark, "svhn", lambda: data)
    monkeypatch.setattr(benchmark, "hide", lambda y, per_class, rng: np.where(np.arange(len(y)) % 5, -1, y))
    X, y, X_test, y_test = benchmark.svhn_dev_1000(0)
    shown = np.concatenate([X, X_test])[:, 0, 0, 0].astype(int)
    assert sorted(shown) == list(range(1601))
    assert len(X_test) == 1501
    np.testing.assert_array_equal(y_test, digit[shown[len(X) :]])
    np.testing.assert_array_equal(y[::5], digit[shown[: len(X) : 5]])
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")  # for it to be put back
    out = tmp_path / "records.jsonl"
    arguments = ["--data", "svhn-dev-1000", "--seeds", "1", "--methods", "GAN-EM", "--set", "generated_weight=0", "max_iter=1"]
    monkeypatch.setattr(sys, "argv", ["semi_supervised.py", *arguments, "--out", str(out)])
    monkeypatch.setattr(benchmark, "Recipe", fast_recipe)
    benchmark.main()
    (record,) = benchmark.read(out)
    assert record["method"] == "GAN-EM generated_weight=0 max_iter=1"
    assert record["data"] == "svhn-dev-1000"


def test_samples_are_judged_by_distance_density_and_coverage(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    samples = importlib.import_module("samples")
    rng = np.random.default_rng(0)
    real, other = rng.normal(size=(2, 500, 4))
    assert samples.frechet_distance(real, real) == pytest.approx(0, abs=1e-6)
    assert samples.frechet_distance(real, real + 3) == pytest.approx(4 * 9)
    assert samples.frechet_distance(np.zeros((3, 2)), np.array([[-1, 0], [1, 0], [0, 0]])) == pytest.approx(1)
    density, coverage = samples.density_and_coverage(real, other)
    assert 0.8 < density < 1.2
    assert coverage > 0.9
    assert samples.density_and_coverage(real, real[:5].repeat(100, axis=0))[1] < 0.2
    assert samples.density_and_coverage(real, real + 100) == (0, 0)


def test_each_cluster_stands_for_a_class(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    samples = importlib.import_module("samples")
    y = np.array([0, 0, 0, 1, 1, 2, 2])
    assert samples.class_of_clusters(np.array([2, 2, 2, 2, 1, 0, 0]), y).tolist() == [2, 1, 0]
    assert samples.class_of_clusters(np.array([3, 3, 0, 1, 1, 2, 2]), y).tolist() == [0, 1, 2, 0]

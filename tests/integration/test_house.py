"""The rules of the house: who imports what, what README says, and that its figures come from a run."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from benchmarks.articles import reproduction, reproduction_text
from benchmarks.articles.experiments import EXPERIMENTS
from benchmarks.datasets.registry import DATASETS
from benchmarks.records.store import Folder
from benchmarks.reporting.certificate_pages import page, summary
from benchmarks.reporting.run_report import frame, jobs_with_histories, markdown
from benchmarks.verification import certificates
from frameworks.networks import NETWORKS
from frameworks.registry import FRAMEWORKS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PACKAGES = {"torch", "torchvision", "mxnet", "tensorflow", "keras", "jax", "flax"}
CERTIFICATE = ROOT / "results" / "certificate"
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "benchmarks").rglob("[!_]*.py")
    if "suite" not in path.parts
)


def between(text: str, name: str) -> str:
    """The generated part of a page."""
    shown = re.search(rf"<!-- {name}: .*?-->\n(.*)<!-- end of {name} -->", (ROOT / text).read_text("utf-8"), re.DOTALL)
    assert shown, f"{text} has no such part"
    return shown[1]


def imported(module: str) -> set[str]:
    """Top-level names of all that a module brings in, in a process of its own."""
    program = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", [*MODULES, "research.baselines.compare"])
def test_benchmarks_import_no_framework(module: str) -> None:
    assert not imported(module) & PACKAGES


@pytest.mark.parametrize(
    "module", ["frameworks.spec", "frameworks.training", "frameworks.registry", "frameworks.networks"]
)
def test_descriptions_need_the_standard_library_alone(module: str) -> None:
    assert not imported(module) & {"numpy", "pandas", "rich", *PACKAGES}


@pytest.mark.parametrize(
    "module", ["frameworks.worker", "frameworks.numpy_reference", "frameworks.native", "frameworks.arrays"]
)
def test_the_worker_needs_numpy_and_nothing_else(module: str) -> None:
    assert not imported(module) & {"pandas", "rich", "scipy", "pooch", "benchmarks", *PACKAGES}


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_realisations_import_their_own_framework_alone(name: str) -> None:
    """By their text: no other framework's package, and none of the other realisations."""
    own = ROOT / (FRAMEWORKS[name].module.replace(".", "/") + ".py")
    others = {one.module.rpartition(".")[2] for one in FRAMEWORKS.values() if one.name != name}
    foreign = {"torch": {"mxnet", "tensorflow", "keras"}, "mxnet": {"torch", "tensorflow", "keras"},
               "keras": {"torch", "mxnet"}}[name]  # fmt: skip
    packages = set(re.findall(r"^\s*(?:import|from) (\w+)", own.read_text(encoding="utf-8"), re.MULTILINE))
    assert not packages & foreign
    assert not re.findall(rf"frameworks(?:\.| import )(?:{'|'.join(others)})\b", own.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", [*(ROOT / "benchmarks").rglob("*.py"), *(ROOT / "frameworks").rglob("*.py")], ids=str)
def test_no_framework_is_asked_for_by_name(path: Path) -> None:
    """`if framework == "torch"` would be a special case that a new framework does not have."""
    assert not re.search(r"""[=!]= ["'](torch|mxnet|keras|jax)["']""", path.read_text(encoding="utf-8"))


@cache
def run_of(text: str) -> Folder | None:
    """The committed run whose report stands in a page, word for word."""
    folders = [Folder(path.parent) for path in sorted((ROOT / "results").glob("*/run.json"))]
    runs = [folder for folder in folders if folder.run.get("kind") != "speed"]
    shown = between(text, "results")
    return next((run for run in runs if markdown(run, frame(run)).strip() in shown), None)


@cache
def experiments() -> dict[tuple[str, str], Folder]:
    """The committed run of each experiment and variant."""
    return reproduction.fullest(ROOT / "results")


@pytest.mark.parametrize("text", ["README.md", "docs/networks.md"])
def test_a_table_of_results_is_a_runs(text: str) -> None:
    assert run_of(text)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_loss_of_every_network_has_been_seen_to_fall(name: str, framework: str) -> None:
    run = run_of("docs/networks.md")
    assert run
    history = next(
        each for job, each in jobs_with_histories(run) if (job["net"], job["framework"]) == (name, framework)
    )
    losses = [epoch["train_loss"] for epoch in history.epochs]
    assert len(losses) >= 2 and losses[-1] < losses[0]


IN_FULL = {"d2l-lenet": 5, "gluon-lenet": 5, "fc-vs-cnn": 5, "fc-vs-cnn-permuted": 5, "lenet-cifar": 3}


def test_the_reproduction_is_that_of_the_committed_runs() -> None:
    """If not: python -m benchmarks.reproduce --write results"""
    assert reproduction_text.page(ROOT / "results") == (ROOT / "results" / "REPRODUCTION.md").read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize(("name", "seeds"), IN_FULL.items())
def test_an_experiment_was_run_in_full(name: str, seeds: int) -> None:
    """All epochs and pictures, and so many seeds in every framework."""
    experiment, folder = EXPERIMENTS[name], experiments()[name, "as-written"]
    sizes = experiment.recipe.epochs, *DATASETS[experiment.recipe.dataset].counts
    assert {(job["epochs"], job["train_size"], job["test_size"]) for job in folder.run["jobs"]} == {sizes}
    finished = [(job["net"], job["framework"]) for job, history in jobs_with_histories(folder) if history.finished]
    expected = {(net, framework): seeds for net in experiment.nets for framework in FRAMEWORKS}
    assert Counter(finished) == expected


VARIANTS = [(name, variant) for name, experiment in EXPERIMENTS.items() for variant in experiment.variants]


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_an_experiments_loss_has_been_seen_to_fall(name: str, variant: str) -> None:
    """In every framework, from epoch to epoch; of a single epoch, below that of ten classes alike likely."""
    runs = jobs_with_histories(experiments()[name, variant])
    assert {job["framework"] for job, _ in runs} == set(FRAMEWORKS)
    for job, history in runs:
        losses = [epoch["train_loss"] for epoch in history.epochs]
        assert history.finished and losses[-1] < (losses[0] if len(losses) > 1 else math.log(10)), job["cell"]


def test_readmes_certificates_are_those_in_results() -> None:
    assert summary(certificates.read(CERTIFICATE)) in between("README.md", "certificates")
    assert page(certificates.read(CERTIFICATE)) == (CERTIFICATE / "certificate.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_certified_in_every_framework_and_precision(name: str, framework: str) -> None:
    whole = certificates.read(CERTIFICATE)
    found = {one["precision"]: one for one in whole["findings"] if (one["net"], one["framework"]) == (name, framework)}
    assert set(found) == {"float64", "float32"}
    assert {one["verdict"] for one in found.values()} <= {"ok", "explained"}
    assert {one["trial_sha256"] for one in found.values()} == {certificates.trial_sha256(name)}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_certificate_is_about_the_code_that_is_here(framework: str) -> None:
    """If not: python -m benchmarks.verify --net all --out results/certificate --readme README.md"""
    code = {one["code_sha256"] for one in certificates.read(CERTIFICATE)["findings"] if one["framework"] == framework}
    assert code == {certificates.code_sha256(FRAMEWORKS[framework].module)}


@pytest.mark.parametrize("module", sorted(set(re.findall(r"python -m (benchmarks[.\w]*)", README))))
def test_readmes_commands_are_there(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and module in done.stdout, done.stderr


def test_readmes_network_is_one(tmp_path: Path) -> None:
    block = re.search(r"```python\n(from frameworks\.spec.*?)```", README, re.DOTALL)
    assert block
    (tmp_path / "my_net.py").write_text(block[1])
    command = [sys.executable, "-m", "benchmarks.summary", "--net", f"{tmp_path / 'my_net.py'}:tiny"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "3,354" in done.stdout, done.stderr


def test_nothing_names_a_path_of_the_machine() -> None:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("no git checkout: nothing to list")
    text = {
        ROOT / name
        for name in done.stdout.splitlines()
        if Path(name).suffix in {".py", ".md", ".toml", ".json", ".jsonl"}
    }
    named = [path.name for path in text if re.search(r"/(root|work|home/\w+)/", path.read_text(encoding="utf-8"))]
    assert named == []

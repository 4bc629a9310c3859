"""The committed results: every network trains, every experiment was run, and every generated page is up to date."""

from __future__ import annotations

import math
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from benchmarks.articles import reproduction, reproduction_text
from benchmarks.articles.experiments import EXPERIMENTS
from benchmarks.certification.covered_code import code_parts, of_network
from benchmarks.certification.verified_networks import case_sha256
from benchmarks.datasets.registry import DATASETS
from benchmarks.records.certificates import FRAMEWORK_CHECKS, Finding, read
from benchmarks.records.store import RunFolder
from benchmarks.reporting.certificate_pages import of_networks, page, summary
from benchmarks.reporting.network_list import Filters, entries, report
from benchmarks.reporting.run_report import frame, jobs_with_records, markdown
from benchmarks.runtime import contention
from benchmarks.verification.reduced import REDUCED
from frameworks.networks import NETWORKS
from frameworks.registry import FRAMEWORKS, trained, trains

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
CERTIFICATE = RESULTS / "certificate"

FULL_RUNS = {"d2l-lenet": 5, "gluon-lenet": 5, "fc-vs-cnn": 5, "fc-vs-cnn-permuted": 5, "lenet-cifar": 3}  # seeds
VARIANTS = [(name, variant) for name, experiment in EXPERIMENTS.items() for variant in experiment.variants]
# The runs of all networks and of the articles' experiments are older than the adapter of JAX.
BEFORE_JAX = ("torch", "mxnet", "keras")
DISTURBED = contention.DISTURBED  # before `conftest` switches it off; a published run may have disturbed slices
GENERATED = {"report.html", "report.md", "report.csv", "curves.csv"}


def generated_part(document: str, name: str) -> str:
    """What stands between the markers of a name."""
    text = (ROOT / document).read_text(encoding="utf-8")
    part = re.search(rf"<!-- {name}: .*?-->\n(.*)<!-- end of {name} -->", text, re.DOTALL)
    assert part, f"{document} has no generated part {name}"
    return part[1]


@cache
def run_in(document: str) -> RunFolder | None:
    """The committed training run whose report stands in a document, word for word."""
    folders = [RunFolder(path.parent) for path in sorted(RESULTS.glob("*/run.json"))]
    runs = [folder for folder in folders if folder.info.kind != "speed"]
    part = generated_part(document, "results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contention, "DISTURBED", DISTURBED)
        return next((run for run in runs if markdown(run, frame(run)).strip() in part), None)


@cache
def experiments() -> dict[tuple[str, str], RunFolder]:
    """The committed run of each experiment and variant."""
    return reproduction.fullest(RESULTS)


# --- generated pages --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", ["README.md", "docs/networks.md"])
def test_the_results_in_a_document_are_those_of_a_run(document: str) -> None:
    """If not: onespec report results/<run> --readme <document>"""
    assert run_in(document)


def test_the_reproduction_page_is_up_to_date() -> None:
    """If not: onespec reproduce --write results"""
    assert reproduction_text.page(RESULTS) == (RESULTS / "REPRODUCTION.md").read_text(encoding="utf-8")


def test_the_list_of_networks_is_up_to_date() -> None:
    """If not: onespec networks --readme docs/networks.md"""
    assert report(entries(Filters()), "markdown", None) in generated_part("docs/networks.md", "networks")


def test_the_certificate_pages_are_up_to_date() -> None:
    """If not: onespec report results/certificate --readme README.md"""
    certificate = read(CERTIFICATE)
    assert summary(certificate) in generated_part("README.md", "certificates")
    assert page(certificate) == (CERTIFICATE / "certificate.md").read_text(encoding="utf-8")


def test_few_runs_have_generated_files() -> None:
    """One command writes them again: onespec report results/<run>"""
    assert len({path.parent for path in RESULTS.glob("2*/*") if path.name in GENERATED}) <= 5


# --- training ---------------------------------------------------------------------------------------------------------


def test_the_run_of_all_networks_has_every_framework() -> None:
    """Of the networks and frameworks that were there when it was made; both have grown since."""
    run = run_in("docs/networks.md")
    assert run
    cells = Counter(job.framework for job, _ in jobs_with_records(run))
    assert cells == dict.fromkeys(BEFORE_JAX, 43)


@pytest.mark.parametrize("framework", BEFORE_JAX)
def test_the_loss_of_every_trained_network_fell(framework: str) -> None:
    run = run_in("docs/networks.md")
    assert run
    records = {job.net: record for job, record in jobs_with_records(run) if job.framework == framework}
    assert records and set(records) <= set(NETWORKS)
    losses = {name: [epoch.train_loss for epoch in record.epochs] for name, record in records.items()}
    assert [name for name, of_net in losses.items() if len(of_net) < 2 or of_net[-1] >= of_net[0]] == []


@pytest.mark.parametrize(("name", "seeds"), FULL_RUNS.items())
def test_an_experiment_was_run_in_full(name: str, seeds: int) -> None:
    """All epochs, all images, and this many seeds in every framework."""
    experiment, folder = EXPERIMENTS[name], experiments()[name, "as-written"]
    sizes = experiment.recipe.epochs, *DATASETS[experiment.recipe.dataset].counts
    assert {(job.epochs, job.train_size, job.test_size) for job in folder.training_run.jobs} == {sizes}
    finished = [(job.net, job.framework) for job, record in jobs_with_records(folder) if record.finished]
    assert Counter(finished) == {(net, framework): seeds for net in experiment.nets for framework in BEFORE_JAX}


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_the_loss_of_every_experiment_fell(name: str, variant: str) -> None:
    """In every framework, from the first epoch to the last; after a single epoch, below that of ten equal classes."""
    runs = jobs_with_records(experiments()[name, variant])
    assert {job.framework for job, _ in runs} == set(BEFORE_JAX)
    for job, record in runs:
        losses = [epoch.train_loss for epoch in record.epochs]
        assert record.finished and losses[-1] < (losses[0] if len(losses) > 1 else math.log(10)), job.cell


# --- verification -----------------------------------------------------------------------------------------------------


FINDINGS = of_networks(read(CERTIFICATE).findings)
VERIFIED = dict.fromkeys((finding.net, finding.framework) for finding in FINDINGS)
AT_LEAST = {"torch": 146, "mxnet": 146, "keras": 146, "jax": 34, "keras@jax": 2, "keras@torch": 2}  # networks
# Of the others, float64 alone is verified.
IN_BOTH_PRECISIONS = {"torch": 43, "mxnet": 43, "keras": 43, "jax": 7, "keras@jax": 0, "keras@torch": 0}
IN_EVALUATION = {"onnxruntime": 45}


def test_the_certificate_has_networks_of_the_catalog_alone() -> None:
    assert {name for name, _ in VERIFIED} <= set(NETWORKS)


@pytest.mark.parametrize("framework", trained())
def test_the_certificate_has_many_networks(framework: str) -> None:
    precisions = Counter(finding.precision for finding in FINDINGS if finding.framework == framework)
    assert precisions["float64"] >= AT_LEAST[framework]
    assert precisions["float32"] >= IN_BOTH_PRECISIONS[framework]


@pytest.mark.parametrize(("name", "framework"), VERIFIED)
def test_a_network_is_verified(name: str, framework: str) -> None:
    """In float32, rounding of correct frameworks may be too large for a verdict, which must then name its size."""
    findings = {
        finding.precision: finding for finding in FINDINGS if (finding.net, finding.framework) == (name, framework)
    }
    assert not trains(framework) or findings["float64"].verdict in ("ok", "explained")
    if float32 := findings.get("float32"):
        assert float32.verdict in ("ok", "explained", "not distinguishable")
        for stage in float32.stages:
            assert stage.verdict != "not distinguishable" or "would not be seen" in stage.note
    assert {finding.case_sha256 for finding in findings.values()} == {case_sha256(name)}


@pytest.mark.parametrize("framework", [name for name in FRAMEWORKS if not trains(name)])
def test_the_certificate_has_many_networks_in_evaluation(framework: str) -> None:
    findings = [finding for finding in FINDINGS if finding.framework == framework]
    assert {finding.verdict for finding in findings} == {"ok"}
    assert len({finding.net for finding in findings}) >= IN_EVALUATION[framework]


def covers_current_code(finding: Finding) -> bool:
    """Whether the code that decides a finding is that of this checkout; only the framework checks run the trainer."""
    now = code_parts(FRAMEWORKS[finding.framework].module, trains(finding.framework))
    parts = now if finding.net == FRAMEWORK_CHECKS else of_network(now)
    return bool(finding.code) and all(finding.code.get(part) == digest for part, digest in parts.items())


@pytest.mark.parametrize("precision", REDUCED)
def test_the_certificate_of_a_reduced_precision_covers_the_current_code(precision: str) -> None:
    """If not: the command in its page."""
    findings = read(CERTIFICATE.with_name(f"{CERTIFICATE.name}_{precision}")).findings
    assert {finding.precision for finding in findings} == {"float64", precision}
    assert all(finding.certified for finding in findings)
    for finding in findings:
        assert covers_current_code(finding), f"{finding.net} {finding.framework}"


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_certificate_covers_the_current_code(framework: str) -> None:
    """If not: onespec verify --net all --out results/certificate --readme README.md"""
    findings = [finding for finding in read(CERTIFICATE).findings if finding.framework == framework]
    assert findings
    for finding in findings:
        assert covers_current_code(finding), finding.net

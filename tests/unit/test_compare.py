"""Comparison of two saved runs: every verdict and exit code, from folders with known speeds."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.cli.exit_codes import ExitCode
from benchmarks.compare import command
from benchmarks.records import events, runs
from benchmarks.reporting.run_comparison import beyond, compare
from benchmarks.timing import samples
from benchmarks.timing.rounds import baseline_workers, paired
from tests import records
from tests.command_line import exit_code_of

SECONDS = {"torch": 1e-4, "mxnet": 2e-4, "keras": 0.8e-4}  # per image

ROOT = Path(__file__).parents[2]
main = exit_code_of(command)
Change = Callable[[dict[str, Any], list[dict[str, Any]]], None]


def speed_run(
    path: Path,
    seed: int,
    slower: dict[str, float] | None = None,
    machine: float = 1.0,
    launches: int = 5,
    rounds: int = 20,
    tau: float = 0.003,
    change: Change | None = None,
) -> Path:
    """A folder as `speed` writes it. slower: true factors of a framework's seconds; machine: of all seconds.

    tau: the spread of launches. Slices have exponential noise of 1 %, and sometimes lose half their speed to other
    programs, mostly all slices of a round. change: edits run.json and the lines before they are written.
    """
    stream = np.random.default_rng(seed)
    jobs = [records.speed_job(name, baseline=name == "torch") for name in SECONDS]
    jobs.append(records.speed_job("torch", cell="lenet.torch.control", control=True))
    run = runs.to_json(records.speed_run(jobs))
    true = {job.cell: SECONDS[job.framework] * (slower or {}).get(job.framework, 1) for job in jobs}
    true["control-workload"] = 5e-5
    lines: list[dict[str, Any]] = []
    for launch in range(1, launches + 1):
        burst = stream.random(rounds) < 0.2
        for cell, seconds in true.items():
            lines.append(events.to_json(records.launch(cell, launch)))
            own = seconds * machine * np.exp(stream.normal(0, tau))
            hit = np.where(burst | (stream.random(rounds) < 0.05), 1.5, 1.0)
            for number, factor in enumerate(hit * np.exp(stream.exponential(0.01, rounds))):
                timed = records.timed_slice(cell, launch, number, float(2000 * own * factor), images=2000)
                lines.append(events.to_json(timed))
    lines += [events.to_json(records.end(job.cell)) for job in jobs]
    return _written(path, run, lines, change)


# One pair of equal runs in twenty is called different by chance; a test that needs `same` uses seeds 1 and 2.
def training_run(
    path: Path, seed: int, seeds: tuple[int, ...] = (0, 1, 2), slower: float = 1.0, change: Change | None = None
) -> Path:
    """A folder as `run` writes it: two frameworks, each seed a launch. slower: factor of mxnet's seconds."""
    stream = np.random.default_rng(seed)
    jobs = [records.training_job(name, number, epochs=6) for number in seeds for name in ("torch", "mxnet")]
    run = runs.to_json(records.training_run(jobs))
    lines: list[dict[str, Any]] = []
    for job in jobs:
        name, number = job.framework, job.seed
        seconds = SECONDS[name] * (slower if name == "mxnet" else 1) * np.exp(stream.normal(0, 0.002))
        lines.append(events.to_json(records.start(job.cell)))
        for epoch in range(1, 7):
            slices = [(8000, float(8000 * seconds * np.exp(stream.exponential(0.005)))) for _ in range(7)]
            figures = {"train_loss": 2.3 / epoch + 0.01 * number, "test_accuracy": 0.8 + 0.01 * number}
            lines.append(events.to_json(records.epoch(job.cell, epoch, launch=100 + number, slices=slices, **figures)))
        lines.append(events.to_json(records.end(job.cell)))
    return _written(path, run, lines, change)


def _written(path: Path, run: dict[str, Any], lines: list[dict[str, Any]], change: Change | None) -> Path:
    if change:
        change(run, lines)
    path.mkdir()
    (path / "run.json").write_text(json.dumps({"schema": 2, **run}))
    (path / "cells.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def verdicts(a: Path, b: Path, limit: float = 0.05) -> dict[str, str]:
    return {row.framework: row.verdict for row in compare(samples.read(a), samples.read(b), limit)}


def output_of(capsys: pytest.CaptureFixture[str], status: int, *arguments: object) -> str:
    assert main([str(one) for one in arguments]) == status
    output, errors = capsys.readouterr()
    assert errors == ""
    return output


# --- planted differences ----------------------------------------------------------------------------------------------

PAIRS = 20


@pytest.mark.parametrize("framework", SECONDS)
def test_a_planted_slowdown_is_detected_and_nothing_else(framework: str, tmp_path: Path) -> None:
    """3 % more work in B, on a machine that is 30 % slower: at least 9 of 10 are detected."""
    called = others = 0
    for seed in range(PAIRS):
        a = speed_run(tmp_path / f"a{seed}", seed)
        b = speed_run(tmp_path / f"b{seed}", 1000 + seed, {framework: 1.03}, machine=1.3)
        by_framework = verdicts(a, b)
        called += by_framework.pop(framework) == "slower"
        others += sum(one in ("slower", "faster") for one in by_framework.values())
    assert called >= 0.9 * PAIRS
    assert others <= 0.1 * 2 * PAIRS


def test_two_runs_of_the_same_thing_are_the_same(tmp_path: Path) -> None:
    """At most 1 in 10 is called different although the machine drifts by 30 %, and none is beyond the limit."""
    different = 0
    for seed in range(PAIRS):
        a, b = speed_run(tmp_path / f"a{seed}", seed), speed_run(tmp_path / f"b{seed}", 500 + seed, machine=1.3)
        rows = compare(samples.read(a), samples.read(b), 0.05)
        assert not any(beyond(row, 0.05) for row in rows)
        assert all(row.absolute == pytest.approx(1 / 1.3, rel=0.02) for row in rows)
        different += sum(row.verdict in ("faster", "slower") for row in rows)
    assert different <= 0.1 * 3 * PAIRS


def test_a_speedup_is_detected(tmp_path: Path) -> None:
    a, b = speed_run(tmp_path / "a", 0), speed_run(tmp_path / "b", 1, {"mxnet": 0.9})
    rows = {row.framework: row for row in compare(samples.read(a), samples.read(b), 0.05)}
    assert rows["mxnet"].verdict == "faster"
    for ratio in (rows["mxnet"].ratio, rows["mxnet"].baseline):
        assert ratio and ratio.value == pytest.approx(1 / 0.9, rel=0.01)


def test_seeds_are_launches_and_the_baseline_is_the_control(tmp_path: Path) -> None:
    a, b = training_run(tmp_path / "a", 0), training_run(tmp_path / "b", 1, slower=1.1)
    rows = {row.framework: row for row in compare(samples.read(a), samples.read(b), 0.05)}
    assert rows["mxnet"].verdict == "slower" and rows["mxnet"].reason == "relative to lenet.torch"
    assert rows["torch"].verdict == "not measured" and "neither a control workload" in rows["torch"].reason
    assert rows["mxnet"].accuracy == pytest.approx((0.81, 0.81)) and rows["mxnet"].same_accuracy


def test_a_launch_of_a_single_worker_is_left_out(tmp_path: Path) -> None:
    def stop(run: dict[str, Any], lines: list[dict[str, Any]]) -> None:
        lines[:] = [line for line in lines if not (line["cell"] == "control-workload" and line.get("launch") == 5)]

    run = samples.read(speed_run(tmp_path / "a", 0, change=stop))
    mine, theirs = paired(run.series[0].rounds, run.control_workload)
    assert len(mine) == len(theirs) == 4
    assert [len(one) for one in mine] == [len(one) for one in theirs]


def test_a_control_that_missed_a_launch_is_not_used() -> None:
    base, control = {1: {0: 1.0, 1: 1.0}, 2: {0: 1.0}}, {1: {0: 2.0}, 2: {0: 2.0}}
    assert baseline_workers(base, control) == [base, control]
    assert paired(base, base, control) == ([[1.0], [1.0]], [[1.0], [1.0]], [[2.0], [2.0]])
    assert baseline_workers(base, {1: control[1]}) == baseline_workers(base, {}) == [base]
    assert paired(base, {}) == ([], [])


def test_the_baseline_is_the_mean_of_both_workers(tmp_path: Path) -> None:
    """If only the A/A control is 4 % slower in B, an unchanged framework is faster than both by half of that."""
    a, b = (samples.read(speed_run(tmp_path / name, 0)) for name in "ab")
    for launch in b.controls[0].rounds.values():
        launch |= {number: 1.04 * seconds for number, seconds in launch.items()}
    ratio = {row.framework: row for row in compare(a, b, 0.05)}["mxnet"].baseline
    assert ratio and ratio.value == pytest.approx(1.04**0.5, rel=1e-6)


def test_warm_up_is_left_out() -> None:
    rounds = {1: {number: 1.0 + 0.001 * (number % 3) + (number < 5) for number in range(30)}}
    steady = {1: {number: 1.0 for number in range(30)}}
    worker, control = paired(rounds, steady)
    assert len(worker[0]) == len(control[0]) == 25


# --- no verdict on speed ----------------------------------------------------------------------------------------------


def _machine(run: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    run["machine"]["processor"] = "Another"


def _threads(run: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    for job in run["jobs"]:
        job["threads"] = 1


def _dataset(run: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    run["data"]["fashion-mnist"]["sha256"]["images"] = "2"


def _spec(run: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    for job in run["jobs"]:
        job["spec_sha256"] = "b" * 64


def _allocator(run: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    run["environment"] = {"MALLOC_TRIM_THRESHOLD_": "1"}


def _batch(run: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    for job in run["jobs"]:
        job["batch_size"] = 32


def _tf32(run: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    for job in run["jobs"]:
        job["tf32"] = True


def _precision(run: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    for job in run["jobs"]:
        job["precision"] = "bfloat16"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_tf32, "tf32 False in A, True in B"),
        (_precision, "precision float32 in A, bfloat16 in B"),
        (_machine, "machine: processor One in A, Another in B"),
        (_threads, "threads 2 in A, 1 in B"),
        (_dataset, "data files"),
        (_spec, "spec aaaaaaaa in A, bbbbbbbb in B"),
        (_allocator, "MALLOC_TRIM_THRESHOLD_ none in A, 1 in B"),
        (_batch, "batch_size 256 in A, 32 in B"),
    ],
)
def test_not_comparable(change: Change, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The row has no ratio."""
    a, b = speed_run(tmp_path / "a", 0), speed_run(tmp_path / "b", 1, {"torch": 1.5}, change=change)
    rows = json.loads(output_of(capsys, 5, a, b, "--json"))["rows"]
    assert len(rows) == 3
    for row in rows:
        assert row["verdict"] == "not comparable" and words in row["reason"]
        assert row["ratio"] is row["baseline"] is row["absolute"] is None


def test_runs_of_two_kinds_are_not_comparable(tmp_path: Path) -> None:
    by_framework = verdicts(training_run(tmp_path / "a", 0), speed_run(tmp_path / "b", 0))
    assert by_framework["torch"] == by_framework["mxnet"] == "not comparable"


def _params(run: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    for line in lines:
        if line["event"] == "start" and ".mxnet." in line["cell"]:
            line["params"] = 61707


def _certificate(run: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    for line in lines:
        if line["event"] == "start":
            line["certificate"] = {"certificate": "d" * 64, "verdict": "differs" if ".mxnet." in line["cell"] else "ok"}


def _certified(run: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    for line in lines:
        if line["event"] == "start":
            line["certificate"] = {"certificate": "d" * 64, "verdict": "ok"}


def _departure(run: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    for line in lines:
        if line["event"] == "start" and ".mxnet." in line["cell"]:
            line["departures"] = ["unbiased_running_variance"]


def _losses(run: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    for line in lines:
        if line["event"] == "epoch" and line["cell"] == "lenet.mxnet.1" and line["epoch"] >= 3:
            line["train_loss"] += 0.05


def _nan(run: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    for line in lines:
        if line["event"] == "epoch" and line["cell"] == "lenet.mxnet.1" and line["epoch"] >= 3:
            line["train_loss"] = float("nan")


def _refused(run: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    for line in lines:
        if line["event"] == "end" and ".mxnet." in line["cell"]:
            line |= {"status": "refused", "reason": "results differ from the reference: 9 losses of 10 steps"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_params, "parameters 61,706 in A, 61,707 in B"),
        (_certificate, "certificate ok in A, differs in B"),
        (_departure, "departures none in A, unbiased_running_variance in B"),
        (_losses, "losses diverge in epoch 3 of seed 1"),
        (_nan, "losses diverge in epoch 3 of seed 1"),
        (_refused, "9 losses of 10 steps"),
    ],
)
def test_different_computation(change: Change, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """This verdict takes precedence: mxnet is slower as well, and torch cannot be measured."""
    a = training_run(tmp_path / "a", 0, change=_certified)
    b = training_run(tmp_path / "b", 1, slower=1.3, change=change)
    rows = {row["framework"]: row for row in json.loads(output_of(capsys, 4, a, b, "--json"))["rows"]}
    assert rows["mxnet"]["verdict"] == "different computation" and words in rows["mxnet"]["reason"]
    assert rows["mxnet"]["ratio"] is None
    assert rows["torch"]["verdict"] == "not measured"


def test_rounding_is_not_a_different_computation(tmp_path: Path) -> None:
    def rounding(run: dict[str, Any], lines: list[dict[str, Any]]) -> None:
        for line in lines:
            if line["event"] == "epoch":
                line["train_loss"] *= 1 + 1e-4

    a, b = training_run(tmp_path / "a", 1), training_run(tmp_path / "b", 2, change=rounding)
    assert verdicts(a, b)["mxnet"] == "same"


def _failed(run: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    for line in lines:
        if line["event"] == "end" and line["cell"] == "lenet.mxnet":
            line |= {"status": "failed", "reason": "out of memory"}


def _unfinished(run: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    lines[:] = [line for line in lines if (line["cell"], line["event"]) != ("lenet.mxnet", "end")]


def _gone(run: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    run["jobs"] = [job for job in run["jobs"] if job["framework"] != "mxnet"]
    lines[:] = [line for line in lines if line["cell"] != "lenet.mxnet"]


@pytest.mark.parametrize(
    ("change", "words"),
    [(_failed, "B failed: out of memory"), (_unfinished, "B unfinished: stopped"), (_gone, "only in A")],
)
def test_not_measured(change: Change, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = speed_run(tmp_path / "a", 0), speed_run(tmp_path / "b", 1, change=change)
    rows = {row["framework"]: row for row in json.loads(output_of(capsys, 5, a, b, "--json"))["rows"]}
    assert rows["mxnet"]["verdict"] == "not measured" and words in rows["mxnet"]["reason"]
    assert rows["keras"]["verdict"] == "same"


def test_a_row_that_only_the_candidate_has_does_not_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = speed_run(tmp_path / "a", 0, change=_gone), speed_run(tmp_path / "b", 1)
    rows = {row["framework"]: row for row in json.loads(output_of(capsys, 0, a, b, "--json"))["rows"]}
    assert (rows["mxnet"]["verdict"], rows["mxnet"]["reason"]) == ("not measured", "only in B")


@pytest.mark.parametrize(
    ("launches", "tau", "words"),
    [(1, 0.003, "a single launch"), (3, 0.1, "too wide to detect 5 %")],
    ids=["one", "wide"],
)
def test_too_few_or_too_noisy_launches_are_not_measured(launches: int, tau: float, words: str, tmp_path: Path) -> None:
    """An interval that includes a slowdown of the limit does not give `same`."""
    runs = [speed_run(tmp_path / str(seed), seed, launches=launches, tau=tau) for seed in (0, 1)]
    for row in compare(*map(samples.read, runs), 0.05):
        assert row.verdict == "not measured" and words in row.reason


def test_a_baseline_that_has_changed_is_not_a_control(tmp_path: Path) -> None:
    a, b = speed_run(tmp_path / "a", 0), speed_run(tmp_path / "b", 1, {"torch": 1.2})
    rows = {row.framework: row for row in compare(samples.read(a), samples.read(b), 0.05)}
    assert {name: row.verdict for name, row in rows.items()} == {"torch": "slower", "mxnet": "same", "keras": "same"}
    assert rows["mxnet"].baseline is None


def test_a_different_control_workload_is_not_used(tmp_path: Path) -> None:
    def larger(run: dict[str, Any], lines: list[dict[str, Any]]) -> None:
        run["control_workload"]["net"] = "alexnet"

    by_framework = verdicts(speed_run(tmp_path / "a", 0), speed_run(tmp_path / "b", 1, change=larger))
    assert by_framework == {"torch": "not measured", "mxnet": "same", "keras": "same"}


def test_changed_versions_are_compared_and_listed(tmp_path: Path) -> None:
    def newer(run: dict[str, Any], lines: list[dict[str, Any]]) -> None:
        for job in run["jobs"]:
            if job["framework"] == "mxnet":
                job["framework"] = "mxnet==2.0"
        for line in lines:
            if line["cell"] == "lenet.mxnet" and line["event"] == "launch":
                line["versions"] = {"mxnet": "2.0"}

    def older(run: dict[str, Any], lines: list[dict[str, Any]]) -> None:
        for job in run["jobs"]:
            if job["framework"] == "mxnet":
                job["framework"] = "mxnet==1.0"

    a = speed_run(tmp_path / "a", 0, change=older)
    b = speed_run(tmp_path / "b", 1, {"mxnet": 1.2}, change=newer)
    row = next(row for row in compare(samples.read(a), samples.read(b), 0.05) if "mxnet" in row.framework)
    assert row.verdict == "slower" and row.reason.endswith("changed: mxnet 1.0 to 2.0")


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "status"), [("2%", 1), ("5%", 1), ("12 %", 0)])
def test_slower_beyond_the_limit(limit: str, status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = speed_run(tmp_path / "a", 0), speed_run(tmp_path / "b", 1, {"keras": 1.1})
    output = output_of(capsys, status, a, b, "--fail-on", limit)
    assert "1 slower" in output
    assert ("lenet in keras, train" in output) == bool(status)


def test_the_table_for_a_pull_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = speed_run(tmp_path / "a", 0), speed_run(tmp_path / "b", 1, {"keras": 1.1})
    lines = output_of(capsys, 1, a, b, "--format", "markdown").splitlines()
    assert lines[0].startswith("**Slower.** 2 same, 1 slower; slower by more than 5 %: lenet in keras")
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 5 and all(line.count(" | ") == rows[0].count(" | ") for line in rows)
    assert "differences under" in lines[-3] and lines[-1].startswith(
        "- B (candidate run): b, commit cccccccccccc, 2026"
    )


def test_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = training_run(tmp_path / "a", 1), training_run(tmp_path / "b", 2)
    rows = {row["framework"]: row for row in csv.DictReader(io.StringIO(output_of(capsys, 5, a, b, "--format", "csv")))}
    assert float(rows["mxnet"]["ratio_low"]) < 1 < float(rows["mxnet"]["ratio_high"])
    assert rows["mxnet"]["accuracy_a"] and rows["mxnet"]["params_b"] == "61706"


def test_a_report_beside_its_records_is_read_from_them(tmp_path: Path) -> None:
    runs = [speed_run(tmp_path / name, 0) for name in "ab"]
    for run in runs:
        (run / "report.csv").write_text("net,framework\n")
    assert verdicts(runs[0] / "report.csv", runs[1] / "report.csv") == verdicts(*runs)


def test_a_report_without_records_has_accuracies_and_no_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = tmp_path / "report.csv"
    alone.write_text(
        "net,framework,version,mode,seed,batch_size,dataset,device,precision,status,reason,params,test_accuracy\n"
        "lenet,mxnet,1.0,hybridized,0,256,fashion-mnist,cpu,float32,ok,,61706,0.80\n"
    )
    output = output_of(capsys, 5, alone, training_run(tmp_path / "b", 0, seeds=(0,)))
    assert "not comparable" in output and "report.csv without its records lacks" in output and "0.8000" in output


def _no_run(path: Path) -> None:
    (path / "run.json").unlink()


def _half_a_run(path: Path) -> None:
    text = (path / "run.json").read_text()
    (path / "run.json").write_text(text[: len(text) // 2])


def _other_schema(path: Path) -> None:
    (path / "run.json").write_text('{"schema": 99}')


def _other_kind(path: Path) -> None:
    (path / "run.json").write_text('{"schema": 1, "kind": "poem", "jobs": []}')


def _no_jobs(path: Path) -> None:
    (path / "run.json").write_text('{"schema": 1, "kind": "speed"}')


def _a_list(path: Path) -> None:
    (path / "run.json").write_text("[1]")


def _half_a_line(path: Path) -> None:
    text = (path / "cells.jsonl").read_text()
    (path / "cells.jsonl").write_text(text[:-20])


def _half_a_line_within(path: Path) -> None:
    text = (path / "cells.jsonl").read_text()
    (path / "cells.jsonl").write_text('{"cell": "lenet.torch", "ev\n' + text)


def _no_seconds(path: Path) -> None:
    text = (path / "cells.jsonl").read_text()
    (path / "cells.jsonl").write_text(text.replace('"seconds"', '"minutes"'))


def _no_images(path: Path) -> None:
    text = (path / "cells.jsonl").read_text()
    (path / "cells.jsonl").write_text(text.replace('"images": 2000', '"images": 0'))


def _unknown_cell(path: Path) -> None:
    with (path / "cells.jsonl").open("a") as file:
        file.write('{"cell": "nobody", "event": "end"}\n')


@pytest.mark.parametrize(
    "spoil",
    [
        *(_no_run, _half_a_run, _other_schema, _other_kind, _no_jobs, _a_list),
        *(_half_a_line, _half_a_line_within, _no_seconds, _no_images, _unknown_cell),
    ],
)
@pytest.mark.parametrize("place", [0, 1])
def test_broken_records(
    spoil: Callable[[Path], None], place: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that names the folder, and status 2."""
    runs = [speed_run(tmp_path / name, 0, launches=2, rounds=3) for name in "ab"]
    spoil(runs[place])
    assert main([str(one) for one in runs]) == 2
    output, errors = capsys.readouterr()
    assert output == "" and errors.count("\n") == 1 and str(runs[place]) in errors


@pytest.mark.parametrize(
    "arguments",
    [["a"], ["a", "nowhere"], ["a", "a", "--fail-on", "much"], ["a", "a", "--format", "pdf"], ["a", "text.csv"]],
    ids=" ".join,
)
def test_bad_input(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    speed_run(tmp_path / "a", 0, launches=2, rounds=3)
    (tmp_path / "text.csv").write_text("a poem,\nof two lines\n")
    assert main(arguments) == 2
    output, errors = capsys.readouterr()
    assert output == "" and errors.count("\n") == 1


@pytest.mark.parametrize("text", ["0%", "100%", "5", "0.05", "-5%", "five%"])
def test_a_limit_is_in_per_cent(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["a", "b", "--fail-on", text]) == 2
    assert f"--fail-on {text}: not a percentage" in capsys.readouterr().err


def test_two_training_runs_say_how_far_accuracies_are_apart_and_how_to_measure_speed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The two runs of LeNet in the repository."""
    folders = [str(ROOT / "results" / name) for name in ("20261122-040651-lenet", "20261122-174800-lenet")]
    assert main(folders) == ExitCode.NOT_MEASURED
    lines = capsys.readouterr().out.splitlines()
    assert "Test accuracy: identical in 3 rows." in lines
    assert any(line.startswith("To measure the change of speed, run `onespec speed --net lenet`") for line in lines)

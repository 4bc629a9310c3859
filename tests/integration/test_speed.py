"""Speed runs: records, sanity checks, rooflines and options. No framework needed.

Adapters that cheat (tests/fake_adapter.py) run in real workers. No test asserts a speed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from msgspec import structs

from benchmarks.cli.options import Duration
from benchmarks.records.events import Roofline
from benchmarks.records.store import RunFolder
from benchmarks.report import command as report_command
from benchmarks.reporting import speed_cells, speed_report, speed_row
from benchmarks.runtime import affinity
from benchmarks.runtime.errors import BadInput, Refused
from benchmarks.speed import command
from benchmarks.timing import budget, launches, roofline, speed_run
from benchmarks.timing.roofline import Roof
from benchmarks.timing.sanity_checks import ReferenceCheck, check_cpu_use, completion
from benchmarks.timing.speed_request import SpeedRequest
from frameworks import worker
from frameworks.arrays import initial
from frameworks.networks import NETWORKS
from frameworks.registry import FRAMEWORKS, FrameworkInfo
from frameworks.spec import BatchNorm, Dense, Dropout, Flatten, Network, ReLU
from frameworks.training import SGD, Training
from frameworks.worker import Worker
from tests import fake_adapter, records
from tests.command_line import exit_code_of

main, report = exit_code_of(command), exit_code_of(report_command)


def test_the_worker_reads_its_clock_outside_of_the_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []

    def clock(name: str) -> Callable[[], float]:
        return lambda: log.append(name) or float(len(log))  # type: ignore[func-returns-value]

    own = Worker()
    monkeypatch.setattr(worker.time, "perf_counter", clock("wall"))
    monkeypatch.setattr(worker.time, "process_time", clock("cpu"))
    _, spent = own._spent(lambda: log.append("work"))
    at = log.index("work")
    assert log[at - 2 : at + 3] == ["wall", "cpu", "work", "wall", "cpu"]
    assert spent["seconds"] == 3.0 and spent["cpu_seconds"] == 3.0


# --- records ----------------------------------------------------------------------------------------------------------


def fake(name: str) -> FrameworkInfo:
    return FrameworkInfo(name.lower(), name, str(Path(fake_adapter.__file__)), name, "numpy", python=">=3.10")


CHEATS = ("Early", "Skips", "Forgets", "Halves", "Guesses", "Crowds", "Falls")
TINY = """
from frameworks.spec import Dense, Flatten, Network, ReLU, Scale
def tiny():
    return Network("tiny", (1, 28, 28), [Flatten(), Dense("F1", 16), ReLU(), Dense("F2", 10)])
"""


@pytest.fixture
def time_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[int, Path]]:
    """`benchmarks.speed` on fake adapters: short slices, a small roofline, and wide intervals accepted."""
    for name in ("Correct", *CHEATS):
        monkeypatch.setitem(FRAMEWORKS, name.lower(), fake(name))
    monkeypatch.setattr(launches, "SLICE_SECONDS", 0.02)
    monkeypatch.setattr(launches, "TRIAL_SECONDS", 0.005)
    monkeypatch.setattr(speed_run, "NARROW", float("inf"))
    monkeypatch.setattr(speed_run, "ENOUGH", budget.LAUNCHES)
    monkeypatch.setitem(roofline.SIDES, "cpu", (4, 8, 16))
    monkeypatch.setitem(roofline.MEBI_VALUES, "cpu", (1,))
    net = tmp_path / "tiny.py"
    net.write_text(TINY)

    def run(fw: str, *options: str, **named: str) -> tuple[int, Path]:
        given = {"net": f"{net}:tiny", "dataset": "fashion-mnist-mini", "batch-size": "64"}
        given |= {"threads": "1", "what": "train"}
        given |= {"budget": "600s", "fw": fw, "out": str(tmp_path / "out"), "device": "cpu", **named}
        pythons = [f"--python={name}={sys.executable}" for name in dict.fromkeys(fw.split(","))]
        settings = [f"--{name}={value}" for name, value in given.items()]
        code = main([*settings, *pythons, "--quiet", *options])
        return code, max((tmp_path / "out").glob("*"), default=tmp_path)

    return run


def ends(folder: Path) -> dict[str, tuple[str, str | None]]:
    """Status and reason of each cell, by framework."""
    return {
        line["cell"].split(".", 1)[1]: (line["status"], line["reason"])
        for line in records.lines(folder)
        if line["event"] == "end"
    }


def test_a_run_records_every_slice_and_reports_it(time_it: Callable[..., Any], tmp_path: Path) -> None:
    code, folder = time_it("correct", "--layers", what="train,infer")
    assert code == 0
    lines = records.lines(folder)
    table = pd.read_csv(folder / "report.csv")
    assert tuple(table.columns) == speed_row.COLUMNS and table.status.tolist() == ["ok", "ok"]
    for row in table.to_dict("records"):
        own = [line for line in lines if line["cell"] == row["cell"]]
        slices = [line for line in own if line["event"] == "slice"]
        launches = [line for line in own if line["event"] == "launch"]
        assert [line["alone"] for line in launches] == [True, False, False]
        assert [line["cores"] for line in launches] == [
            affinity.cores_of_launch(line["launch"], 1) for line in launches
        ]
        assert row["build_seconds"] == launches[0]["build_seconds"], (
            "times of workers that start side by side are not reported"
        )
        assert {line["params"] for line in launches} == {12_730} and row["certified"].startswith(
            "not certified: never verified"
        )
        if Path("/proc/self/schedstat").exists():
            assert all(line["contention"]["waited_seconds"] >= 0 for line in slices)
            assert all(line["contention"]["seconds"] >= line["seconds"] for line in slices)
        assert row["slices"] == len(slices) >= 3 * budget.ROUNDS and row["launches"] == 3
        assert row["examples_per_second"] > 0 and row["macs"] == 12_704 and row["params"] == 12_730
        for n in {line["launch"] for line in slices}:
            rounds = [line["round"] for line in slices if line["launch"] == n]
            assert rounds == list(range(len(rounds)))
            played = {
                line.get("round") for line in lines if (line["cell"], line.get("launch")) == ("control-workload", n)
            }
            assert set(rounds) <= played, "the control workload has the same rounds"
    text = (folder / "report.md").read_text()
    assert "differences under" in text and "F1" in text
    assert set(table.verdict) == {"baseline"} and (table.relative_speed == 1).all()


def test_every_call_at_batch_one_is_a_latency(time_it: Callable[..., Any]) -> None:
    _, folder = time_it("correct", what="infer", **{"batch-size": "1"})
    row = pd.read_csv(folder / "report.csv").iloc[0]
    assert 0 < row.latency_median_ms <= row.latency_95_ms <= row.latency_99_ms
    slices = [each for each in records.lines(folder) if each["event"] == "slice" and each["cell"] == row.cell]
    assert all(len(each["calls"]) == each["images"] for each in slices)


def test_the_report_can_be_written_again(time_it: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    _, folder = time_it("correct")
    before = (folder / "report.md").read_text()
    (folder / "report.md").unlink()
    assert report([str(folder)]) == 0 and (folder / "report.md").read_text() == before


# --- sanity checks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cheat, what, reason",
    [
        ("early", "train", "returned before the work had finished|of a core between its slices"),
        ("skips", "train", "results differ from the reference: the loss of step"),
        ("forgets", "train", "results differ from the reference: the loss of step"),
        ("halves", "train", "results differ from the reference: the loss of step 1 "),
        ("guesses", "infer", "results differ from the reference: the logits of image"),
        ("crowds", "train", "threads were busy|of a core between its slices"),
    ],
)
def test_a_cheating_adapter_is_refused_and_the_correct_one_is_not(
    time_it: Callable[..., Any], cheat: str, what: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, folder = time_it(f"correct,{cheat}", what=what)
    found = ends(folder)
    status, message = next(end for cell, end in found.items() if cell.startswith(cheat))
    assert code == 1 and status == "refused"
    assert re.search(reason, message), message
    assert all(end == ("ok", None) for cell, end in found.items() if cell.startswith("correct"))


def test_a_worker_that_dies_in_a_slice_does_not_affect_the_others(time_it: Callable[..., Any]) -> None:
    code, folder = time_it("correct,falls")
    table = pd.read_csv(folder / "report.csv").set_index("framework")
    assert code == 1 and table.status.to_dict() == {"correct": "ok", "falls": "failed"}
    assert "ended with status 9" in table.reason["falls"]
    assert table.launches["correct"] == 3 and table.launches["falls"] == 1 and table.slices["falls"] == 1


def test_a_speed_beyond_the_roofline_is_refused(time_it: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "SLACK", 1e-9)
    code, folder = time_it("correct")
    assert code == 1 and "exceeds the roofline" in str(ends(folder))


def test_work_is_complete_when_the_weights_can_be_read() -> None:
    assert completion(returned=1.0, settled=0.3, idle=0.1) == pytest.approx(1.2)
    with pytest.raises(Refused, match=r"after 0\.1000 s of 1\.1000 s"):
        completion(returned=0.1, settled=1.1, idle=0.1)


SLICE = records.timed_slice("a", 1, 0, 1.0, images=64, cpu_seconds=1.9, idle_seconds=2.0, idle_cpu_seconds=0.001)


@pytest.mark.parametrize(
    "changed, reason",
    [({"cpu_seconds": 2.9}, "2.9 threads were busy, 2 are"), ({"idle_cpu_seconds": 1.0}, "0.50 of a core")],
)
def test_a_worker_uses_its_threads_only_in_its_slices(changed: dict[str, float], reason: str) -> None:
    check_cpu_use([SLICE], allowed=2)
    with pytest.raises(Refused, match=reason):
        check_cpu_use([msgspec.structs.replace(SLICE, **changed)], allowed=2)


def checked(network: Network, what: str = "train") -> ReferenceCheck:
    stream = np.random.default_rng(0)
    images = stream.integers(0, 256, (20, *network.input), dtype=np.uint8)
    labels = stream.integers(0, network.classes, 20)
    return ReferenceCheck.compute(network, Training(SGD()), what, initial(network, 0), images, labels, 8, 1e-3)


SMALL = Network("small", (1, 6, 6), [Flatten(), Dropout(), Dense("F", 10)])


def test_a_check_covers_more_than_ten_steps() -> None:
    check = checked(SMALL)
    assert check.expected.shape == (12,) and len(check.order) == 12 * 8 and max(check.order) == 19
    check.compare(check.expected * (1 + 1e-5), "float32")
    with pytest.raises(Refused, match="step 3"):
        check.compare(np.where(np.arange(12) == 2, 0.5, 1) * check.expected, "float32")
    with pytest.raises(Refused, match="loss of step 12"):
        check.compare([*check.expected[:-1], float("nan")], "float32")
    with pytest.raises(Refused, match="results differ from the reference"):
        check.compare(check.expected[:-1], "float32")


def test_the_limit_grows_with_rounding_where_there_is_batch_norm() -> None:
    layers = [Dense("A", 20), BatchNorm("B"), ReLU(), Dense("C", 20), BatchNorm("D"), ReLU(), Dense("E", 10)]
    check = checked(Network("normed", (1, 6, 6), [Flatten(), *layers]))
    largest = np.abs(check.expected).max()
    assert (np.diff(check.rounding) >= 0).all() and check.rounding[-1] > 0
    louder = replace(check, rounding=check.rounding / check.rounding[-1] * 3e-4 * largest)
    off = check.expected + 1e-3 * largest * (np.arange(len(check.expected)) == len(check.expected) - 1)
    louder.compare(off, "float32")
    with pytest.raises(Refused, match=r"loss of step 12 is off by 1\.0e-03"):
        replace(check, rounding=np.zeros(12)).compare(off, "float32")
    with pytest.raises(Refused, match="results differ from the reference"):
        louder.compare(off, "float64")
    assert not checked(SMALL).rounding.any(), "not computed without batch norm"


def test_a_large_network_is_checked_with_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.timing.sanity_checks.WORK", 60 * 360 * 3 * 2)  # sixty images: fewer than all
    check = checked(SMALL)
    assert (check.batch_size, check.steps) == (8, 12)
    monkeypatch.setattr("benchmarks.timing.sanity_checks.WORK", 360 * 3 * 2 * 5)
    check = checked(SMALL)
    assert (check.batch_size, check.steps) == (2, 5)


# --- roofline ---------------------------------------------------------------------------------------------------------


def test_training_takes_three_passes_but_two_through_the_first_layer() -> None:
    net = NETWORKS["lenet"]()
    by_layer = {node.path: node.macs for _, node in net.walk()}
    assert sum(cost.flops for cost in roofline.costs(net, "infer", 1)) == 2 * net.macs
    train = sum(cost.flops for cost in roofline.costs(net, "train", 1))
    assert train == 6 * net.macs - 2 * by_layer["C1"]


def test_bytes_are_those_that_layers_read_and_write() -> None:
    net = Network("net", (4, 1, 1), [Flatten(), Dense("A", 8), Dense("B", 2)])
    costs = {cost.path: cost.moved for cost in roofline.costs(net, "infer", batch_size=2, itemsize=8)}
    assert costs == {"flatten": 0, "A": 8 * (4 + 8 + (32 + 8) / 2), "B": 8 * (8 + 2 + (16 + 2) / 2)}


def test_the_bound_is_the_slower_of_operations_and_bytes_layer_by_layer() -> None:
    costs = [roofline.LayerCost("a", 100.0, 10.0, 100.0), roofline.LayerCost("b", 0.0, 50.0, 0.0)]
    assert roofline.bound(costs, Roof(flops=100.0, bandwidth=10.0)) == pytest.approx(1 / (1 + 5))
    assert roofline.reachable(costs, [Roof(50.0, None), Roof(100.0, 1.0)]) == roofline.SLACK * 1.0


def test_the_roofline_takes_the_best_of_its_sizes() -> None:
    products = [(1.0, 10.0, 1.0), (2.0, 30.0, 2.0)]
    measured = Roofline(
        cell="cell", launch=1, framework="f", threads=1, precision="float32", products=products, copies=[]
    )
    assert roofline.roof(measured) == Roof(15.0, None)
    convolutions = [(1.0, 10.0, 0.5), (2.0, 30.0, 2.0)]
    assert roofline.roof(structs.replace(measured, convolutions=convolutions)) == Roof(20.0, None)


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, message",
    [
        ({"what": "train,sleep"}, "--what sleep: allowed are train, infer"),
        ({"batch-size": "0"}, "--batch-size 0: write whole numbers from 1 to 1,000,000"),
        ({"batch-size": "one"}, "--batch-size one: write whole numbers from 1"),
        ({"batch-size": "4096"}, "--batch-size 4096: fashion-mnist-mini has 2000 images to train with"),
        ({"threads": "0"}, "--threads 0: write whole numbers from 1 to 1,024"),
        ({"precision": "float8"}, "--precision float8: allowed are float64, float32, bfloat16, float16"),
        ({"budget": "soon"}, "--budget soon: not a duration; write 60s, 5m or 1h"),
        ({"budget": "0s"}, "--budget 0s: must be more than 0"),
        ({"baseline": "torch"}, "--baseline torch: not among the frameworks of --fw: correct"),
        ({"modes": "some"}, "--modes some: only `all`"),
        ({"fw": "correct:warp"}, "--fw correct:warp: correct has no mode warp; it has no modes"),
        ({"fw": "correct:warp", "modes": "all"}, "--modes all contradicts --fw correct:warp"),
        ({"net": "lenot"}, "--net lenot: no such network. Did you mean lenet?"),
        ({"budget": "0.01s"}, "--budget 0.01s: the first launch was ready after "),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    time_it: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    options: dict[str, str],
    message: str,
) -> None:
    fw = options.pop("fw", "correct")
    code, _ = time_it(fw, **options)
    error = capsys.readouterr().err
    assert code == 2 and message in error and error.count("\n") == 1, error
    assert not list((tmp_path / "out").glob("*")), "a run that has not begun leaves no files"


def test_a_network_that_does_not_fit_is_refused_before_it_starts(
    time_it: Callable[..., Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.runtime.machine.available_memory", lambda: 1 << 20)
    code, _ = time_it("correct")
    assert (
        code == 2 and "GiB in each of 2 frameworks side by side, and 0.0 GiB are available" in capsys.readouterr().err
    )


def test_modes_all_names_every_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    modes = {"modes": ("fast", "slow", "graph"), "cuda_modes": ("graph",)}
    with_modes = FrameworkInfo("correct", "Correct", "", "Correct", "numpy", python=">=3.10", **modes)
    monkeypatch.setitem(FRAMEWORKS, "correct", with_modes)
    assert SpeedRequest(frameworks="correct", modes="all").labels == "correct,correct:fast,correct:slow"
    on_gpu = SpeedRequest(frameworks="correct", modes="all", device="cuda")
    assert on_gpu.labels == "correct,correct:fast,correct:slow,correct:graph"


@pytest.mark.parametrize("text, value", [("60s", 60), ("1.5m", 90), ("2h", 7200), ("7", 7)])
def test_a_budget_has_a_unit(text: str, value: float) -> None:
    assert Duration().convert(text, None, None) == value


def test_a_report_compares_a_framework_with_both_workers_of_the_baseline(tmp_path: Path) -> None:
    """The baseline takes 1.0 s per image, its A/A control 1.21 s; 1.1 s is as fast as their geometric mean."""
    cells = {"base": 1.0, "mine": 1.1, "control": 1.21}
    jobs = [records.speed_job(cell=cell, baseline=cell == "base", control=cell == "control") for cell in cells]
    folder = RunFolder(tmp_path)
    folder.write_info(records.speed_run(jobs))
    for cell, which, number in product(cells, range(1, 4), range(9)):
        folder.record(records.timed_slice(cell, which, number, cells[cell] * (1 + number % 2)), durable=False)
    (group,) = speed_cells.comparisons(folder)
    ratio, control = group.ratio(jobs[1]), group.control_ratio
    assert ratio and ratio.value == pytest.approx(1.0) and control and control.value == pytest.approx(1 / 1.21)


def test_the_tables_of_a_training_run_are_not_a_speed_runs(tmp_path: Path) -> None:
    RunFolder(tmp_path).write_info(records.training_run([records.training_job()]))
    with pytest.raises(BadInput, match="not a speed run"):
        speed_report.frame(RunFolder.open(tmp_path, "FOLDER"))

"""Timing: the order of turns, lies that are refused, what is recorded and what is not accepted. No framework needed.

The planted lies are adapters of their own (tests/fake_adapter.py) in real workers; nothing here asserts a speed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.records.store import Folder
from benchmarks.reporting import speed_report
from benchmarks.runtime import affinity
from benchmarks.runtime.errors import BadInput, Refused
from benchmarks.timing import launches, roofline, speed_run
from benchmarks.timing.roofline import Roof
from benchmarks.timing.sanity_checks import Check, completion, keeps_to_its_turn
from benchmarks.timing.schedule import take_turns
from frameworks import worker
from frameworks.arrays import initial
from frameworks.networks import NETWORKS
from frameworks.registry import FRAMEWORKS, FrameworkInfo
from frameworks.spec import BatchNorm, Dense, Dropout, Flatten, Network, ReLU
from frameworks.training import SGD, Training
from frameworks.worker import Worker
from tests import fake_adapter

# --- turns, with a fake worker and a fake clock -----------------------------------------------------------------------


class World:
    """A clock that only slices move, and a diary of who did what."""

    def __init__(self, seconds: dict[str, float], fails: tuple[str, int] | None = None) -> None:
        self.seconds, self.fails = seconds, fails
        self.now, self.diary, self.at_work = 0.0, [], False

    def clock(self) -> float:
        assert not self.at_work, "the clock was read while a slice was going on"
        self.diary.append("clock")
        return self.now

    def play(self, runner: str, number: int) -> bool:
        self.at_work = True
        self.now += self.seconds[runner]
        self.at_work = False
        self.diary.append(f"{runner}{number}")
        return (runner, number) != self.fails

    def run(self, until: float, least: int = 1) -> int:
        return take_turns(list(self.seconds), self.play, until=until, least=least, clock=self.clock)

    @property
    def slices(self) -> list[str]:
        return [entry for entry in self.diary if entry != "clock"]


def test_rounds_go_forth_and_back_until_the_time_is_up() -> None:
    world = World({"A": 1.0, "B": 2.0, "C": 1.0})
    assert world.run(until=12.0) == 3
    assert world.slices == ["A0", "B0", "C0", "C1", "B1", "A1", "B2", "C2", "A2"]


def test_a_round_that_would_end_too_late_is_not_begun() -> None:
    world = World({"A": 1.0, "B": 2.0})
    assert world.run(until=8.9) == 2 and world.now == 6.0


def test_the_least_rounds_are_played_whatever_the_clock_says() -> None:
    assert World({"A": 5.0}).run(until=0.0, least=2) == 2


def test_the_clock_is_read_only_between_rounds() -> None:
    world = World({"A": 1.0, "B": 1.0})
    world.run(until=4.0)
    assert world.diary == ["clock", "A0", "B0", "clock", "B1", "A1", "clock"]


def test_one_that_fails_has_no_more_turns_and_the_others_all_of_theirs() -> None:
    world = World({"A": 1.0, "B": 1.0, "C": 1.0}, fails=("B", 1))
    assert world.run(until=9.0) == 3
    assert world.slices == ["A0", "B0", "C0", "C1", "B1", "A1", "C2", "A2"]


def test_when_all_have_failed_it_is_over() -> None:
    assert World({"A": 1.0}, fails=("A", 0)).run(until=100.0, least=5) == 1


def test_the_worker_reads_its_clock_when_the_slice_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    diary: list[str] = []

    def reads(name: str) -> Callable[[], float]:
        return lambda: diary.append(name) or float(len(diary))  # type: ignore[func-returns-value]

    own = Worker()
    monkeypatch.setattr(worker.time, "perf_counter", reads("wall"))
    monkeypatch.setattr(worker.time, "process_time", reads("cpu"))
    _, spent = own._spent(lambda: diary.append("work"))
    assert diary == ["wall", "cpu", "work", "wall", "cpu"]
    assert spent["seconds"] == 3.0 and spent["cpu_seconds"] == 3.0


# --- what is measured -------------------------------------------------------------------------------------------------


def fake(name: str) -> FrameworkInfo:
    return FrameworkInfo(name.lower(), name, str(Path(fake_adapter.__file__)), name, "numpy", python=">=3.10")


LIARS = "Early Skips Forgets Halves Guesses Crowds Falls".split()
TINY = """
from frameworks.spec import Dense, Flatten, Network, ReLU, Scale
def tiny():
    return Network("tiny", (1, 28, 28), [Flatten(), Dense("F1", 16), ReLU(), Dense("F2", 10)])
"""


@pytest.fixture
def time_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[int, Path]]:
    """`benchmarks.speed` on fakes: short slices, small roofs, and no wish to be precise."""
    for name in ("Honest", *LIARS):
        monkeypatch.setitem(FRAMEWORKS, name.lower(), fake(name))
    monkeypatch.setattr(launches, "SLICE_SECONDS", 0.02)
    monkeypatch.setattr(launches, "TRIAL_SECONDS", 0.005)
    monkeypatch.setattr(speed_run, "NARROW", float("inf"))
    monkeypatch.setattr(speed_run, "ENOUGH", speed_run.LAUNCHES)
    monkeypatch.setitem(roofline.SIDES, "cpu", (4, 8, 16))
    monkeypatch.setitem(roofline.MEBI_VALUES, "cpu", (1,))
    net = tmp_path / "tiny.py"
    net.write_text(TINY)

    def run(fw: str, *options: str, **named: str) -> tuple[int, Path]:
        given = {"net": f"{net}:tiny", "dataset": "fashion-mnist-mini", "batch": "64", "threads": "1", "what": "train"}
        given |= {"budget": "600s", "fw": fw, "out": str(tmp_path / "out"), "device": "cpu", **named}
        pythons = [f"--python={name}={sys.executable}" for name in dict.fromkeys(fw.split(","))]
        told = [f"--{name}={value}" for name, value in given.items()]
        code = speed_run.main([*told, *pythons, "--quiet", *options])
        return code, max((tmp_path / "out").glob("*"), default=tmp_path)

    return run


def ends(folder: Path) -> dict[str, tuple[str, str | None]]:
    """Status and reason of each cell, by framework."""
    lines = Folder(folder).lines()
    return {line["cell"].split(".", 1)[1]: (line["status"], line["reason"]) for line in lines if line["event"] == "end"}


def test_a_run_records_every_slice_and_reports_what_it_says(time_it: Callable[..., Any], tmp_path: Path) -> None:
    code, folder = time_it("honest", "--layers", what="train,infer")
    assert code == 0
    lines = list(Folder(folder).lines())
    table = pd.read_csv(folder / "report.csv")
    assert list(table.columns) == speed_report.COLUMNS and table.status.tolist() == ["ok", "ok"]
    for row in table.to_dict("records"):
        own = [line for line in lines if line["cell"] == row["cell"]]
        slices = [line for line in own if line["event"] == "slice"]
        launches = [line for line in own if line["event"] == "launch"]
        assert [line["alone"] for line in launches] == [True, False, False]
        assert [line["cores"] for line in launches] == [affinity.chosen(line["launch"], 1) for line in launches]
        assert row["build_seconds"] == launches[0]["build_seconds"], "side by side it is no figure"
        assert {line["params"] for line in launches} == {12_730} and row["certified"] == "not certified"
        assert row["slices"] == len(slices) >= 3 * speed_run.ROUNDS and row["launches"] == 3
        assert row["examples_per_second"] > 0 and row["macs"] == 12_704 and row["params"] == 12_730
        for n in {line["launch"] for line in slices}:
            rounds = [line["round"] for line in slices if line["launch"] == n]
            assert rounds == list(range(len(rounds)))
            played = {line.get("round") for line in lines if (line["cell"], line.get("launch")) == ("calibration", n)}
            assert set(rounds) <= played, "the calibration has the same rounds"
    text = (folder / "report.md").read_text()
    assert "differences under" in text and "F1" in text
    assert set(table.verdict) == {"baseline"} and (table.relative_speed == 1).all()


def test_batch_one_has_a_latency_from_every_call(time_it: Callable[..., Any]) -> None:
    _, folder = time_it("honest", what="infer", batch="1")
    row = pd.read_csv(folder / "report.csv").iloc[0]
    assert 0 < row.latency_median_ms <= row.latency_95_ms <= row.latency_99_ms
    slices = [each for each in Folder(folder).lines() if each["event"] == "slice" and each["cell"] == row.cell]
    assert all(len(each["calls"]) == each["pictures"] for each in slices)


def test_the_report_can_be_written_again(time_it: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    _, folder = time_it("honest")
    before = (folder / "report.md").read_text()
    (folder / "report.md").unlink()
    assert speed_report.main([str(folder)]) == 0 and (folder / "report.md").read_text() == before


# --- lies -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "liar, what, reason",
    [
        ("early", "train", "a clock that lies"),
        ("skips", "train", "another computation: the loss of step"),
        ("forgets", "train", "another computation: the loss of step"),
        ("halves", "train", "another computation: the loss of step 1 "),
        ("guesses", "infer", "another computation: the logits of picture"),
        ("crowds", "train", "threads busy|between its turns it used"),
    ],
)
def test_a_lie_is_refused_and_the_honest_is_not(
    time_it: Callable[..., Any], liar: str, what: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, folder = time_it(f"honest,{liar}", what=what)
    found = ends(folder)
    status, said = next(end for cell, end in found.items() if cell.startswith(liar))
    assert code == 1 and status == "refused"
    assert re.search(reason, said), said
    assert all(end == ("ok", None) for cell, end in found.items() if cell.startswith("honest"))


def test_one_that_dies_in_its_turn_does_not_poison_the_others(time_it: Callable[..., Any]) -> None:
    code, folder = time_it("honest,falls")
    table = pd.read_csv(folder / "report.csv").set_index("framework")
    assert code == 1 and table.status.to_dict() == {"honest": "ok", "falls": "failed"}
    assert "ended with status 9" in table.reason["falls"]
    assert table.launches["honest"] == 3 and table.launches["falls"] == 1 and table.slices["falls"] == 1


def test_what_is_faster_than_the_roofline_is_refused(
    time_it: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roofline, "SLACK", 1e-9)
    code, folder = time_it("honest")
    assert code == 1 and "where the roofline allows" in str(ends(folder))


def test_completion_is_when_the_weights_can_be_read() -> None:
    assert completion(returned=1.0, settled=0.3, idle=0.1) == pytest.approx(1.2)
    with pytest.raises(Refused, match=r"returned after 0\.1000 s and had finished after 1\.1000 s"):
        completion(returned=0.1, settled=1.1, idle=0.1)


SLICE = {"seconds": 1.0, "cpu_seconds": 1.9, "idle_seconds": 2.0, "idle_cpu_seconds": 0.001}


@pytest.mark.parametrize(
    "changed, reason",
    [({"cpu_seconds": 2.9}, "2.9 threads busy, where 2 are"), ({"idle_cpu_seconds": 1.0}, "0.50 of a core")],
)
def test_a_worker_keeps_to_its_threads_and_its_turn(changed: dict[str, float], reason: str) -> None:
    keeps_to_its_turn([SLICE], allowed=2)
    with pytest.raises(Refused, match=reason):
        keeps_to_its_turn([SLICE | changed], allowed=2)


def checked(network: Network, what: str = "train") -> Check:
    stream = np.random.default_rng(0)
    images = stream.integers(0, 256, (20, *network.input), dtype=np.uint8)
    labels = stream.integers(0, network.classes, 20)
    return Check.of(network, Training(SGD()), what, initial(network, 0), images, labels, 8, 1e-3)


SMALL = Network("small", (1, 6, 6), [Flatten(), Dropout(), Dense("F", 10)])


def test_a_check_knows_the_losses_of_more_steps_than_ten() -> None:
    check = checked(SMALL)
    assert check.expected.shape == (12,) and len(check.order) == 12 * 8 and max(check.order) == 19
    check.judge(check.expected * (1 + 1e-5), "float32")
    with pytest.raises(Refused, match="step 3"):
        check.judge(np.where(np.arange(12) == 2, 0.5, 1) * check.expected, "float32")
    with pytest.raises(Refused, match="loss of step 12"):
        check.judge([*check.expected[:-1], float("nan")], "float32")
    with pytest.raises(Refused, match="another computation"):
        check.judge(check.expected[:-1], "float32")


def test_where_batch_norm_makes_rounding_grow_a_framework_may_be_off_by_more() -> None:
    layers = [Dense("A", 20), BatchNorm("B"), ReLU(), Dense("C", 20), BatchNorm("D"), ReLU(), Dense("E", 10)]
    check = checked(Network("normed", (1, 6, 6), [Flatten(), *layers]))
    largest = np.abs(check.expected).max()
    assert (np.diff(check.rounding) >= 0).all() and check.rounding[-1] > 0
    louder = replace(check, rounding=check.rounding / check.rounding[-1] * 3e-4 * largest)
    off = check.expected + 1e-3 * largest * (np.arange(len(check.expected)) == len(check.expected) - 1)
    louder.judge(off, "float32")
    with pytest.raises(Refused, match=r"loss of step 12 is off the reference's by 1\.0e-03"):
        replace(check, rounding=np.zeros(12)).judge(off, "float32")
    with pytest.raises(Refused, match="another computation"):
        louder.judge(off, "float64")
    assert not checked(SMALL).rounding.any(), "without batch norm it need not be known"


def test_twins_that_are_made_ready_side_by_side_do_not_share_a_file(tmp_path: Path) -> None:
    paths: list[str] = []

    class Asked(launches.Inference):
        def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
            if command == "predict":
                paths.append(arguments["path"])
                np.save(paths[-1], np.ones((8, 10)))
            return {"seconds": 0.0}

    check = replace(checked(SMALL, "infer"), expected=np.ones((8, 10)))
    own: Any = SimpleNamespace(name="small", framework="fake", network=SMALL, batch_size=8, test_size=8)
    vars(own).update(threads=1, device="cpu", precision="float32")
    split = SimpleNamespace(images=tmp_path / "images.npy", labels=tmp_path / "labels.npy")
    work: Any = SimpleNamespace(weights=tmp_path / "weights.npz", data=SimpleNamespace(test=split))
    for twin in (False, True):
        Asked(launches.Timed(own, "infer", twin), work, 1, Folder(tmp_path), 60.0, True)._check(check)
    assert len(set(paths)) == 2


def test_a_large_network_is_checked_with_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.timing.sanity_checks.WORK", 60 * 360 * 3 * 2)  # sixty pictures: less than all
    check = checked(SMALL)
    assert (check.batch_size, check.steps) == (8, 12)
    monkeypatch.setattr("benchmarks.timing.sanity_checks.WORK", 360 * 3 * 2 * 5)
    check = checked(SMALL)
    assert (check.batch_size, check.steps) == (2, 5)


# --- roofline ---------------------------------------------------------------------------------------------------------


def test_operations_are_two_a_multiply_add_and_three_passes_but_one_for_the_first_layer() -> None:
    net = NETWORKS["lenet"]()
    by_layer = {node.path: node.macs for _, node in net.walk()}
    assert sum(cost.flops for cost in roofline.costs(net, "infer", 1)) == 2 * net.macs
    train = sum(cost.flops for cost in roofline.costs(net, "train", 1))
    assert train == 6 * net.macs - 2 * by_layer["C1"]


def test_bytes_are_what_layers_read_and_write() -> None:
    net = Network("net", (4, 1, 1), [Flatten(), Dense("A", 8), Dense("B", 2)])
    costs = {cost.path: cost.moved for cost in roofline.costs(net, "infer", batch_size=2, itemsize=8)}
    assert costs == {"flatten": 0, "A": 8 * (4 + 8 + (32 + 8) / 2), "B": 8 * (8 + 2 + (16 + 2) / 2)}


def test_the_bound_is_the_slower_of_operations_and_bytes_layer_by_layer() -> None:
    costs = [roofline.Cost("a", 100.0, 10.0, 100.0), roofline.Cost("b", 0.0, 50.0, 0.0)]
    assert roofline.bound(costs, Roof(flops=100.0, bandwidth=10.0)) == pytest.approx(1 / (1 + 5))
    assert roofline.reachable(costs, [Roof(50.0, None), Roof(100.0, 1.0)]) == roofline.SLACK * 1.0


def test_a_roof_is_the_best_of_its_sizes() -> None:
    raw = {"products": [[1, 10.0, 1.0], [2, 30.0, 2.0]], "copies": []}
    assert roofline.roof(raw) == Roof(15.0, None)
    assert roofline.roof(raw | {"convolutions": [[1, 10.0, 0.5], [2, 30.0, 2.0]]}) == Roof(20.0, None)


# --- what is not accepted ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, said",
    [
        ({"what": "train,sleep"}, "--what sleep: no such what; there are train, infer"),
        ({"batch": "0"}, "--batch 0: it is at least 1"),
        ({"batch": "one"}, "--batch one: whole numbers"),
        ({"batch": "4096"}, "--batch 4096: fashion-mnist-mini has 2000 pictures to train with"),
        ({"threads": "0"}, "--threads 0: it is at least 1"),
        ({"precision": "float8"}, "--precision float8: no such precision"),
        ({"budget": "soon"}, "--budget soon: not a time; write 60s, 5m or 1h"),
        ({"budget": "0s"}, "--budget 0: it is more than 0"),
        ({"baseline": "torch"}, "--baseline torch: --fw has no such framework; it has honest"),
        ({"modes": "some"}, "--modes some: only `all`"),
        ({"fw": "honest:warp"}, "--fw honest:warp: honest has no mode warp; it has only its own"),
        ({"fw": "honest:warp", "modes": "all"}, "--modes all contradicts --fw honest:warp"),
        ({"net": "lenot"}, "--net lenot: no such network. Did you mean lenet?"),
        ({"budget": "0.01s"}, "--budget 0.01s: the first launch was ready after "),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    time_it: Callable[..., Any], capsys: pytest.CaptureFixture[str], tmp_path: Path, options: dict[str, str], said: str
) -> None:
    fw = options.pop("fw", "honest")
    code, _ = time_it(fw, **options)
    error = capsys.readouterr().err
    assert code == 2 and said in error and error.count("\n") == 1, error
    assert not list((tmp_path / "out").glob("*")), "a run that has not begun leaves nothing"


def test_a_network_that_does_not_fit_is_refused_before_it_starts(
    time_it: Callable[..., Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.records.store.available_memory", lambda: 1 << 20)
    code, _ = time_it("honest")
    assert code == 2 and "GiB in each of 2 frameworks side by side, and 0.0 GiB are free" in capsys.readouterr().err


def test_modes_all_names_every_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    with_modes = FrameworkInfo("honest", "Honest", "", "Honest", "numpy", python=">=3.10", modes=("fast", "slow"))
    monkeypatch.setitem(FRAMEWORKS, "honest", with_modes)
    assert speed_run.Request(frameworks="honest", modes="all").labels == "honest,honest:fast,honest:slow"


@pytest.mark.parametrize("text, value", [("60s", 60), ("1.5m", 90), ("2h", 7200), ("7", 7)])
def test_a_budget_has_a_unit(text: str, value: float) -> None:
    assert speed_run.seconds(text) == value


def test_a_report_holds_a_framework_against_both_workers_of_the_baseline(tmp_path: Path) -> None:
    """The baseline takes 1.0 s a picture and its twin 1.21 s: what takes 1.1 s is as fast as they are."""
    kind = {"net": "n", "what": "train", "batch_size": 1, "threads": 1, "precision": "float32"}
    cells = {"base": 1.0, "mine": 1.1, "twin": 1.21}
    jobs = [{"cell": cell, "baseline": cell == "base", "twin": cell == "twin", **kind} for cell in cells]
    folder = Folder(tmp_path)
    folder.write_run({"kind": "speed", "jobs": jobs})
    for cell, which, number in product(cells, range(1, 4), range(9)):
        slice_ = {"launch": which, "round": number, "pictures": 1, "seconds": cells[cell] * (1 + number % 2)}
        folder.append(cell, "slice", **slice_)
    (group,) = speed_report.comparisons(folder)
    ratio, twins = group.ratio(jobs[1]), group.twins
    assert ratio and ratio.value == pytest.approx(1.0) and twins and twins.value == pytest.approx(1 / 1.21)


def test_a_folder_of_another_kind_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Folder(tmp_path).write_run({"jobs": []})
    assert speed_report.main([str(tmp_path)]) == 2
    assert "a run of another kind" in capsys.readouterr().err
    with pytest.raises(BadInput):
        Folder.open(tmp_path / "none", "folder")

"""Contention by other programs: the counters, how they judge a slice, and what is withheld. Readings are simulated."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import time
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from benchmarks.cli.progress import epoch_summary
from benchmarks.records import events
from benchmarks.records.events import TimedSlice
from benchmarks.records.store import RunFolder
from benchmarks.reporting import run_report, speed_report
from benchmarks.reporting.run_comparison import compare
from benchmarks.runtime.contention import Contention, disturbance, disturbed
from benchmarks.timing import samples
from benchmarks.timing.rounds import Rounds, paired, rounds_of, speed, too_disturbed
from benchmarks.timing.statistics import launches_ratio, noise_floor, verdict
from frameworks import contention
from tests import records

LINUX = Path("/proc/self/schedstat").exists()

QUIET = Contention(seconds=1.0, cpu_seconds=1.0, cores=1, waited_seconds=0.0, busy_seconds=1.0)
BUSY = Contention(seconds=1.0, cpu_seconds=0.5, cores=1, waited_seconds=0.5, busy_seconds=1.0)


@pytest.fixture(autouse=True)
def threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one of a user; other tests must not depend on the load of the machine that they run on."""
    monkeypatch.setattr("benchmarks.runtime.contention.DISTURBED", 0.05)


# --- counters ---------------------------------------------------------------------------------------------------------

STAT = """cpu  100 100 100 100 100 100 100 100 100 0
cpu0 100 10 50 4000 30 2 3 5 40 0
cpu1 900 900 900 900 900 900 900 900 0 0
cpu2 200 0 0 1 0 0 0 0 0 0
intr 1 2 3
"""


def fake_proc(folder: Path, waited: dict[str, int], stat: str = STAT, stalled: int = 0) -> Path:
    """waited: nanoseconds by thread; stalled: microseconds."""
    for thread, nanoseconds in waited.items():
        (folder / "self" / "task" / thread).mkdir(parents=True)
        (folder / "self" / "task" / thread / "schedstat").write_text(f"123456 {nanoseconds} 7\n")
    (folder / "stat").write_text(stat)
    (folder / "pressure").mkdir()
    (folder / "pressure" / "cpu").write_text(f"some avg10=1.00 avg60=0.00 avg300=0.00 total={stalled}\nfull total=9\n")
    return folder


def test_the_counters_are_those_of_the_threads_and_of_the_allowed_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2}, raising=False)
    proc = fake_proc(tmp_path, {"1": 1_500_000_000, "2": 250_000_000}, stalled=2_500_000)
    reading = contention.read(proc)
    assert reading.waited == {"1": 1.5, "2": 0.25} and reading.stalled == 2.5
    assert reading.cores == {0, 2}
    # user, nice, system, irq, softirq of both cores in hundredths of a second; not idle, iowait, steal and guest
    assert reading.busy == pytest.approx(1.65 + 2.0) and reading.stolen == pytest.approx(0.05)


def test_what_happened_is_the_difference_of_two_readings() -> None:
    """Thread 2 has ended, 3 is new, 4 has the id of one that has ended; a counter runs backwards by a tick."""
    before = contention.Reading(10.0, 5.0, {"1": 1.0, "2": 7.0, "4": 9.0}, 3, frozenset({0}), 100.0, 2.0, 1.0)
    after = contention.Reading(12.0, 6.0, {"1": 1.5, "3": 0.25, "4": 0.1}, 9, frozenset({0, 1}), 101.5, 1.99, 1.25)
    assert contention.between(before, after) == {
        "seconds": 2.0,
        "cpu_seconds": 1.0,
        "cores": 2,
        "waited_seconds": 0.75,
        "switches": 6,
        "busy_seconds": 1.5,
        "stolen_seconds": 0.0,
        "stalled_seconds": 0.25,
    }


@pytest.mark.parametrize(
    ("missing", "fields"),
    [
        (("self", "stat", "pressure"), None),
        (("self",), {"waited_seconds": None, "busy_seconds": 0.0, "stalled_seconds": 0.0}),
        (("stat",), {"waited_seconds": 0.0, "busy_seconds": None, "stolen_seconds": None, "stalled_seconds": 0.0}),
        (("pressure",), {"waited_seconds": 0.0, "busy_seconds": 0.0, "stalled_seconds": None}),
    ],
)
def test_a_counter_that_the_system_lacks_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...], fields: dict[str, Any] | None
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    fake_proc(tmp_path, {"1": 5})
    for name in missing:
        (tmp_path / name).rename(tmp_path / f"no-{name}")
    found = contention.between(contention.read(tmp_path), contention.read(tmp_path))
    assert found is None if fields is None else found is not None and fields.items() <= found.items()


@pytest.mark.parametrize("cores", [{0, 7}, set()])
def test_cores_that_the_system_does_not_list_have_no_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: set[int]
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: cores, raising=False)
    reading = contention.read(fake_proc(tmp_path, {"1": 5}))
    assert reading.busy is None and reading.stolen is None


@pytest.mark.skipif(not LINUX, reason="no /proc/self/schedstat")
def test_a_program_on_the_same_core_is_recognized() -> None:
    """The other program runs whenever this one waits. Nothing depends on how fast the machine is."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    burner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        deadline = time.monotonic() + 60
        found = None
        while time.monotonic() < deadline and not (found and found.lost):
            before = contention.read()
            until = time.process_time() + 0.2
            while time.process_time() < until:
                pass
            found = msgspec.convert(contention.between(before, contention.read()), Contention)
    finally:
        burner.kill()
        burner.wait()
        os.sched_setaffinity(0, allowed)
    assert found and found.cores == 1
    assert found.waited_seconds and found.lost and found.busy_seconds


# --- judging slices ---------------------------------------------------------------------------------------------------


def changed(slice_: Contention, **fields: float | None) -> Contention:
    return msgspec.structs.replace(slice_, **fields)


@pytest.mark.parametrize(
    ("fields", "lost"),
    [
        ({}, 0.5),
        ({"waited_seconds": 0.3}, 0.3),  # the worker waited for nothing during the rest
        ({"waited_seconds": 0.04}, 0.04),
        ({"cpu_seconds": 0.96, "busy_seconds": 2.0}, 0.04),  # the worker had its core nearly all the time
        ({"busy_seconds": None}, 0.5),
        ({"waited_seconds": None, "stalled_seconds": 0.2}, 0.2),
        ({"waited_seconds": None}, None),
        ({"stolen_seconds": 0.25}, 0.75),  # by the hypervisor: no thread of the guest waits for it
        ({"stolen_seconds": 0.8}, 1.0),
        ({"cores": 0}, 0.5),
        ({"cores": 2, "waited_seconds": 1.2, "busy_seconds": 1.9}, 1.0),  # two threads: the slice lost all its time
    ],
)
def test_the_time_that_a_slice_lost(fields: dict[str, float | None], lost: float | None) -> None:
    slice_ = changed(BUSY, **fields)
    assert slice_.lost == (None if lost is None else pytest.approx(lost))
    assert disturbed([slice_]) == [lost is not None and lost > 0.05]


def test_a_burst_disturbs_the_slices_that_it_meets() -> None:
    assert disturbed([QUIET, BUSY, None, QUIET]) == [False, True, False, False]


CROWDED = Contention(seconds=1.0, cpu_seconds=1.6, cores=2, waited_seconds=1.5, busy_seconds=1.6)


@pytest.mark.parametrize("ticks", [-0.01, 0.0, 0.01])
def test_threads_that_wait_for_each_other_do_not_disturb_their_worker(ticks: float) -> None:
    """Nothing else runs; the counters of the cores are behind or ahead by a tick."""
    assert disturbed([changed(CROWDED, busy_seconds=1.6 + ticks)] * 10) == [False] * 10
    beside_another = changed(CROWDED, busy_seconds=2.0)
    assert disturbed([beside_another] * 10) == [True] * 10


def test_a_short_slice_is_not_judged_by_the_rounding_of_the_counters() -> None:
    short = Contention(seconds=0.05, cpu_seconds=0.04, cores=1, waited_seconds=0.01, busy_seconds=0.04)
    assert disturbed([changed(short, busy_seconds=busy) for busy in (0.03, 0.05) * 20]) == [False] * 40
    assert disturbed([changed(short, busy_seconds=busy) for busy in (0.04, 0.06) * 20]) == [True] * 40


def test_a_container_that_hides_the_work_of_the_cores_is_recognized() -> None:
    hidden = [changed(BUSY, busy_seconds=0.0)] * 4
    assert disturbed(hidden) == [True] * 4 and disturbance([hidden]).load is None


@pytest.mark.parametrize(
    ("workers", "slices", "lost", "load"),
    [
        ([[QUIET]], 1, 0, 0.0),
        ([[BUSY]], 1, 1, 0.5),
        ([[QUIET], [BUSY, None]], 2, 1, 0.25),
        ([[changed(QUIET, busy_seconds=busy) for busy in (0.99, 1.01)]], 2, 0, 0.0),
        ([[changed(BUSY, cores=2, busy_seconds=1.5)]], 1, 1, 0.5),
        ([[changed(QUIET, stolen_seconds=0.5)]], 1, 1, 0.5),
        ([[None], []], 0, 0, None),
    ],
)
def test_what_other_programs_did_to_several_workers(
    workers: list[list[Contention | None]], slices: int, lost: int, load: float | None
) -> None:
    found = disturbance(workers)
    assert (found.slices, found.disturbed) == (slices, lost)
    assert found.load == (None if load is None else pytest.approx(load))


# --- rounds that count ------------------------------------------------------------------------------------------------


def rounds(*launches: str) -> Rounds:
    """A launch per text, a round per character: `x` is disturbed."""
    return {
        number: {place: None if mark == "x" else 1.0 for place, mark in enumerate(launch)}
        for number, launch in enumerate(launches, 1)
    }


def test_only_rounds_without_a_disturbed_slice_are_paired() -> None:
    own, other = paired(rounds("..x.", "....", "...."), rounds(".x..", "....", "..x."))
    assert [len(launch) for launch in own] == [len(launch) for launch in other] == [2, 4, 3]


@pytest.mark.parametrize(
    ("worker", "launches"),
    [
        (rounds("....", "....", "...."), 3),
        (rounds("....", "...x", "xx.."), 3),
        (rounds("....", "....", "....", "xxxx"), 3),  # three launches are left
        (rounds("....", "....", "xxxx"), 0),
        (rounds("....", "....", "xxxxx."), 0),  # a single round between bursts does not make a launch
        (rounds("...", "..."), 2),  # a run that was stopped, on a quiet machine
        (rounds("...", "xxx"), 0),
        (rounds("xxx"), 0),
        ({}, 0),
    ],
)
def test_a_ratio_needs_enough_undisturbed_launches(worker: Rounds, launches: int) -> None:
    other = rounds(*["." * 6] * len(worker))
    assert [len(each) for each in paired(worker, other)] == [launches, launches]
    assert too_disturbed(worker, other) == too_disturbed(other, worker) == (bool(worker) and launches == 0)
    assert (speed(worker) is None) == (launches == 0)


# --- reports ----------------------------------------------------------------------------------------------------------

CELLS = ("lenet.base", "lenet.mine", "lenet.control")


def speed_folder(path: Path, contention: dict[str, Contention | None]) -> RunFolder:
    """Three launches of four rounds; contention: of the slices of some cells, in every launch; of others: quiet."""
    jobs = [
        records.speed_job(
            cell.partition(".")[2].replace("control", "base"),
            cell=cell,
            baseline=cell == CELLS[0],
            control=cell == CELLS[2],
        )
        for cell in CELLS
    ]
    folder = RunFolder(path)
    path.mkdir()
    folder.write_info(records.speed_run(jobs))
    for cell, launch, number in product((*CELLS, "control-workload"), range(1, 4), range(4)):
        seconds = (1.0 + 0.5 * (cell == CELLS[1])) * (1 + launch / 100)
        slice_ = records.timed_slice(cell, launch, number, seconds, contention=contention.get(cell, QUIET))
        folder.record(slice_, durable=False)
    for cell in CELLS:
        folder.record(records.end(cell))
    return folder


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        ({}, "slower"),
        (dict.fromkeys(CELLS), "slower"),  # an old record, or another system
        ({CELLS[1]: BUSY}, "not measured"),
        ({CELLS[0]: BUSY}, "not measured"),
        ({CELLS[2]: BUSY}, "not measured"),
        ({"control-workload": BUSY}, "slower"),
    ],
)
def test_a_speed_run_gives_no_verdict_on_disturbed_slices(
    tmp_path: Path, found: dict[str, Contention | None], verdict: str
) -> None:
    folder = speed_folder(tmp_path / "a", found)
    row = speed_report.frame(folder).set_index("framework").loc["mine"]
    assert row["verdict"] == verdict
    assert (row["relative_speed"] is None) == (verdict == "not measured") == (row["withheld"] is not None)
    speed_report.write(folder)
    outputs = (
        speed_report.text(folder),
        (folder.path / "report.md").read_text(),
        (folder.path / "report.csv").read_text(),
    )
    for text in outputs:
        assert bool(re.search(r"other programs had \d", text)) == (verdict == "not measured")


def test_a_speed_run_says_how_much_other_programs_had(tmp_path: Path) -> None:
    """Half of the core in each of the slices of one of three workers."""
    rows = speed_report.frame(speed_folder(tmp_path / "a", {CELLS[1]: BUSY})).set_index("framework")
    assert rows["withheld"]["mine"] == "other programs had 17 % of the cores and disturbed 33 % of the slices"
    assert rows["disturbed_slices"].to_dict() == {"base": 0, "mine": 12}
    assert rows["cpu_load"].to_dict() == pytest.approx({"base": 0.0, "mine": 0.5})
    assert rows["examples_per_second"]["mine"] is None and rows["examples_per_second"]["base"] > 0


def training_folder(path: Path, marks: dict[str, str]) -> RunFolder:
    """A cell per framework, an epoch per character: `x` is disturbed, `?` was recorded without contention."""
    kinds: dict[str, list[Contention | None]] = {"x": [BUSY], ".": [QUIET], "?": []}
    jobs = [records.training_job(framework) for framework in marks]
    folder = RunFolder(path)
    path.mkdir()
    folder.write_info(records.training_run(jobs))
    for job, epochs in zip(jobs, marks.values()):
        folder.record(records.start(job.cell))
        for number, mark in enumerate(epochs, 1):
            folder.record(records.epoch(job.cell, number, contention=kinds[mark]))
        folder.record(records.end(job.cell))
    return folder


@pytest.mark.parametrize(
    ("marks", "speeds", "ratio"),
    [
        ({"torch": "....", "keras": "...."}, True, True),
        ({"torch": "????", "keras": "????"}, True, True),
        ({"torch": "....", "keras": "..xx"}, True, True),
        ({"torch": "....", "keras": ".xxx"}, False, False),
        ({"torch": "xxxx", "keras": "...."}, True, False),
        ({"torch": "xx..", "keras": "..xx"}, True, False),  # no epoch in which neither was disturbed
    ],
)
def test_a_training_run_gives_no_ratio_of_disturbed_epochs(
    tmp_path: Path, marks: dict[str, str], speeds: bool, ratio: bool
) -> None:
    folder = training_folder(tmp_path / "a", marks)
    table = run_report.frame(folder)
    row = table.set_index("framework").loc["keras"]
    assert (row["examples_per_second"] is not None) == speeds and (row["relative_speed"] is not None) == ratio
    assert (row["withheld"] is None) == ratio
    run_report.write(folder)
    texts = [run_report.table(table, None), run_report.table(table, 80)]
    texts += [(folder.path / name).read_text() for name in ("report.md", "report.html")]
    for text in texts:
        assert ("not measured" in text) != ratio and ("other programs had" in text) != ratio
    assert ("these do not count" in texts[2]) == ("x" in "".join(marks.values()))


@pytest.mark.parametrize(
    ("fields", "ending"),
    [
        ({"contention": [QUIET]}, "accuracy 0.5000, 50 examples/s"),
        ({"contention": [BUSY]}, "accuracy 0.5000, speed disturbed by other programs"),
        ({"slices": []}, "accuracy 0.5000"),
    ],
)
def test_progress_says_that_an_epoch_was_disturbed(fields: dict[str, Any], ending: str) -> None:
    assert epoch_summary(records.epoch("lenet.torch.0", 1, **fields)).endswith(ending)


def test_a_system_that_counts_no_waiting_is_mentioned(tmp_path: Path) -> None:
    folder = training_folder(tmp_path / "a", {"torch": "."})
    folder.record(records.epoch("lenet.torch.0", 2, contention=[None]))
    assert any("does not count the time that threads wait" in note for note in run_report.notes(folder))


def test_two_runs_are_not_compared_by_disturbed_slices(tmp_path: Path) -> None:
    a, b = speed_folder(tmp_path / "a", {}), speed_folder(tmp_path / "b", {CELLS[1]: BUSY})
    rows = {row.framework: row for row in compare(samples.read(a.path), samples.read(b.path), 0.05)}
    assert rows["base"].verdict == "same" and rows["mine"].verdict == "not measured"
    assert rows["mine"].reason.startswith("B: other programs had 50 % of the cores")
    same = {row.framework: row.verdict for row in compare(samples.read(a.path), samples.read(a.path), 0.05)}
    assert same == {"base": "same", "mine": "same"}


def test_contention_survives_the_records(tmp_path: Path) -> None:
    event = records.timed_slice("a", 1, 0, 1.0, contention=BUSY)
    assert events.from_json(events.to_json(event)) == event
    old = events.to_json(event)
    del old["contention"]
    assert events.from_json(old) == msgspec.structs.replace(event, contention=None)


# --- a comparison on a simulated machine ------------------------------------------------------------------------------

SENSITIVITY = {"base": 1.0, "control": 1.0, "mine": 2.5}  # how much of the lost time a worker's slice is longer


def simulated_verdict(seed: int, busy: float) -> str | None:
    """The verdict on two equally fast programs, of which one suffers more from lost cores; None: withheld.

    Six launches of 60 rounds on one core; another program runs in bursts of about ten slices, `busy` of the time, and
    takes up to half of the core.
    """
    stream = np.random.default_rng(seed)
    slices: dict[str, dict[int, dict[int, TimedSlice]]] = {name: {} for name in SENSITIVITY}
    for launch in range(6):
        burst, taken = False, 0.0
        for number, name in product(range(60), SENSITIVITY):
            if stream.random() < 0.1:
                burst, taken = bool(stream.random() < busy), float(stream.uniform(0.1, 0.5))
            lost = taken if burst else 0.0
            work = 0.05 * float(np.exp(stream.normal(0, 0.01)))
            seconds = work * (1 + SENSITIVITY[name] * lost / (1 - lost))
            contention = Contention(
                seconds=seconds,
                cpu_seconds=seconds * (1 - lost),
                cores=1,
                waited_seconds=seconds * lost,
                busy_seconds=max(0.0, seconds + float(stream.uniform(-0.01, 0.01))),
            )
            timed = records.timed_slice(name, launch, number, seconds, contention=contention)
            slices[name].setdefault(launch, {})[number] = timed
    base, control, mine = (rounds_of(slices[name]) for name in SENSITIVITY)
    ratio, floor = launches_ratio(*paired(mine, base, control)), launches_ratio(*paired(control, base))
    return verdict(ratio, noise_floor(floor)) if ratio and floor else None


@pytest.mark.parametrize(("busy", "withheld"), [(0.0, False), (0.2, False), (0.5, None), (1.0, True)])
def test_no_verdict_is_wrong_on_a_busy_machine(busy: float, withheld: bool | None) -> None:
    """Equal programs are `same`, or nothing is said; about 2 % of A/A intervals are beyond the noise floor."""
    verdicts = [simulated_verdict(seed, busy) for seed in range(20)]
    assert sum(each in ("faster", "slower") for each in verdicts) <= 2
    if withheld is not None:
        assert (verdicts.count(None) == 20) == withheld


def test_verdicts_would_be_wrong_if_disturbed_slices_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.runtime.contention.DISTURBED", math.inf)
    assert [simulated_verdict(seed, 1.0) for seed in range(5)] == ["slower"] * 5

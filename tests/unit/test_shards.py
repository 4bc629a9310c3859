"""Plans, shards and merged runs, without workers: what is refused, and what a merged run says."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.cli.exit_codes import ExitCode
from benchmarks.cli.group import onespec
from benchmarks.cli.options import ShardNumber
from benchmarks.merge import command as merge
from benchmarks.records import plans
from benchmarks.records.lock import locked
from benchmarks.records.plans import Plan
from benchmarks.records.runs import DataInfo, GroupInfo, TrainingRun
from benchmarks.records.store import RunFolder
from benchmarks.report import command as report
from benchmarks.reporting import run_report
from benchmarks.reporting.comparability import incomparable
from benchmarks.run import command as run
from benchmarks.timing.samples import read
from benchmarks.training.plan import TrainingRequest
from benchmarks.training.shards import Shard, planned, shard_groups
from tests import records
from tests.command_line import exit_code_of
from tests.unit.test_damaged_files import DAMAGES, refused

REQUEST = TrainingRequest(("lenet", "mlp"), "torch,mxnet", seeds=(0, 1, 2), quick=True, threads=1, device="cpu")
FAST = msgspec.structs.replace(records.MACHINE, processor="Two", cores=64)
TINY = """
from frameworks.spec import Dense, Flatten, Network

def net():
    return Network("tiny", (1, 28, 28), [Flatten(), Dense("d", {width})])
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONESPEC_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Six groups of two frameworks."""
    return planned(REQUEST, print)


def shard(path: Path, plan: Plan, number: int, count: int, seconds: float = 2.0, **changes: Any) -> Path:
    """The folder of a shard whose cells have finished. seconds: of an epoch of 100 images. changes: of run.json."""
    folder = RunFolder(path)
    path.mkdir()
    own = plans.of_shard(number, count, plan.group_infos)
    jobs = [job for group in own for job in plan.jobs(group)]
    run = records.training_run(
        jobs,
        request=plan.request,
        commit="c" * 40,
        data={name: DataInfo(each.sha256, each.published, "here") for name, each in plan.data.items()},
        wall_seconds=10.0,
        plan_sha256=plan.sha256,
        shard=Shard(plan, number, count, "").info,
    )
    folder.write(plans.NAME, plan.text)
    folder.write_info(msgspec.structs.replace(run, **changes))
    for job in jobs:
        epoch = records.epoch(job.cell, 1, slices=[(100, seconds)])
        for event in (records.start(job.cell), epoch, records.end(job.cell)):
            folder.record(event, durable=False)
        folder.log(job.cell).parent.mkdir(exist_ok=True)
        folder.log(job.cell).write_text(f"log of {job.cell}")
    return path


def run_info(path: Path) -> TrainingRun:
    return RunFolder(path).training_run


def merged(paths: Sequence[Path], out: Path) -> int:
    return exit_code_of(merge)([*map(str, paths), "-o", str(out)])


# --- --shard ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", ["0/3", "4/3", "3", "a/b", "-1/2", "1/0", "9" * 20, "9" * 20 + "/3", "1/2/3", "", "/"]
)
def test_a_wrong_shard_is_refused_in_one_line(value: str) -> None:
    result = CliRunner().invoke(onespec, ["run", "--plan", "plan.json", "--shard", value])
    assert result.exit_code == ExitCode.BAD_INPUT and not result.stdout
    assert result.stderr.startswith(f"--shard {value or repr('')}: write I/N") and result.stderr.count("\n") == 1


@pytest.mark.parametrize("value, expected", [("1/1", (1, 1)), ("3/16", (3, 16)), (" 2 / 2 ", (2, 2))])
def test_a_shard_is_parsed(value: str, expected: tuple[int, int]) -> None:
    assert ShardNumber().convert(value, None, None) == expected


def test_a_shard_without_a_plan_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(run)(["--shard", "1/2"]) == ExitCode.BAD_INPUT
    assert capsys.readouterr().err == "--shard 1/2: --plan is missing; name the file of the plan\n"


def test_the_shards_are_a_partition_of_the_groups(plan: Plan) -> None:
    for count in range(1, 8):
        parts = [plans.of_shard(number, count, plan.group_infos) for number in range(1, count + 1)]
        assert sorted(map(str, itertools.chain(*parts))) == sorted(map(str, plan.group_infos))
    assert plans.of_shard(3, 4, plan.group_infos) == [GroupInfo("lenet", 2)]  # i % 4 == 2


# --- plans ------------------------------------------------------------------------------------------------------------


def test_the_same_options_give_the_same_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["plan", "--net", "lenet,mlp", "--fw", "torch,mxnet", "--seed", "0-2", "--quick", "--threads", "1"]
    for name in ("a.json", "b.json"):
        result = CliRunner().invoke(onespec, [*options, "--device", "cpu", "-o", str(tmp_path / name)])
        assert result.exit_code == 0, result.output
        assert "6 groups of torch" in result.stdout and "lenet" in result.stdout
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert plans.read(tmp_path / "a.json") == planned(REQUEST, print)


def test_a_plan_is_read_as_it_was_written(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(plan.text)
    assert plans.read(tmp_path / "plan.json") == plan
    assert [group.net for group in plan.groups] == ["lenet"] * 3 + ["mlp"] * 3
    assert plan.groups[0].memory > 2 * 400 * 2**20 and plan.groups[0].multiply_adds % plan.networks["lenet"].macs == 0
    assert set(plan.frameworks["torch"].code) == {"adapter", "spec", "worker", "trainer", "verification"}


def test_a_plan_does_not_look_for_published_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.training.plan.dataset", None)
    monkeypatch.setattr("benchmarks.datasets.registry.dataset", None)
    plan = planned(TrainingRequest(("lenet",), "torch", dataset="cifar10", train_size=100), print)
    assert plan.data["cifar10"].download_megabytes > 100 and plan.networks["lenet"].train_size == 100


def test_a_plan_is_not_refused_for_the_memory_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.runtime.machine.total_memory", lambda: 1000)
    assert planned(REQUEST, print).groups


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_plan_is_refused(damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(DAMAGES[damage])
    refused(run, ["--plan", str(path), "--out", str(tmp_path / "out")], path, capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "place, value, message",
    [
        (("schema",), 2, "schema 2; this version reads 1"),
        (("kind",), "run", "not a plan of onespec"),
        (("request", "seeds"), [-1], "--seed -1: must be 0 or more"),
        (("request", "frameworks"), "torhc", "--fw 'torhc': no such framework"),
        (("request", "net"), ["lenot"], "--net lenot: no such network"),
        (("frameworks",), {}, "`$.frameworks`"),
        (("groups",), [], "`$.groups`"),
        (("groups", 0, "net"), "nothing", "the network 'nothing' of a group is not in `networks`"),
        (("groups", 0, "seed"), 1, "a group is listed twice"),
        (("groups", 0, "seed"), "1", "`$.groups[0].seed`"),
        (("data",), {}, "the data set 'fashion-mnist-mini' of a network is not in `data`"),
    ],
    ids=str,
)
def test_a_plan_with_impossible_values_is_refused(
    place: tuple[str | int, ...],
    value: Any,
    message: str,
    plan: Plan,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = changed_plan(plan, tmp_path, place, value)
    assert message in refused(run, ["--plan", str(path), "--out", str(tmp_path)], path, capsys)


def changed_plan(plan: Plan, folder: Path, place: Sequence[str | int], value: Any) -> Path:
    """A file with a plan that has another value in one place."""
    record = json.loads(plan.text)
    inside = record
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = value
    path = folder / "plan.json"
    path.write_text(json.dumps(record))
    return path


@pytest.mark.parametrize(
    "place",
    [
        ("networks", "lenet", "spec_sha256"),
        ("networks", "lenet", "optimizer"),
        ("networks", "mlp", "initial"),
        ("frameworks", "torch", "version"),
        ("frameworks", "torch", "code", "trainer"),
        ("frameworks", "mxnet", "code", "adapter"),
    ],
    ids=".".join,
)
def test_a_plan_of_other_code_or_networks_is_refused(
    place: tuple[str, ...], plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = changed_plan(plan, tmp_path, place, "0" * 64)
    line = refused(run, ["--plan", str(path), "--out", str(tmp_path)], path, capsys)
    assert line.startswith(f"--plan {path}: not the same here as in the plan: {'.'.join(place)}; make a new plan")


def test_a_network_file_that_changed_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, path = tmp_path / "net.py", tmp_path / "plan.json"
    file.write_text(TINY.format(width=10))
    path.write_text(planned(TrainingRequest((f"{file}:net",), "torch", quick=True), print).text)
    file.write_text(TINY.format(width=11))
    line = refused(run, ["--plan", str(path), "--out", str(tmp_path)], path, capsys)
    assert "networks.tiny.macs, networks.tiny.spec_sha256" in line


def test_images_that_changed_are_refused(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 28, 28), np.uint8)
    labels = np.arange(40) % 10
    file = tmp_path / "own.npz"
    np.savez(file, x_train=images[:30], y_train=labels[:30], x_test=images[30:], y_test=labels[30:])
    request = TrainingRequest(("lenet",), "torch", dataset=str(file), threads=1, device="cpu")
    own = planned(request, print)
    assert shard_groups(Shard(own, 1, 1, "--plan P"), request, print)[0]
    other = dict.fromkeys(own.data["own"].sha256, "0" * 64)
    data = {"own": msgspec.structs.replace(own.data["own"], sha256=other)}
    with pytest.raises(ValueError, match=r"--plan P: not the same here as in the plan: data\.own\.sha256"):
        shard_groups(Shard(msgspec.structs.replace(own, data=data), 1, 1, "--plan P"), request, print)


@pytest.mark.parametrize(
    "options",
    [
        ["--epochs", "5"],
        ["--fw", "torch"],
        ["--net", "lenet"],
        ["--quick"],
        ["--seed", "0,1"],
        ["--dataset", "mnist"],
        ["--image-size", "32"],
        ["--device", "cpu"],
        ["--precision", "bfloat16"],
        ["--tf32"],
        ["--threads", "2"],
        ["--lr", "0.5"],
        ["--resume", "."],
    ],
    ids=" ".join,
)
def test_an_option_that_the_plan_decides_is_refused(
    options: list[str], plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "plan.json"
    path.write_text(plan.text)
    assert exit_code_of(run)(["--plan", str(path), *options]) == ExitCode.BAD_INPUT
    error = capsys.readouterr().err
    assert error.startswith(options[0]) and error.count("\n") == 1
    assert options[0] == "--resume" or f"--plan {path} decides it" in error


def test_a_plan_that_names_foreign_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, path = tmp_path / "net.py", tmp_path / "plan.json"
    file.write_text(TINY.format(width=10))
    path.write_text(planned(TrainingRequest((f"{file}:net",), "torch", quick=True), print).text)
    monkeypatch.setenv("ONESPEC_CACHE", str(tmp_path / "another"))
    file.write_text("raise SystemExit('executed')")
    line = refused(run, ["--plan", str(path), "--out", str(tmp_path)], path, capsys)
    assert line.endswith(f"code that you have not run before; if you trust it, repeat --net {file}:net\n")
    assert "executed" in refused(run, ["--plan", str(path), "--net", f"{file}:net"], path, capsys)
    error = refused(run, ["--plan", str(path), "--net", f"{tmp_path}/other.py:net"], path, capsys)
    assert error.startswith(f"--net {tmp_path}/other.py:net: --plan {path} has {file}:net")


def test_a_shard_without_groups_is_refused(plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "plan.json"
    path.write_text(plan.text)
    line = refused(run, ["--plan", str(path), "--shard", "7/7"], path, capsys)
    assert line == f"--shard 7/7: {path} has 6 groups; write at most 6 shards\n"


# --- merging ----------------------------------------------------------------------------------------------------------


def test_a_merged_run_has_the_cells_of_its_plan_in_their_order(plan: Plan, tmp_path: Path) -> None:
    paths = [shard(tmp_path / str(number), plan, number, 3) for number in (2, 1, 3)]
    assert merged(paths, tmp_path / "new" / "merged") == 0
    info, folder = run_info(tmp_path / "new" / "merged"), RunFolder(tmp_path / "new" / "merged")
    expected = [job.cell for group in plan.group_infos for job in plan.jobs(group)]
    assert [job.cell for job in info.jobs] == expected == list(folder.records())
    assert info.merged and info.plan_sha256 == plan.sha256 and info.commit == "c" * 40 and info.wall_seconds == 30.0
    assert [len(part.cells) for part in info.parts] == [4, 4, 4]
    assert folder.log(expected[0]).read_text() == f"log of {expected[0]}"
    assert sorted(path.name for path in folder.path.parent.iterdir()) == ["merged"]
    assert exit_code_of(report)([str(folder.path)]) == 0


def test_the_order_of_the_folders_changes_nothing_but_the_command(plan: Plan, tmp_path: Path) -> None:
    paths = [shard(tmp_path / str(number), plan, number, 2) for number in (1, 2)]
    for name, order in (("a", paths), ("b", paths[::-1])):
        assert merged(order, tmp_path / name) == 0
    assert (tmp_path / "a" / "cells.jsonl").read_bytes() == (tmp_path / "b" / "cells.jsonl").read_bytes()
    a, b = (msgspec.structs.replace(run_info(tmp_path / name), command=[]) for name in "ab")
    assert a == b


def test_the_report_lists_the_machines_with_what_each_ran(plan: Plan, tmp_path: Path) -> None:
    paths = [shard(tmp_path / "1", plan, 1, 2), shard(tmp_path / "2", plan, 2, 2, machine=FAST, cpu_load=0.5)]
    assert merged(paths, tmp_path / "merged") == 0
    text = (tmp_path / "merged" / "report.md").read_text()
    assert "- 2 machines; 1 thread, float32 on cpu; 2026-11-21.\n" in text
    assert "- One, 2 cores, 8.0 GiB, no GPU, Linux 6: lenet (seeds 0, 2), mlp (seed 1).\n" in text
    assert "- Two, 64 cores, 8.0 GiB, no GPU, Linux 6: lenet (seed 1), mlp (seeds 0, 2).\n" in text
    assert "Other programs used 50 % of CPU time" in text


def test_frameworks_are_paired_only_on_one_machine(plan: Plan, tmp_path: Path) -> None:
    """One machine is four times as fast: a ratio of its cells to those of the other would be 4 or 0.25."""
    paths = [shard(tmp_path / "1", plan, 1, 2), shard(tmp_path / "2", plan, 2, 2, seconds=0.5, machine=FAST)]
    assert merged(paths, tmp_path / "merged") == 0
    info = run_info(tmp_path / "merged")
    for group in plan.group_infos:
        assert len({info.machine_of(job.cell) for job in plan.jobs(group)}) == 1
    cells = run_report.frame(RunFolder(tmp_path / "merged"))
    assert set(cells["examples_per_second"]) == {50.0, 200.0} and (cells["relative_speed"] == 1).all()


def test_a_network_of_two_machines_is_not_compared_with_another_run(plan: Plan, tmp_path: Path) -> None:
    paths = [shard(tmp_path / "1", plan, 1, 2), shard(tmp_path / "2", plan, 2, 2, machine=FAST)]
    assert merged(paths, tmp_path / "two") == 0
    shard(tmp_path / "one", plan, 1, 1)
    one, two = read(tmp_path / "one"), read(tmp_path / "two")
    reasons = list(incomparable(one, two, one.series[0], two.series[0]))
    assert reasons == ["machine: processor of the seeds in B One and Two", "machine: cores of the seeds in B 2 and 64"]
    assert list(incomparable(one, one, one.series[0], one.series[0])) == []


def test_missing_and_unfinished_groups_are_listed(
    plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [shard(tmp_path / str(number), plan, number, 3) for number in (1, 2)]
    lines = (paths[1] / "cells.jsonl").read_text().splitlines(keepends=True)
    (paths[1] / "cells.jsonl").write_text("".join(lines[:-1]))  # the last cell of mlp, seed 1, has not ended
    assert merged(paths, tmp_path / "merged") == ExitCode.FAILED
    out, err = capsys.readouterr()
    assert err == (
        f"lenet, seed 2: in none of the folders\nmlp, seed 1: unfinished in {paths[1]}\n"
        "mlp, seed 2: in none of the folders\n"
    )
    cells = run_report.frame(RunFolder(tmp_path / "merged"))
    assert list(cells["status"]).count("unfinished") == 5 and out.endswith(f"{tmp_path / 'merged'}\n")
    assert set(cells["reason"].dropna()) == {"not finished in the merged shards"}


def test_a_group_without_results_gives_way_to_one_with_results(plan: Plan, tmp_path: Path) -> None:
    """A shard that was submitted again after it died at its start."""
    died, again = shard(tmp_path / "died", plan, 1, 1), shard(tmp_path / "again", plan, 1, 1)
    lines = [line for line in (died / "cells.jsonl").read_text().splitlines(keepends=True) if '"start"' in line]
    (died / "cells.jsonl").write_text("".join(lines))
    assert merged([died, again], tmp_path / "merged") == 0
    assert (tmp_path / "merged" / "cells.jsonl").read_text() == (again / "cells.jsonl").read_text()


def rewritten(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change run.json of a shard."""
    record = json.loads((path / "run.json").read_text())
    change(record)
    (path / "run.json").write_text(json.dumps(record))


def other_plan(plan: Plan, place: str, value: Any) -> Plan:
    """The plan with another value in `networks.lenet` or in `frameworks.torch`."""
    if place in plans.PlannedNetwork.__struct_fields__:
        return msgspec.structs.replace(
            plan,
            networks=plan.networks | {"lenet": msgspec.structs.replace(plan.networks["lenet"], **{place: value})},
        )
    torch = msgspec.structs.replace(plan.frameworks["torch"], **{place: value})
    return msgspec.structs.replace(plan, frameworks=plan.frameworks | {"torch": torch})


@pytest.mark.parametrize(
    "place, value, named",
    [
        ("spec_sha256", "0" * 64, "plan: networks.lenet.spec_sha256 differ"),
        ("lr", 0.5, "plan: networks.lenet.lr differ"),
        ("epochs", 7, "plan: networks.lenet.epochs differ"),
        ("device", "cuda:1", "plan: networks.lenet.device differ"),
        ("precision", "bfloat16", "plan: networks.lenet.precision differ"),
        ("tf32", True, "plan: networks.lenet.tf32 differ"),
        ("version", "1.0", "plan: frameworks.torch.version differ"),
        ("code", {"adapter": "0" * 64}, "plan: frameworks.torch.code.adapter, plan: frameworks.torch.code.spec, "),
    ],
)
def test_shards_of_different_plans_are_refused(
    place: str, value: Any, named: str, plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [shard(tmp_path / "1", plan, 1, 2), shard(tmp_path / "2", other_plan(plan, place, value), 2, 2)]
    line = refused(merge, [*map(str, paths), "-o", str(tmp_path / "merged")], paths[1], capsys)
    assert line.startswith(f"{paths[0]} and {paths[1]}: not one experiment: {named}")
    assert not (tmp_path / "merged").exists()


@pytest.mark.parametrize(
    "change, named",
    [
        (lambda run: run.update(plan_sha256="0" * 64), "the digest of the plan differs"),
        (lambda run: run["jobs"][0].update(lr=0.5), "lenet.torch.0.lr"),
        (lambda run: run["jobs"][0].update(spec_sha256="0" * 64), "lenet.torch.0.spec_sha256"),
        (lambda run: run["jobs"].pop(), "its cells differ"),
        (lambda run: run["shard"].update(number=2), "its cells differ"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_shard_that_does_not_fit_its_plan_is_refused(
    change: Callable[[dict[str, Any]], object],
    named: str,
    plan: Plan,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = shard(tmp_path / "1", plan, 1, 2)
    rewritten(path, change)
    line = refused(merge, [str(path), "-o", str(tmp_path / "merged")], path, capsys)
    assert line.startswith(f"FOLDER {path}: not a shard of its plan.json: ") and named in line


@pytest.mark.parametrize(
    "change, named",
    [
        (lambda run: run["shard"]["code"].update(torch="0" * 64), "code: torch differ"),
        (
            lambda run: run["data"]["fashion-mnist-mini"]["sha256"].update({"train_images.npy": "0"}),
            "data: fashion-mnist-mini differ",
        ),
    ],
    ids=["code", "data"],
)
def test_shards_of_other_code_or_data_are_refused(
    change: Callable[[dict[str, Any]], object],
    named: str,
    plan: Plan,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    paths = [shard(tmp_path / str(number), plan, number, 2) for number in (1, 2)]
    rewritten(paths[1], change)
    line = refused(merge, [*map(str, paths), "-o", str(tmp_path / "merged")], paths[1], capsys)
    assert line == f"{paths[0]} and {paths[1]}: not one experiment: {named}\n"


def test_each_shard_is_compared_with_the_first_that_read_a_data_set(
    plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [shard(tmp_path / str(number), plan, number, 3) for number in (1, 2, 3)]
    rewritten(paths[0], lambda run: run["data"]["fashion-mnist-mini"].update(source=""))
    rewritten(paths[2], lambda run: run["data"]["fashion-mnist-mini"]["sha256"].update({"train_images.npy": "0"}))
    line = refused(merge, [*map(str, paths), "-o", str(tmp_path / "merged")], paths[2], capsys)
    assert line == f"{paths[1]} and {paths[2]}: not one experiment: data: fashion-mnist-mini differ\n"


def test_shards_with_other_package_versions_are_refused(
    plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [shard(tmp_path / str(number), plan, number, 2) for number in (1, 2)]
    text = (paths[1] / "cells.jsonl").read_text()
    (paths[1] / "cells.jsonl").write_text(text.replace('"versions": {"mxnet": "1.0"', '"versions": {"mxnet": "1.1"'))
    line = refused(merge, [*map(str, paths), "-o", str(tmp_path / "merged")], paths[1], capsys)
    assert line == f"{paths[0]} and {paths[1]}: not one experiment: mxnet ran with mxnet 1.0 and 1.1\n"


def test_two_shards_with_results_of_a_group_are_refused(
    plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [shard(tmp_path / "half", plan, 1, 2), shard(tmp_path / "third", plan, 2, 3)]
    line = refused(merge, [*map(str, paths), "-o", str(tmp_path / "merged")], paths[1], capsys)
    assert line == f"{paths[0]} and {paths[1]}: both have results of mlp, seed 1; leave one out\n"


def test_folders_that_cannot_be_merged_are_refused(
    plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = shard(tmp_path / "1", plan, 1, 1), tmp_path / "merged"
    assert "it is listed twice" in refused(merge, [str(path), f"{path}/.", "-o", str(out)], path, capsys)
    with locked(path):
        assert "is writing in this folder" in refused(merge, [str(path), "-o", str(out)], path, capsys)
    assert "it is not empty" in refused(merge, [str(path), "-o", str(path)], path, capsys)
    assert merged([path], out) == 0
    assert "it was merged already" in refused(merge, [str(out), "-o", f"{out}2"], out, capsys)
    assert "it was merged from shards" in refused(run, ["--resume", str(out)], out, capsys)
    plain = tmp_path / "plain"
    RunFolder(plain).path.mkdir()
    RunFolder(plain).write_info(records.training_run([records.training_job()]))
    assert "not a shard of a plan" in refused(merge, [str(plain), "-o", f"{out}2"], plain, capsys)
    assert "no run.json in it" in refused(merge, [str(tmp_path), "-o", f"{out}2"], tmp_path, capsys)
    (path / plans.NAME).unlink()
    assert "cannot be read" in refused(merge, [str(path), "-o", f"{out}2"], path, capsys)
    assert not Path(f"{out}2").exists()


@pytest.mark.parametrize("name", ["run.json", "plan.json", "cells.jsonl"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_shard_is_refused(
    name: str, damage: str, plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shard(tmp_path / "1", plan, 1, 1)
    end = b"\n" if name == "cells.jsonl" else b""
    if name == "cells.jsonl" and damage in ("empty", "incomplete", "zeros", "binary"):
        pytest.skip("nothing has been recorded, or the last line is incomplete")
    (path / name).write_bytes(DAMAGES[damage] + end)
    refused(merge, [str(path), "-o", str(tmp_path / "merged")], path, capsys)
    assert not (tmp_path / "merged").exists()


def test_a_link_in_a_shard_is_not_copied(plan: Plan, tmp_path: Path) -> None:
    path = shard(tmp_path / "1", plan, 1, 1)
    (tmp_path / "secret").write_text("secret")
    log = RunFolder(path).log("lenet.torch.0")
    log.unlink()
    log.symlink_to(tmp_path / "secret")
    assert merged([path], tmp_path / "merged") == 0
    names = {each.name for each in (tmp_path / "merged" / "logs").iterdir()}
    assert "lenet.torch.0.log" not in names and "lenet.mxnet.0.log" in names


def test_the_networks_of_a_plan_are_in_the_order_of_its_groups(plan: Plan) -> None:
    assert list(plan.networks) == list(dict.fromkeys(group.net for group in plan.groups)) == ["lenet", "mlp"]

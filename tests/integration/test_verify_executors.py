"""The parts of a verification on nodes, one killed, against the same verification in one go."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.certification.covered_code import code_parts
from benchmarks.certification.verified_networks import case_sha256
from benchmarks.cli.exit_codes import ExitCode
from benchmarks.distribution.coordinator import Display
from benchmarks.distribution.engines import Engine
from benchmarks.distribution.node import Outcome, ShardTask, run_shard
from benchmarks.distribution.verification_merging import write_shard
from benchmarks.distribution.verification_shards import VerificationDistribution, execute
from benchmarks.merge import command as merge_command
from benchmarks.records import certificates
from benchmarks.records.certificates import FRAMEWORK_CHECKS, Finding
from benchmarks.runtime.environments import pinned_version
from benchmarks.runtime.errors import BadInput, WorkerFailed
from benchmarks.verification.verify_run import Verification, VerifyRequest, certificate_of
from benchmarks.verify import command as verify_command
from frameworks.registry import FRAMEWORKS
from tests.command_line import exit_code_of
from tests.processes import linux, processes, require

ROOT = Path(__file__).parents[2]
verify, merge = map(exit_code_of, (verify_command, merge_command))

FILES = f"""
import sys
import time

sys.path.insert(0, {str(ROOT)!r})

from frameworks.spec import Dense, Flatten, Network, ReLU
from tests.fake_adapter import Correct

def network(name, width):
    return Network(name, (1, 4, 4), [Flatten(), Dense("hidden", width), ReLU(), Dense("output", 3)])

def one():
    return network("one", 4)

def two():
    return network("two", 5)

def three():
    return network("three", 6)

class First(Correct):
    "Verifying the second network takes long enough to be killed in it."

    @staticmethod
    def versions():
        return {{"first": "1.0"}}

    def train(self, order, batch_size, lrs, seed):
        if self.network.name == "two":
            time.sleep(0.1)
        return super().train(order, batch_size, lrs, seed)

class Second(Correct):
    "Computes other losses than the reference on the third network."

    @staticmethod
    def versions():
        return {{"second": "1.0"}}

    def train(self, order, batch_size, lrs, seed):
        return super().train(order, batch_size, lrs * (1.5 if self.network.name == "three" else 1), seed)
"""
NETS = ("one", "two", "three")
FINDINGS = 2 * 2 * (1 + len(NETS))  # frameworks, precisions, parts


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The networks and adapters; findings are stored in a cache of their own."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "files.py").write_text(FILES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONESPEC_CACHE", str(folder / "cache"))
        yield folder / "files.py"


@pytest.fixture(scope="module")
def what(file: Path) -> list[str]:
    """The options of three networks in two frameworks, one of which is wrong on the third network."""
    adapters = [f"--adapter={file}:First", f"--adapter={file}:Second"]
    nets = ",".join(f"{file}:{name}" for name in NETS)
    return ["--net", nets, *adapters, "--fw", "first,second", "--steps", "2"]


@pytest.fixture(scope="module")
def whole(what: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[Finding]:
    """The findings of the verification in one go."""
    out = tmp_path_factory.mktemp("whole")
    assert verify([*what, "--out", str(out), "-q"]) == ExitCode.FAILED
    findings = findings_in(out)
    assert len(findings) == FINDINGS
    assert {finding.framework for finding in findings if not finding.certified} == {"second"}
    return findings


@pytest.fixture
def request_of(what: list[str], file: Path) -> Callable[..., VerifyRequest]:
    """The request of these options."""

    def make(out: Path, *nets: str, **changes: Any) -> VerifyRequest:
        return VerifyRequest(
            net=tuple(f"{file}:{name}" for name in nets or NETS),
            frameworks="first,second",
            adapters=(f"{file}:First", f"{file}:Second"),
            steps=2,
            out=out,
            **changes,
        )

    return make


def findings_in(out: Path) -> list[Finding]:
    """The findings of a certificate, without the commit of this checkout, which may change meanwhile."""
    return [msgspec.structs.replace(finding, commit=None) for finding in certificates.read(out).findings]


def shard(out: Path, number: int) -> Path:
    return out / "shards" / str(number) / "certificate"


# --- submitit ---------------------------------------------------------------------------------------------------------


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.verify", *arguments, "--executor", "submitit:local"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(process: subprocess.Popen[str], happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        if happened():
            return
        time.sleep(0.05)
    process.kill()
    pytest.fail(f"it did not happen: {process.communicate()[0]}")


def is_verifying(out: Path, number: int) -> bool:
    """Whether the workers of a shard have started, and it has no finding yet."""
    log = shard(out, number).parent / "log.txt"
    started = log.is_file() and "second: starting the worker" in log.read_text()
    return started and not (shard(out, number) / "certificate.json").exists()


@linux
def test_a_killed_job_is_run_again_and_the_certificate_is_that_in_one_go(
    what: list[str], whole: list[Finding], tmp_path: Path
) -> None:
    require("submitit")
    out = tmp_path / "out"
    process = start(*what, "--out", str(out))
    wait_for(process, lambda: is_verifying(out, 3))
    (job,) = processes("submitit.core._submit", str(out))
    os.kill(job, signal.SIGKILL)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == ExitCode.FAILED, output  # of the framework that differs
    assert output.count("; it is run again") == 1, output
    assert "two: lost (" in output and "4 of 4 done" in output, output
    assert findings_in(out) == whole
    assert (out / "certificate.md").is_file()
    assert not processes("benchmarks.distribution.shard_process", str(out))


@linux
def test_a_stopped_verification_goes_on(what: list[str], whole: list[Finding], tmp_path: Path) -> None:
    """What has ended is not verified again."""
    require("submitit")
    out = tmp_path / "out"
    process = start(*what, "--out", str(out))
    wait_for(process, lambda: is_verifying(out, 3))
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == ExitCode.STOPPED and f"{out}; continue with: " in output, output
    assert " --resume\n" in output
    assert not (out / "certificate.json").exists()
    ended = [(shard(out, number) / "shard.json").stat().st_mtime_ns for number in (1, 2)]
    resumed = start(*what, "--out", str(out), "--resume")
    output, _ = resumed.communicate(timeout=300)
    assert resumed.returncode == ExitCode.FAILED, output
    assert [(shard(out, number) / "shard.json").stat().st_mtime_ns for number in (1, 2)] == ended
    assert findings_in(out) == whole


# --- in this process --------------------------------------------------------------------------------------------------


class Here(Engine):
    """Runs shards in this process, as nodes that share the folder. Notes their numbers."""

    where = "here"

    def __init__(self, files: Mapping[str, str] | None = None, lost: Sequence[int] = ()) -> None:
        self.files, self.lost = files, lost
        self.tasks, self.numbers = list[ShardTask](), list[int]()

    def nodes(self, numbers: Sequence[int]) -> Mapping[int, str]:
        return dict.fromkeys(numbers, "here")

    def places(self) -> int:
        return 1 - len(self.tasks)

    def start(self, tasks: Sequence[ShardTask]) -> Mapping[int, str]:
        self.tasks += tasks
        self.numbers += [task.number for task in tasks]
        return {task.number: "here" for task in tasks}

    def ended(self) -> Sequence[tuple[ShardTask, Outcome]]:
        tasks, self.tasks = self.tasks, []
        return [(task, Outcome(None) if task.number in self.lost else self.outcome(task)) for task in tasks]

    def outcome(self, task: ShardTask) -> Outcome:
        return run_shard(task)

    def stop(self) -> None:
        pass


class Apart(Here):
    """Nodes that do not share the folder."""

    def outcome(self, task: ShardTask) -> Outcome:
        return run_shard(replace(task, token="of another folder"), self.files)


class Lines(Display):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, line: str) -> None:
        self.lines.append(line)


def verified(request: VerifyRequest, engine: Here) -> tuple[list[Finding], list[str], list[str]]:
    """The findings, what is missing, and the messages."""
    run = VerificationDistribution.of(request, ["test"])
    run.display = display = Lines()
    verification, missing = execute(run, engine, write_pages=lambda certificate, folder: None)
    assert request.out and certificates.read(request.out) == verification.certificate
    return findings_in(request.out), missing, display.lines


def of_nets(findings: Sequence[Finding], *nets: str) -> list[Finding]:
    """The findings on these networks, and on the frameworks."""
    return [each for each in findings if each.net == FRAMEWORK_CHECKS or each.net.rpartition(":")[2] in nets]


def test_nodes_without_the_folder_return_their_certificates(
    whole: list[Finding], request_of: Callable[..., VerifyRequest], tmp_path: Path
) -> None:
    findings, missing, _ = verified(request_of(tmp_path / "out", "one"), Apart({}))
    assert missing == [] and findings == of_nets(whole, "one")


def test_a_part_that_is_lost_again_and_again_is_given_up_and_resumed(
    whole: list[Finding], request_of: Callable[..., VerifyRequest], file: Path, tmp_path: Path
) -> None:
    """Also with other parts: then the findings on the earlier ones are kept."""
    out = tmp_path / "out"
    engine = Here(lost=[2])
    findings, missing, _ = verified(request_of(out, "one", "three"), engine)
    assert sorted(engine.numbers) == [1, 2, 2, 2, 3]
    assert missing == [
        f"{file}:one: lost (the node is lost); given up after 3 attempts",
        f"{file}:one: in none of the folders",
    ]
    assert findings == of_nets(whole, "three")
    engine = Here()
    findings, missing, _ = verified(request_of(out, "one", "three", resume=True), engine)
    assert sorted(engine.numbers) == [2, 3], "a network that differs is verified again, as without an executor"
    assert missing == [] and findings == of_nets(whole, "one", "three")
    engine = Here()
    findings, missing, _ = verified(request_of(out, "one", resume=True), engine)  # other parts
    assert [each for each in findings if each.net.endswith("one") or each.net == FRAMEWORK_CHECKS] == of_nets(
        whole, "one"
    )
    assert len(findings) == FINDINGS - 4, "the findings on the other network are kept"
    findings, missing, _ = verified(request_of(out, "three", resume=True), Here(lost=[2]))
    assert len(missing) == 2 and len(findings) == FINDINGS - 4, "also if they cannot be continued"
    findings, missing, _ = verified(request_of(out, "three"), Here(lost=[2]))
    assert len(missing) == 2 and findings == of_nets(whole, "one"), "findings that were to be made again are not kept"
    with pytest.raises(BadInput, match=f"--resume: the certificate in {out} was made with --steps 2"):
        verified(replace(request_of(out, "one", resume=True), steps=3), Here())


def test_nothing_is_merged_if_no_part_was_verified(request_of: Callable[..., VerifyRequest], tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(WorkerFailed, match="no shard has run; framework checks: lost"):
        verified(request_of(out, "one"), Here(lost=[1, 2]))
    assert not (out / "certificate.json").exists()


def test_the_folder_of_something_else_is_refused(request_of: Callable[..., VerifyRequest], tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "mine").touch()
    with pytest.raises(BadInput, match="shards in it is not that of a verification; name another folder"):
        verified(request_of(tmp_path, "one"), Here())
    (tmp_path / "distribution.json").write_text('{"shards": 3, "options": {}}')
    with pytest.raises(BadInput, match=r"its distribution\.json is not that of a verification; name another folder"):
        verified(request_of(tmp_path, "one"), Here())
    assert (tmp_path / "shards" / "mine").exists()


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({}, [1]),
        ({"versions": {"torch": "0.1+cpu"}}, [1, 2]),
        ({"code": {"adapter": "other"}}, [1, 2]),
        ({"case_sha256": "0" * 64}, [1, 2]),
        ({"framework": "jax"}, [1, 2]),
    ],
    ids=["the same", "another version", "other code", "another network", "another framework"],
)
def test_what_no_longer_holds_is_verified_again(
    changes: dict[str, Any], left: list[int], whole: list[Finding], tmp_path: Path
) -> None:
    """Of two parts, the second has a finding. No worker is started to know whether it holds."""
    run = VerificationDistribution.of(VerifyRequest(("mlp",), "torch", out=tmp_path, resume=True), ["test"])
    version = pinned_version(FRAMEWORKS["torch"])
    finding = msgspec.structs.replace(
        next(each for each in whole if each.certified),
        **{
            "net": "mlp",
            "framework": "torch",
            "versions": {"torch": f"{version}+cpu"},
            "code": code_parts("frameworks.pytorch"),
            "case_sha256": case_sha256("mlp"),
            **changes,
        },
    )
    request = replace(run.request, out=shard(tmp_path, 2), shard=(2, 2))
    shard(tmp_path, 2).mkdir(parents=True)
    certificate = certificate_of(request, [[finding]], [], ["test"])
    certificates.write(certificate, shard(tmp_path, 2))
    write_shard(request, Verification(certificate, [finding], ()))
    (tmp_path / "distribution.json").write_text(json.dumps(msgspec.to_builtins(run.info)))
    assert run.unfinished() == left


# --- shards without an executor ---------------------------------------------------------------------------------------


def test_shards_are_merged_in_any_order(
    what: list[str], whole: list[Finding], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two shards of four parts each have two. Shards of another verification are refused."""
    for number in (1, 2):
        code = verify([*what, "--shard", f"{number}/2", "--out", str(tmp_path / str(number)), "-q"])
        assert code == (ExitCode.FAILED if number == 2 else ExitCode.OK)
    assert merge([f"{tmp_path}/2", f"{tmp_path}/1", "-o", str(tmp_path / "merged"), "-q"]) == ExitCode.FAILED
    assert findings_in(tmp_path / "merged") == whole
    capsys.readouterr()
    assert merge([f"{tmp_path}/1", "-o", str(tmp_path / "half"), "-q"]) == ExitCode.FAILED
    lines = capsys.readouterr().err.splitlines()
    assert [line.rpartition(":")[0].rpartition(":")[2] for line in lines] == ["one", "three"]
    assert merge([f"{tmp_path}/1", f"{tmp_path}/1", "-o", str(tmp_path / "new")]) == ExitCode.BAD_INPUT
    assert "both are shard 1; leave one out" in capsys.readouterr().err
    certificate = certificates.read(tmp_path / "2")
    certificates.write(msgspec.structs.replace(certificate, seed=1), tmp_path / "2")
    assert merge([f"{tmp_path}/1", f"{tmp_path}/2", "-o", str(tmp_path / "new")]) == ExitCode.BAD_INPUT
    assert "its certificate and its shard.json differ: seed; verify it again" in capsys.readouterr().err
    findings = [msgspec.structs.replace(each, versions={"second": "2.0"}) for each in certificate.findings]
    certificates.write(msgspec.structs.replace(certificate, findings=findings), tmp_path / "2")
    assert merge([f"{tmp_path}/1", f"{tmp_path}/2", "-o", str(tmp_path / "new")]) == ExitCode.BAD_INPUT
    assert "its packages differ; verify one of them again" in capsys.readouterr().err
    record = json.loads((tmp_path / "2" / "shard.json").read_text())
    record["info"]["size"] = "full"
    (tmp_path / "2" / "shard.json").write_text(json.dumps(record))
    assert merge([f"{tmp_path}/1", f"{tmp_path}/2", "-o", str(tmp_path / "new")]) == ExitCode.BAD_INPUT
    assert "not one verification: size differ" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--dry-run"], "--dry-run: --executor is missing; write submitit, submitit:local or ray\n"),
        (["--executor", "ray"], "--executor ray: --out is missing; name the folder of the certificate\n"),
        (["--shard", "1/2"], "--shard 1/2: --out is missing; name the folder of the certificate\n"),
        (
            ["--executor", "ray", "--out", "new", "--shard", "1/2"],
            "--shard 1/2: --executor ray runs all shards; leave one option out\n",
        ),
        (
            ["--executor", "ray", "--out", "new", "--read", "."],
            "--executor ray: --read . verifies nothing; leave one option out\n",
        ),
        (
            ["--executor", "ray", "--out", "new", "--executor-option", "partition=cpu"],
            "--executor-option partition=cpu: only --executor submitit takes it\n",
        ),
        (["--ray-address", "auto"], "--ray-address auto: only --executor ray takes it\n"),
        (
            ["--executor", "submitit:local", "--out", "new", "--seed", "0-2"],
            "--out takes the certificate of a single --seed\n",
        ),
        (["--executor", "submitit:local", "--resume"], "--executor submitit:local: --out is missing; name the folder "
         "of the certificate\n"),
        (
            ["--executor", "submitit:local", "--out", "new", "--fw", "first", "--precision", "float32"],
            "--precision float32: frameworks are compared with one another, and all modes and versions of one count as "
            "one; name two or more (--fw)\n",
        ),
        (
            ["--executor", "submitit:local", "--out", "new", "--executor-option", "nodes=2"],
            "--executor-option nodes=2: a shard is one process on one node; leave the option out\n",
        ),
    ],
)  # fmt: skip
def test_a_wrong_option_is_one_line(
    arguments: list[str],
    line: str,
    what: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "submitit:local" in arguments:
        require("submitit")
    monkeypatch.chdir(tmp_path)
    assert verify([*what, *arguments, "-q"]) == ExitCode.BAD_INPUT
    assert capsys.readouterr().err == line
    assert not list(tmp_path.iterdir())


def test_a_shard_without_parts_is_refused(
    what: list[str], file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify([*what, "--shard", "1/5", "--out", str(tmp_path / "out"), "-q"]) == ExitCode.BAD_INPUT
    assert capsys.readouterr().err == (
        f"--shard 1/5: there are 4 parts, framework checks, {file}:one, {file}:two ...; write at most 4 shards\n"
    )


@pytest.mark.parametrize("executor", ["submitit", "submitit:local", "ray"])
def test_a_dry_run_prints_what_would_run_where(
    executor: str, what: list[str], file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require(executor.partition(":")[0])
    given = [*what, "--executor", executor, "--dry-run", "--out", str(tmp_path / "out"), "-q"]
    assert verify(given) == 0
    assert f"--shard 1/4 --out {tmp_path}/out/shards/1/certificate" in capsys.readouterr().out
    assert verify([*given, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    parts = [FRAMEWORK_CHECKS, *(f"{file}:{name}" for name in NETS)]
    assert [(row["shard"], row["part"]) for row in rows] == [(f"{i}/4", part) for i, part in enumerate(parts, 1)]
    assert all(row["where"] and row["memory (MiB)"] and row["estimate (s)"] for row in rows)
    assert not list(tmp_path.iterdir())

"""Environments created with venv and pip from tiny packages that the tests write: no network is needed."""

from __future__ import annotations

import ast
import importlib.util
import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from packaging.requirements import Requirement

from benchmarks import run, speed, verify
from benchmarks.cli.exit_codes import ExitCode
from benchmarks.runtime import environments
from benchmarks.runtime.devices import Kind
from benchmarks.runtime.environments import Environment, FrameworkRequest, environment, parse_frameworks
from benchmarks.runtime.errors import BadInput
from frameworks.errors import Unavailable
from frameworks.registry import COMPANIONS, FRAMEWORKS, FrameworkInfo, in_all
from tests.command_line import exit_code_of
from tests.conftest import heed_interrupts

ROOT = Path(environments.__file__).parents[2]

# Replaces the metadata of the installed onespec. `fakenet` is a framework with one dependency, `fakebase`.
METADATA = """Metadata-Version: 2.1
Name: onespec
Version: 0
Requires-Dist: filelock
Requires-Dist: packaging; python_version >= "3"
Requires-Dist: nothing-anywhere; sys_platform == "nowhere" and extra == "fake"
Requires-Dist: fakenet[fast]==1.0; extra == "fake"
Requires-Dist: fakebase; extra == "fake"
Requires-Dist: fakenet[gpu]==1.0; extra == "fake-cuda"
Requires-Dist: slownet==1.0; extra == "slow"
Requires-Dist: fakenet==9.9; extra == "lost"
Requires-Dist: fakenet==2.0; extra == "clash"
Requires-Dist: fakebase==1.0; extra == "clash"
"""
FAKES = {
    "fake": FrameworkInfo("fake", "Fake", "", "", "FakeNet", python=">=3.10"),
    "slow": FrameworkInfo("slow", "Slow", "", "", "slownet", python=">=3.10"),
    "lost": FrameworkInfo("lost", "Lost", "", "", "fakenet", python=">=3.10"),
    "clash": FrameworkInfo("clash", "Clash", "", "", "fakenet", python=">=3.10"),
    "new": FrameworkInfo("new", "New", "", "", "fakenet", python=">=3.10"),  # which the metadata does not know
}

# Builds slownet in two steps: it writes its process group to `started`, then waits until `go` exists.
# It holds a lock on `alive` until it ends.
BACKEND = """
import fcntl, os, pathlib, time, zipfile
def build_wheel(folder, config_settings=None, metadata_directory=None):
    meeting = pathlib.Path({meeting!r})
    alive = open(meeting / "alive", "w")
    fcntl.flock(alive, fcntl.LOCK_SH)
    (meeting / "starting").write_text(str(os.getpgrp()))
    (meeting / "starting").rename(meeting / "started")
    while not (meeting / "go").exists():
        time.sleep(0.02)
    with zipfile.ZipFile(pathlib.Path(folder) / "slownet-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("slownet.py", "")
        info = "slownet-1.0.dist-info"
        wheel.writestr(f"{{info}}/METADATA", "Metadata-Version: 2.1\\nName: slownet\\nVersion: 1.0\\n")
        wheel.writestr(f"{{info}}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{{info}}/RECORD", "")
    return "slownet-1.0-py3-none-any.whl"
"""

# A process that creates the environment of `slow` and prints its progress.
RUN = """
from benchmarks.runtime.environments import FrameworkRequest, environment
from frameworks.registry import FRAMEWORKS, FrameworkInfo
FRAMEWORKS["slow"] = FrameworkInfo("slow", "Slow", "", "", "slownet", python=">=3.10")
created = environment(FrameworkRequest("slow"), {}, device="cpu", progress=lambda line: print(line, flush=True))
print(created.python, flush=True)
"""


def write_wheel(folder: Path, name: str, version: str, *requires: str) -> None:
    info = f"{name}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    metadata += [f"Requires-Dist: {each}" for each in requires]
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", f"version = {version!r}\n")
        wheel.writestr(f"{info}/METADATA", "\n".join(metadata) + "\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def write_installed(folder: Path, name: str, version: str, metadata: str = "") -> Path:
    """Write the metadata of an installed distribution to a folder for sys.path."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(metadata or f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return folder


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All packages that pip can find."""
    folder = tmp_path_factory.mktemp("index")
    for version in ("1.0", "2.0"):
        write_wheel(folder, "fakebase", version)
        write_wheel(folder, "fakenet", version, f"fakebase>={version}")
    return folder


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache for all tests of this file: creating an environment takes seconds."""
    return tmp_path_factory.mktemp("shared-cache")


@pytest.fixture(autouse=True)
def world(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Fake frameworks in the registry and in the metadata, pip limited to the index, an empty cache: its folder."""
    for name, info in FAKES.items():
        monkeypatch.setitem(FRAMEWORKS, name, info)
    metadata = write_installed(tmp_path / "metadata", "onespec", "0", METADATA)
    monkeypatch.syspath_prepend(metadata)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(metadata), str(ROOT)]))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setenv("ONESPEC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def meeting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder in which the build of slownet writes `started` and waits for `go`; it ends with the test."""
    folder = tmp_path / "meeting"
    source = folder / "slownet-1.0"
    source.mkdir(parents=True)
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (source / "backend.py").write_text(BACKEND.format(meeting=str(folder)))
    with tarfile.open(folder / "slownet-1.0.tar.gz", "w:gz") as archive:
        archive.add(source, source.name)
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    yield folder
    (folder / "go").touch()
    wait_until_dead(folder)


def wait_until_started(meeting: Path, run: subprocess.Popen[str]) -> int:
    """The process group of the pip that builds slownet, when it is half-way."""
    while not (meeting / "started").exists():
        assert run.poll() is None, run.communicate()[1]
        time.sleep(0.02)  # pytest's timeout ends this loop if that never happens
    return int((meeting / "started").read_text())


def wait_until_dead(meeting: Path) -> None:
    """Wait until every build of slownet has ended; each of them holds this lock."""
    with FileLock(meeting / "alive", timeout=60):
        pass


def start_run(world: Path) -> subprocess.Popen[str]:
    """A process that creates the environment of `slow`, outside of the checkout, which may have metadata of onespec."""
    world.mkdir(exist_ok=True)
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", RUN],
        cwd=world,
        stdout=pipe,
        stderr=pipe,
        text=True,
        start_new_session=True,
        preexec_fn=heed_interrupts,
    )


def make(name: str, version: str | None = None, pythons: dict[str, str] | None = None) -> tuple[Environment, list[str]]:
    """The environment of a framework, and the lines of progress."""
    lines: list[str] = []
    return environment(FrameworkRequest(name, "", version), pythons or {}, device="cpu", progress=lines.append), lines


def folders(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "environments").iterdir() if path.is_dir())


def ask(python: Path, code: str) -> str:
    return subprocess.run([python, "-I", "-c", code], check=True, capture_output=True, text=True).stdout.strip()


# The values of --fw


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("torch", ["torch"]),
        (" mxnet , torch ", ["mxnet", "torch"]),
        ("all", [name for name in in_all() if name not in FAKES]),
        ("torch==2.12.1,torch==2.13.0", ["torch==2.12.1", "torch==2.13.0"]),
        ("torch,torch==2.13.0+cpu", ["torch", "torch==2.13.0+cpu"]),
        ("torch:compile", ["torch:compile"]),
        ("torch:compile==2.12.1,torch", ["torch:compile==2.12.1", "torch"]),
    ],
)
def test_frameworks_are_parsed(text: str, labels: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in FAKES:
        monkeypatch.delitem(FRAMEWORKS, name)
    assert [each.label for each in parse_frameworks(text)] == labels


def test_mode_and_version_are_parsed_separately() -> None:
    assert parse_frameworks("torch:compile==2.12.1") == [FrameworkRequest("torch", "compile", "2.12.1")]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "no such framework; write all, or some of torch, mxnet, keras, jax, keras@jax, keras@torch"),
        ("torch,,mxnet", "--fw '': no such framework"),
        ("torhc", "--fw 'torhc': no such framework"),
        ("torch=2.12.1", "write NAME[:MODE][==VERSION]"),
        ("torch>=2.12.1", "write NAME[:MODE][==VERSION]"),
        ("torch:", "write NAME[:MODE][==VERSION]"),
        ("torch==", "'' is not a version"),
        ("torch==newest", "'newest' is not a version"),
        ("torch,torch", "torch is listed twice"),
        ("all,mxnet", "mxnet is listed twice"),
        ("torch==2.12.1,torch==2.12.1", "torch==2.12.1 is listed twice"),
    ],
)
def test_an_unknown_framework_is_bad_input(text: str, part: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_frameworks(text)
    message = str(caught.value)
    assert message.startswith("--fw ") and part in message and "\n" not in message


# Requirements


@pytest.mark.parametrize(
    ("name", "version", "device", "expected"),
    [
        ("fake", None, "cpu", ["fakenet[fast]==1.0", "fakebase"]),
        ("fake", "2.0", "cpu", ["fakenet[fast]==2.0", "fakebase"]),
        ("fake", None, "cuda", ["fakenet[gpu]==1.0"]),
        ("fake", "2.0", "cuda", ["fakenet[gpu]==2.0"]),
        ("slow", None, "cuda", ["slownet==1.0"]),
    ],
)
def test_requirements_are_read_from_metadata(name: str, version: str | None, device: Kind, expected: list[str]) -> None:
    assert [str(each) for each in environments.requirements(FAKES[name], version, device)] == expected


def test_requirements_without_metadata_say_how_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(BadInput, match=r"pip install -e \."):
        environments.requirements(FAKES["fake"], None, "cpu")


def test_requirements_without_the_extra_say_how_to_install() -> None:
    with pytest.raises(BadInput, match=r"--fw new: .*pip install -e \."):
        environments.requirements(FAKES["new"], None, "cpu")


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        ("fakenet", True),
        ("outside", False),
        ("fakenet==1.0", True),
        ("FakeNet>=0.9", True),
        ("fakenet==2.0", False),
        ("absent", False),
        ("fakenet[fast]==1.0", True),
        ("fakenet[gpu]==1.0", False),
    ],
)
def test_satisfied(requirement: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extras = 'Requires-Dist: fakebase; extra == "fast"\nRequires-Dist: fakebase>=2; extra == "gpu"\n'
    head = "Metadata-Version: 2.1\nName: fakenet\nVersion: 1.0+cpu\n"
    monkeypatch.syspath_prepend(write_installed(tmp_path / "net", "fakenet", "1.0+cpu", head + extras))
    monkeypatch.syspath_prepend(write_installed(tmp_path / "base", "fakebase", "1.5"))
    monkeypatch.syspath_prepend(write_installed(tmp_path / "outside", "outside", "1.0"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "outside"))  # workers do not inherit it
    assert environments.satisfied(Requirement(requirement)) is expected


def test_running_interpreter_that_has_everything_is_used(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("fakenet", "fakebase"):
        monkeypatch.syspath_prepend(write_installed(tmp_path / name, name, "1.0"))
    created, lines = make("fake")
    assert created == Environment(Path(sys.executable), ("fakenet[fast]==1.0", "fakebase"), "running interpreter")
    assert lines == [] and not world.exists()


# The cache


@pytest.fixture
def created(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """An environment that has fakenet 1.0, created once."""
    monkeypatch.setenv("ONESPEC_CACHE", str(shared_cache))
    return make("fake")[0]


def test_environment_is_created_in_the_cache(world: Path) -> None:
    created, lines = make("fake")
    [home] = folders(world)
    assert created.origin == "cache" and created.requirements == ("fakenet[fast]==1.0", "fakebase")
    assert created.python == world / "environments" / home / "bin" / "python"
    assert lines[0] == "fake: installing fakenet[fast]==1.0, fakebase into the cache (once, takes minutes)"
    assert len(lines) == 2 and lines[1].startswith("fake: installed in ")


def test_moved_environment_imports_what_was_installed(created: Environment) -> None:
    assert ask(created.python, "import fakenet; print(fakenet.version)") == "1.0"
    assert Path(ask(created.python, "import fakenet; print(fakenet.__file__)")).is_relative_to(
        created.python.parents[1]
    )
    assert ask(created.python, "import sys; print(sys.prefix)") == str(created.python.parents[1].resolve())


def test_moved_environment_has_a_pip_that_works(created: Environment) -> None:
    listed = subprocess.run(
        [created.python, "-I", "-m", "pip", "list"], check=True, capture_output=True, text=True
    ).stdout
    assert "fakenet" in listed and "filelock" not in listed


def test_installed_versions(created: Environment) -> None:
    running = ".".join(map(str, sys.version_info[:3]))
    assert environments.installed_versions(created.python, ["FakeNet", "fakebase", "absent"]) == {
        "python": running,
        "FakeNet": "1.0",
        "fakebase": "2.0",
    }


def test_environment_is_created_once(created: Environment) -> None:
    assert make("fake") == (created, [])


def test_each_version_has_an_environment(created: Environment) -> None:
    other, _ = make("fake", "2.0")
    assert ask(other.python, "import fakenet; print(fakenet.version)") == "2.0"
    assert ask(created.python, "import fakenet; print(fakenet.version)") == "1.0"


def test_environment_whose_python_was_removed_is_created_again(shared_cache: Path, created: Environment) -> None:
    created.python.unlink()
    created.python.symlink_to(shared_cache / "gone")
    again, lines = make("fake")
    assert again == created and len(lines) == 2
    assert ask(again.python, "import fakenet; print(fakenet.version)") == "1.0"


def test_packages_on_pythonpath_are_ignored(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = write_installed(tmp_path / "outside", "fakebase", "1.0")
    monkeypatch.setenv("PYTHONPATH", str(outside))
    monkeypatch.setenv("PIP_USER", "1")
    monkeypatch.chdir(outside)
    assert ask(make("fake")[0].python, "import fakebase; print(fakebase.version)") == "2.0"


def test_two_runs_at_once_create_one_environment(world: Path, meeting: Path) -> None:
    first = start_run(world)
    wait_until_started(meeting, first)
    second = start_run(world)
    assert second.stdout and second.stdout.readline() == "slow: another run is installing it; waiting\n"
    (meeting / "go").touch()
    (first_said, first_error), (second_said, second_error) = first.communicate(), second.communicate()
    assert (first.returncode, second.returncode) == (0, 0), first_error + second_error
    [home] = folders(world)
    *lines, python = first_said.splitlines()
    assert python == str(world / "environments" / home / "bin" / "python")
    assert lines[0].startswith("slow: installing slownet==1.0 ") and second_said.splitlines() == [python]


@pytest.mark.parametrize("pip_lives_on", [False, True])
def test_a_killed_run_leaves_no_environment(world: Path, meeting: Path, pip_lives_on: bool) -> None:
    killed = start_run(world)
    pip = wait_until_started(meeting, killed)
    killed.kill()
    killed.communicate()
    if not pip_lives_on:
        os.killpg(pip, signal.SIGKILL)
    assert [name.endswith(".part") for name in folders(world)] == [True]
    (meeting / "go").touch()
    created, lines = make("slow")
    assert len(lines) == 2
    assert ask(created.python, "import slownet; print(slownet.__name__)") == "slownet"
    if not pip_lives_on:
        assert folders(world) == [created.python.parents[1].name]


def test_interrupt_ends_pip_and_removes_its_files(world: Path, meeting: Path) -> None:
    interrupted = start_run(world)
    wait_until_started(meeting, interrupted)
    interrupted.send_signal(signal.SIGINT)
    _, error = interrupted.communicate()
    assert "KeyboardInterrupt" in error and interrupted.returncode == -signal.SIGINT
    assert folders(world) == []
    wait_until_dead(meeting)  # though `go` never came


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("lost", "installing fakenet==9.9: No matching distribution found for fakenet==9.9 (log: "),
        ("clash", "installing fakenet==2.0, fakebase==1.0: Cannot install fakebase==1.0 and fakenet==2.0 because "),
    ],
)
def test_a_failed_installation_is_unavailable(world: Path, name: str, reason: str) -> None:
    with pytest.raises(Unavailable) as caught:
        make(name)
    message = str(caught.value)
    assert message.startswith(reason) and "\n" not in message
    assert "ERROR: " in Path(message.partition("(log: ")[2].removesuffix(")")).read_text()
    assert folders(world) == []


def test_cache_that_cannot_be_written_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ONESPEC_CACHE", str(tmp_path / "file"))
    with pytest.raises(Unavailable, match=r"file: .*; set ONESPEC_CACHE to another folder"):
        make("fake")


# Which Python


@pytest.fixture
def no_python_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The running interpreter counts as too old for `fake`; PATH is unchanged."""
    monkeypatch.setattr(environments, "RUNNING", "3.1.0")


def write_command(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.usefixtures("no_python_fits")
def test_python_that_fits_is_found_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_command(tmp_path / "python3.99", "echo not selected >&2; exit 127")
    write_command(tmp_path / "python3.98", """echo '{"python": "3.0.1"}'""")
    write_command(tmp_path / "python3.11", f'exec {sys.executable} "$@"')
    write_command(tmp_path / "python3.11-config", "exit 1")
    write_command(tmp_path / "python3.9", """echo '{"python": "3.10.1"}'""")  # fits, but the newest is taken
    monkeypatch.setenv("PATH", f"{tmp_path / 'no such folder'}{os.pathsep}{tmp_path}{os.pathsep}/bin")
    created, _ = make("fake")
    assert created.origin == "cache" and ask(created.python, "import fakenet; print(fakenet.version)") == "1.0"


@pytest.mark.usefixtures("no_python_fits")
def test_running_interpreter_that_does_not_fit_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("fakenet", "fakebase"):
        monkeypatch.syspath_prepend(write_installed(tmp_path / name, name, "1.0"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable) as caught:
        make("fake")
    assert str(caught.value) == (
        "needs Python >=3.10; this is 3.1.0 and PATH has no such version: install one, or name an interpreter "
        "that has FakeNet: --python fake=/path/to/python"
    )


@pytest.mark.parametrize("key", ["fake", "fake==1.0"])
def test_named_python_is_used_as_it_is(created: Environment, key: str) -> None:
    pythons = {"fake": "nowhere", key: str(created.python)}
    assert make("fake", "1.0", pythons) == (Environment(created.python, (), "named with --python"), [])


@pytest.mark.parametrize("text", ["python", "./python", "../bin/python", "~/python"])
def test_named_python_is_found(created: Environment, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = created.python.parent
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    python = make("fake", None, {"fake": text})[0].python
    assert python.is_absolute() and python.samefile(created.python)
    assert ask(python, "import fakenet; print(fakenet.version)") == "1.0"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("/nowhere/python", "no such interpreter"),
        ("no-such-python", "no such interpreter"),
        ("", "no such interpreter"),
        ("/", "no such interpreter"),
        ("true", "does not run as a Python interpreter"),
        ("false", "does not run as a Python interpreter"),
        ("echo", "does not run as a Python interpreter"),
        (sys.executable, "has no FakeNet"),
        ("~nobody-of-this-name/python", "no such interpreter"),
        ("p" * 5000, "no such interpreter"),
    ],
)
def test_named_python_that_cannot_be_used_is_bad_input(text: str, part: str) -> None:
    with pytest.raises(BadInput) as caught:
        make("fake", None, {"fake": text})
    message = str(caught.value)
    assert message.startswith(f"--python fake={text}: ") and part in message and "\n" not in message


@pytest.mark.parametrize("name", COMPANIONS)
def test_an_interpreter_can_be_named_for_a_companion(name: str) -> None:
    with pytest.raises(BadInput, match=f"^--python {name}=.*: that Python .* has no {name}; install it there"):
        environment(FrameworkRequest(name), {name: sys.executable}, device="cpu", progress=print)


@pytest.mark.parametrize(
    "output", ["{}", "[]", "null", "3", '"text"', '{"python": 3}', '{"python": "x"}', '{"a": "1"}']
)
def test_a_program_that_prints_something_else_is_bad_input(output: str, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho '{output}'\n")
    program.chmod(0o755)
    with pytest.raises(BadInput, match=r"^--python fake=.*: it does not run as a Python interpreter \(\w+\)$"):
        make("fake", None, {"fake": str(program)})


@pytest.mark.parametrize(
    "cache", ["a file", "/dev/null", "/proc/nothing", "/tmp/" + "x" * 5000], ids=lambda text: text[:20]
)
def test_a_cache_that_cannot_be_used_is_bad_input(
    cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the work: the environments, converted data sets and certificates go there."""
    monkeypatch.chdir(tmp_path)
    Path("a file").touch()
    monkeypatch.setenv("ONESPEC_CACHE", cache)
    for command in (run.command, verify.command, speed.command):
        assert exit_code_of(command)(["--net", "mlp"]) == ExitCode.BAD_INPUT
        error = capsys.readouterr().err
        assert error.startswith("the cache /") and error.count("\n") == 1
        assert error.endswith("; set ONESPEC_CACHE to a folder that can be written\n")
    assert not list(tmp_path.glob("results"))


def test_named_python_ignores_pythonpath(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(write_installed(tmp_path / "outside", "fakenet", "1.0")))
    with pytest.raises(BadInput, match="has no FakeNet"):
        make("fake", None, {"fake": sys.executable})


def test_named_python_of_another_version_is_bad_input(created: Environment) -> None:
    with pytest.raises(BadInput, match=r"--python fake=\S+: it has FakeNet 1\.0, not fake==2\.0"):
        make("fake", "2.0", {"fake": str(created.python)})


# The registry

REGISTERED = [pytest.param(info, id=name) for name, info in FRAMEWORKS.items()]


@pytest.mark.parametrize("info", REGISTERED)
def test_the_registry_names_existing_adapters(info: FrameworkInfo) -> None:
    """The module of an adapter is parsed, not imported: it needs the framework."""
    spec = importlib.util.find_spec(info.module)
    assert spec and spec.origin
    assert info.adapter in classes(Path(spec.origin)) or info.adapter in classes(imported(info, Path(spec.origin)))


def classes(file: Path) -> list[str]:
    return [node.name for node in ast.parse(file.read_text()).body if isinstance(node, ast.ClassDef)]


def imported(info: FrameworkInfo, package: Path) -> Path:
    """The file from which a package takes the adapter."""
    imports = [node for node in ast.parse(package.read_text()).body if isinstance(node, ast.ImportFrom)]
    (module,) = [node.module for node in imports if info.adapter in [name.name for name in node.names]]
    return ROOT / f"{str(module).replace('.', '/')}.py"


@pytest.mark.parametrize("info", REGISTERED)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_installed_extra_pins_the_framework(info: FrameworkInfo, device: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the metadata of the installed onespec, not the replacement
    wanted = environments.requirements(info, None, device)
    pins = [str(each.specifier) for each in wanted if each.name in info.packages]
    assert len(pins) == 1 and pins[0].startswith("==")
    assert "==1.2.3" in [str(each.specifier) for each in environments.requirements(info, "1.2.3", device)]


def test_registry_needs_only_the_standard_library() -> None:
    code = f"import sys; sys.path.append({str(ROOT)!r}); import frameworks.registry"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)

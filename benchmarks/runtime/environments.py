"""Finds or creates the interpreter in which each framework runs. Imports no framework: installed metadata is enough.

In this order: the interpreter that `--python` names; the running one, if it meets the requirements of the framework's
extra in pyproject.toml; an environment created once with venv and pip in the user's cache ($ONESPEC_CACHE moves it).
An environment is created in a temporary folder, then renamed. The scripts in its bin/ then have a wrong first line, so
only bin/python is called, which finds its own folder. Workers do not inherit PYTHONPATH, which would mix environments,
so packages that are only on PYTHONPATH are ignored. Linux and macOS.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal
from uuid import uuid4

from filelock import FileLock, Timeout
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version
from platformdirs import user_cache_path

from benchmarks.runtime import user_files
from benchmarks.runtime.devices import Kind
from benchmarks.runtime.errors import BadInput
from benchmarks.runtime.plugins import worker_path
from frameworks.errors import Unavailable
from frameworks.registry import COMPANIONS, FRAMEWORKS, FrameworkInfo, in_all

Note = Callable[[str], None]

RUNNING = ".".join(map(str, sys.version_info[:3]))  # platform.python_version() may have a suffix that specifiers reject


@dataclass(frozen=True)
class FrameworkRequest:
    """One framework of `--fw`: `torch`, `torch==2.12.1`, `torch:compile==2.12.1`."""

    name: str  # in FRAMEWORKS
    mode: str = ""  # "" is the framework's default; an adapter refuses a mode that it does not have
    version: str | None = None  # None: the version that pyproject.toml pins

    @property
    def label(self) -> str:
        return self.name + (f":{self.mode}" if self.mode else "") + (f"=={self.version}" if self.version else "")


@dataclass(frozen=True)
class Environment:
    """An interpreter that has the framework."""

    python: Path
    requirements: tuple[str, ...]  # that it meets; none if the user named the interpreter
    origin: Literal["running interpreter", "named with --python", "cache"]


def parse_frameworks(text: str) -> list[FrameworkRequest]:
    """The frameworks of `--fw`: `all`, or a list such as `torch,torch==2.12.1,mxnet`. Raises BadInput."""
    items = [item.strip() for item in text.split(",")]
    requested = [
        each for item in items for each in (map(FrameworkRequest, in_all()) if item == "all" else [_parse(item)])
    ]
    for i, each in enumerate(requested):
        if each in requested[:i]:
            raise BadInput(f"--fw {text!r}: {each.label} is listed twice")
    return requested


def _parse(item: str) -> FrameworkRequest:
    parts = re.fullmatch(r"([^:=]*)(?::([^=]+))?(?:==(.*))?", item)
    if not parts:
        raise BadInput(f"--fw {item!r}: write NAME[:MODE][==VERSION], for example torch==2.12.1")
    name, mode, version = parts.groups()
    if name not in FRAMEWORKS:
        raise BadInput(f"--fw {item!r}: no such framework; write all, or some of {', '.join(FRAMEWORKS)}")
    try:
        return FrameworkRequest(name, mode or "", None if version is None else str(Version(version)))
    except InvalidVersion:
        raise BadInput(f"--fw {item!r}: {version!r} is not a version; write it as {name}==1.2.3") from None


def parse_pythons(texts: Iterable[str]) -> dict[str, str]:
    """The values of `--python`: an interpreter for each framework or label. Raises BadInput."""
    pythons = {}
    for text in texts:
        name, equals, path = text.rpartition("=")
        if not (name and equals and path):
            raise BadInput(f"--python {text}: write FRAMEWORK=/path/to/python")
        pythons[name] = path
    return pythons


def environment(
    requested: FrameworkRequest, pythons: Mapping[str, str], *, device: Kind, progress: Note
) -> Environment:
    """The interpreter for a framework or a companion; an environment is created if needed.

    pythons: the interpreters of `--python`, by label or framework. progress: called with each line to show.
    Raises BadInput, and Unavailable if there is no interpreter and none can be created.
    """
    info = _info(requested)
    for key in (requested.label, requested.name):
        if key in pythons:
            return Environment(_named(key, pythons[key], requested), (), "named with --python")
    if info.outside:
        if requested.version:
            raise BadInput(f"--fw {requested.label}: name an interpreter that has it: --python {requested.name}=PATH")
        return Environment(Path(sys.executable), (), "running interpreter")
    wanted = requirements(info, requested.version, device)
    texts = tuple(map(str, wanted))
    if RUNNING in SpecifierSet(info.python) and all(map(satisfied, wanted)):
        return Environment(Path(sys.executable), texts, "running interpreter")
    base, version = _base_interpreter(info)
    try:
        return Environment(_cached(requested.label, texts, base, version, progress), texts, "cache")
    except OSError as error:
        raise Unavailable(
            f"cannot create an environment in {cache_folder()}: {error}; set ONESPEC_CACHE to another folder"
        ) from error


def availability(info: FrameworkInfo) -> str:
    """Where a framework would run on this machine, for lists and messages. Installs nothing."""
    if info.outside:
        return "running interpreter"
    wanted = requirements(info, None, "cpu")
    if RUNNING in SpecifierSet(info.python) and all(map(satisfied, wanted)):
        return "running interpreter"
    try:
        _, version = _base_interpreter(info)
    except Unavailable as error:
        return f"unavailable: {error}"
    return "cache" if _runs(_cached_folder(tuple(map(str, wanted)), version)) else "installed on first use"


def pinned_version(info: FrameworkInfo) -> str | None:
    """The version that pyproject.toml pins; None for an adapter from outside."""
    if info.outside:
        return None
    name = canonicalize_name(info.package)
    pins = [each.specifier for each in requirements(info, None, "cpu") if canonicalize_name(each.name) == name]
    return str(pins[0]).removeprefix("==") if pins else None


def check_cache() -> None:
    """Create the cache folder. Raises BadInput if it cannot be used: before the work whose results it will hold."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        usable = os.access(folder, os.W_OK)
        reason = "it cannot be written"
    except OSError as error:
        usable, reason = False, str(error.strerror)
    if not usable:
        raise BadInput(f"the cache {folder}: {reason}; set ONESPEC_CACHE to a folder that can be written")


def cache_folder() -> Path:
    """The folder of environments, data sets and certificates: $ONESPEC_CACHE, or the user's cache folder."""
    return Path(os.environ.get("ONESPEC_CACHE") or user_cache_path("onespec")).absolute()


def requirements(info: FrameworkInfo, version: str | None, device: Kind) -> list[Requirement]:
    """The requirements of a framework's extra in pyproject.toml, with `version` in place of the pin if it is given."""
    name = info.name
    extras = [f"{info.extra}-cuda", info.extra] if device == "cuda" else [info.extra]
    try:
        ours = importlib.metadata.requires("onespec") or []
    except importlib.metadata.PackageNotFoundError:
        ours = []
    wanted = next(filter(None, (of_extra(ours, extra) for extra in extras)), [])
    if not wanted:
        raise BadInput(
            f"--fw {name}: its requirements are unknown without an installed onespec; in the checkout: pip install -e ."
        )
    packages = {canonicalize_name(name) for name in info.packages}
    for requirement in wanted:
        if version and canonicalize_name(requirement.name) in packages:
            requirement.specifier = SpecifierSet(f"=={version}")
    return wanted


def of_extra(requires: Iterable[str], extra: str) -> list[Requirement]:
    """The requirements of a distribution that only this extra adds on this machine."""
    chosen = []
    for requirement in map(Requirement, requires):
        marker, requirement.marker = requirement.marker, None
        if marker and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""}):
            chosen.append(requirement)
    return chosen


def satisfied(requirement: Requirement) -> bool:
    """Whether the running interpreter meets a requirement, extras included."""
    installed = next(iter(importlib.metadata.distributions(name=requirement.name, path=worker_path())), None)
    if not installed or not requirement.specifier.contains(installed.version, prereleases=True):
        return False
    return all(satisfied(each) for extra in requirement.extras for each in of_extra(installed.requires or [], extra))


_PRINT_VERSIONS = """
import importlib.metadata, json, sys
versions = {"python": ".".join(map(str, sys.version_info[:3]))}
for name in sys.argv[1:]:
    try:
        versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(versions))
"""
# The interpreter cannot be started, fails, or prints something else.
_NO_PYTHON = (OSError, subprocess.SubprocessError, ValueError)


def installed_versions(python: Path, packages: Iterable[str]) -> dict[str, str]:
    """The versions of "python" and of the installed ones of these packages, printed by the interpreter itself.

    Raises OSError, subprocess.SubprocessError or ValueError if it is not a Python interpreter that works.
    """
    done = subprocess.run(
        [str(python), "-c", _PRINT_VERSIONS, *packages],
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,  # starting from a cold network file system takes seconds
    )
    versions = json.loads(done.stdout.strip().rpartition("\n")[2])
    if not isinstance(versions, dict) or not all(isinstance(text, str) for text in versions.values()):
        raise ValueError("it prints no versions")
    Version(versions.get("python", ""))  # InvalidVersion is a ValueError
    return versions


def _info(requested: FrameworkRequest) -> FrameworkInfo:
    return FRAMEWORKS.get(requested.name) or COMPANIONS[requested.name]


def _named(key: str, text: str, requested: FrameworkRequest) -> Path:
    """The interpreter that the user named; it must have the framework installed."""
    option = f"--python {key}={text}"
    executable = shutil.which(user_files.expanded(text))
    if not executable:
        raise BadInput(f"{option}: no such interpreter; give its path, or a name on PATH such as python3")
    packages = _info(requested).packages
    try:
        versions = installed_versions(Path(executable), packages)
    except _NO_PYTHON as error:
        raise BadInput(f"{option}: it does not run as a Python interpreter ({type(error).__name__})") from None
    package = next((name for name in packages if name in versions), None)
    if packages and not package:
        raise BadInput(
            f"{option}: that Python {versions['python']} has no {packages[0]}; install it there with -m pip install"
        )
    wanted = SpecifierSet(f"=={requested.version}") if requested.version else SpecifierSet()
    if package and not wanted.contains(versions[package], prereleases=True):
        raise BadInput(f"{option}: it has {package} {versions[package]}, not {requested.label}")
    return Path(executable).absolute()


def _base_interpreter(info: FrameworkInfo) -> tuple[Path, str]:
    """The interpreter that creates an environment, and its version: the running one, or the newest fitting on PATH."""
    fit = SpecifierSet(info.python)
    if RUNNING in fit:
        return Path(sys.executable), RUNNING
    on_path = [path for folder in os.get_exec_path() for path in Path(folder).glob("python3.*")]
    numbered = [path for path in on_path if re.fullmatch(r"python3\.\d+", path.name)]
    for python in sorted(numbered, key=lambda path: Version(path.name.removeprefix("python")), reverse=True):
        try:
            version = installed_versions(python, [])["python"]
        except _NO_PYTHON:  # pyenv puts interpreters on PATH that only report that they are not selected
            continue
        if version in fit:
            return python, version
    raise Unavailable(
        f"needs Python {info.python}; this is {RUNNING} and PATH has no such version: install "
        f"one, or name an interpreter that has {info.package}: --python {info.name}=/path/to/python"
    )


def _cached(label: str, wanted: Sequence[str], base: Path, version: str, progress: Note) -> Path:
    """The Python of an environment in the cache; the first run that needs the environment creates it."""
    home = _cached_folder(wanted, version)
    if not _runs(home):
        home.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(home.with_name(f"{home.name}.lock"))
        try:
            held = lock.acquire(timeout=0)
        except Timeout:
            progress(f"{label}: another run is installing it; waiting")
            held = lock.acquire()
        with held:
            if not _runs(home):
                _create(home, base, label, wanted, progress)
    return home / "bin" / "python"


def _cached_folder(wanted: Sequence[str], version: str) -> Path:
    """The folder of the environment for these requirements and this version of Python."""
    identity = [*wanted, "py" + ".".join(version.split(".")[:2])]
    digest = hashlib.sha256("\n".join([*identity, sysconfig.get_platform()]).encode()).hexdigest()
    key = re.sub(r"[^\w.]+", "-", " ".join([*identity, digest[:8]]))  # torch-2.13.0-numpy-1.23-py3.11-9a3f07c2
    return cache_folder() / "environments" / key


def _runs(home: Path) -> bool:
    """False if the folder is missing, or if the Python that created the environment has been removed since."""
    try:
        return bool(installed_versions(home / "bin" / "python", []))
    except _NO_PYTHON:
        return False


def _create(home: Path, base: Path, label: str, wanted: Sequence[str], progress: Note) -> None:
    """Create an environment in a temporary folder and rename it to `home`. The lock on `home` is held."""
    for remnant in home.parent.glob(f"{home.name}.*.part"):  # of runs that were killed
        shutil.rmtree(remnant, ignore_errors=True)
    aside = home.with_name(
        f"{home.name}.{uuid4().hex[:8]}.part"
    )  # the pip of a killed run may still write into its own folder
    log = home.with_name(f"{home.name}.log")
    progress(f"{label}: installing {', '.join(wanted)} into the cache (once, takes minutes)")
    start = time.monotonic()
    # -I: ignore PYTHONPATH and the current folder. --no-user: pip.conf may ask for a user installation.
    venv: list[str | Path] = [base, "-I", "-m", "venv", aside]
    options = ["--disable-pip-version-check", "--no-input", "--no-user"]
    pip: list[str | Path] = [aside / "bin" / "python", "-I", "-m", "pip", "install", *options, *wanted]
    try:
        with log.open("wb") as output:
            for command in (venv, pip):
                if code := _run(command, output):
                    raise Unavailable(f"installing {', '.join(wanted)}: {_reason(log, code)} (log: {log})")
        shutil.rmtree(home, ignore_errors=True)  # an environment that no longer runs
        aside.rename(home)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    progress(f"{label}: installed in {time.monotonic() - start:.0f} s")


def _run(command: Sequence[str | Path], output: IO[bytes]) -> int:
    """The exit status of a command; on an interrupt it is killed with all its children."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
    ) as process:
        try:
            return process.wait()
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _reason(log: Path, code: int) -> str:
    """Why a command failed, in one line."""
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    # The last error of pip is the reason, except for one that only points to its manual.
    errors = [line for line in lines if re.match(r"(?i)[\w.]*error\b", line) and "ResolutionImpossible" not in line]
    return (errors[-1:] or lines[:1] or [f"exit status {code}"])[0].removeprefix("ERROR: ")

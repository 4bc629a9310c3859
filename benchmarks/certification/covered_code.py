"""The code that a certificate covers, in parts: everything that decides the numbers of a run or of its verification.

A part is identified by the syntax trees of its files (`code_identity`). A certificate stores the digest of each part,
so that a report can say which part has changed since. The imports of an adapter are followed through the files of the
package and through the user's own files. Installed libraries are covered by their versions.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import benchmarks
import frameworks
from benchmarks.certification.code_identity import files_sha256

FRAMEWORKS, HARNESS = Path(frameworks.__file__).parent, Path(benchmarks.__file__).parent

# What decides no number: names, version pins and file formats of the frameworks, so a new framework does not void the
# certificates of the others; and the load of the cores, which is measured beside the work.
NO_NUMBERS = ("registry.py", "contention.py")  # below FRAMEWORKS
# How commands reach the worker, and how images, order, learning rates and augmentation become commands; below HARNESS.
WORKER_CLIENT = "runtime/worker_client.py"
TRAINING = (
    "training/trainer.py",
    "training/epoch_slices.py",
    "training/lr_schedules.py",
    "training/jobs.py",
    "datasets/augmentation.py",
)
# What decides no verdict: which networks are verified in which order and at the same time, how a verdict is recorded.
NOT_JUDGING = {"verify_run.py", "findings.py", "time_left.py", "memory_budget.py"}
INFERENCE = "inference.py"  # what judges frameworks that only predict, and no others

LIBRARIES = {"site-packages", "dist-packages"}


def code_sha256(parts: Mapping[str, str]) -> str:
    """The digest of all parts."""
    return hashlib.sha256("\n".join(f"{part} {parts[part]}" for part in sorted(parts)).encode()).hexdigest()


def code_parts(adapter: str, trains: bool = True) -> dict[str, str]:
    """The digest of each part of the code that computes and verifies with an adapter, a module or a file.

    trains: whether it belongs to a framework that trains. Keys, in the order of `PARTS`: adapter, spec, worker,
    trainer, verification. Raises OSError.
    """
    files = _files(adapter)
    if not trains:
        files["verification"] = sorted([*files["verification"], HARNESS / "verification" / INFERENCE])
    return {part: files_sha256(files[part]) for part in PARTS}


PARTS = ("adapter", "spec", "worker", "trainer", "verification")
CHECKED_ONLY = ("trainer",)  # parts that only the framework checks run


def of_network(code: Mapping[str, str]) -> dict[str, str]:
    """The parts of the code that decide a finding on a network: those that its verification runs."""
    return {part: digest for part, digest in code.items() if part not in CHECKED_ONLY}


def _files(adapter: str) -> dict[str, list[Path]]:
    """The files of each part, sorted."""
    spec = reachable([FRAMEWORKS / "adapter.py"])
    return {
        "adapter": sorted(reachable([_file(adapter)]) - spec),
        "spec": sorted(spec),
        "worker": sorted({HARNESS / WORKER_CLIENT, *reachable([FRAMEWORKS / "worker.py"])} - spec),
        "trainer": [HARNESS / name for name in TRAINING],
        "verification": sorted({*_judging(), *reachable([FRAMEWORKS / "numpy_reference.py"])} - spec),
    }


def _judging() -> Iterator[Path]:
    """The code that computes cases and verdicts, without likely causes."""
    yield HARNESS / "certification" / "verified_networks.py"
    folder = HARNESS / "verification"
    for path in folder.rglob("*.py"):
        if path.relative_to(folder).parts[0] != "diagnosis" and path.name not in {*NOT_JUDGING, INFERENCE}:
            yield path


def _file(module: str) -> Path:
    """The file of a module of the package, or the user's own file."""
    if module.endswith(".py"):
        return Path(module).absolute()
    path = FRAMEWORKS.parent.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def reachable(roots: Iterable[Path]) -> set[Path]:
    """The files that these modules import, directly or through other files, and the modules themselves.

    Imports anywhere in a module count, also inside functions. The `__init__.py` of every package on the way counts,
    because Python executes it. Outside the package, so does every file beside a module that a string in it names.
    """
    waiting, known, ignored = list(roots), set[Path](), {FRAMEWORKS / name for name in NO_NUMBERS}
    while waiting:
        path = waiting.pop()
        if path in known or path in ignored:
            continue
        known.add(path)
        if path.suffix == ".py":
            waiting += _imported(path, path.stat().st_mtime_ns, Path.cwd())
    return known


@cache
def _imported(path: Path, modified: int, here: Path) -> Sequence[Path]:
    """The files that a module imports and those that it names, for each version of it and each current folder."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return []  # for another version of Python; the bytes of the file count
    found: list[Path] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found += _resolved(alias.name, path, here)
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(".".join(filter(None, (node.module, each.name))) for each in node.names)]
            for name in names:
                found += _relative(name, node.level, path) if node.level else _resolved(name, path, here)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and not _inside(path, FRAMEWORKS):
            found += _named(node.value, path)
    return [*found, *_packages_of(path)]


def _resolved(name: str, importer: Path, here: Path) -> Iterator[Path]:
    """The files of an absolute import; none if it is installed or built in."""
    top = name.partition(".")[0]
    if top == FRAMEWORKS.name:
        yield from _along(FRAMEWORKS.parent, name.split("."))
    elif not _inside(importer, FRAMEWORKS):
        for folder in dict.fromkeys((importer.parent, _above_packages(importer), here)):
            if folder.name not in LIBRARIES or top == importer.relative_to(folder).parts[0]:
                yield from _along(folder, name.split("."))


def _relative(name: str, level: int, importer: Path) -> Iterator[Path]:
    yield from _along(importer.parents[level - 1], name.split(".") if name else [])


def _along(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """The module of a dotted name below a folder, and the `__init__.py` of the packages on the way."""
    for name in names:
        if (folder / f"{name}.py").is_file():
            yield folder / f"{name}.py"
            return
        folder = folder / name
        if not folder.is_dir():
            return
        if (folder / "__init__.py").is_file():
            yield folder / "__init__.py"


def _named(text: str, importer: Path) -> Iterator[Path]:
    """The file beside a module that a string names, such as constants that the module reads."""
    if 0 < len(text) < 200 and "\0" not in text and text.strip(". /"):
        path = importer.parent / text
        if path.is_file() and path.parent == importer.parent:
            yield path


def _packages_of(path: Path) -> list[Path]:
    """The `__init__.py` of the packages that a module is in."""
    found = []
    while (path.parent / "__init__.py").is_file():
        found.append(path.parent / "__init__.py")
        path = path.parent
    return found


def _above_packages(path: Path) -> Path:
    """The folder from which the packages of a module are imported."""
    while (path.parent / "__init__.py").is_file():
        path = path.parent
    return path.parent


def _inside(path: Path, folder: Path) -> bool:
    return folder in path.parents

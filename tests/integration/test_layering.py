"""Import rules: commands import packages of the harness, these import frameworks, these the standard library."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from frameworks.registry import FRAMEWORKS

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
ENGINES = {"torch", "torchvision", "mxnet", "tensorflow", "keras", "jax", "flax", "optax"}
HARNESS_DEPENDENCIES = {"benchmarks", "click", "jinja2", "msgspec", "pandas", "pooch", "rich", "scipy"}
PACKAGES = sorted(path.parent.name for path in BENCHMARKS.glob("*/__init__.py") if path.parent.name != "suite")
COMMANDS = {path.stem for path in BENCHMARKS.glob("*.py")} - {"__init__"}


def modules(*folders: Path) -> list[Path]:
    """All modules in these folders, except the pytest-benchmark suite."""
    return sorted(path for folder in folders for path in folder.rglob("*.py") if "suite" not in path.parts)


def imported_names(path: Path) -> Iterator[str]:
    """Every module that a module imports anywhere, also inside functions; not those that only types need."""
    for statement in _statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.module:
            yield statement.module
            yield from (f"{statement.module}.{alias.name}" for alias in statement.names)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _statements(child)


def package_imports() -> set[tuple[str, str]]:
    """Pairs (importing package, imported package) of the harness."""
    pairs = set()
    for path in modules(*(BENCHMARKS / package for package in PACKAGES)):
        importing = path.relative_to(BENCHMARKS).parts[0]
        for name in imported_names(path):
            match = re.match(r"benchmarks\.(\w+)", name)
            if match and match[1] in PACKAGES and match[1] != importing:
                pairs.add((importing, match[1]))
    return pairs


def cycle(imports: set[tuple[str, str]]) -> list[str]:
    """The packages that import each other, directly or indirectly."""
    reachable = set(imports)
    while True:
        longer = {(a, d) for a, b in reachable for c, d in imports if b == c} - reachable
        if not longer:
            return sorted({a for a, b in reachable if a == b})
        reachable |= longer


def test_packages_do_not_import_each_other_in_a_cycle() -> None:
    assert cycle(package_imports()) == []


@pytest.mark.parametrize("path", modules(*(BENCHMARKS / package for package in PACKAGES)), ids=str)
def test_no_package_imports_a_command(path: Path) -> None:
    imported = {name.split(".")[1] for name in imported_names(path) if re.match(r"benchmarks\.\w+$", name)}
    assert not imported & COMMANDS


def loaded(*names: str) -> set[str]:
    """Top-level names of all modules that these modules load, in a new process."""
    program = f"import sys, {', '.join(names)}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_harness_imports_no_engine() -> None:
    paths = [path for path in modules(BENCHMARKS) if not path.stem.startswith("_")]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    assert not loaded(*names, "research.baselines.compare") & ENGINES


def test_specs_need_only_the_standard_library() -> None:
    names = ("frameworks.spec", "frameworks.training", "frameworks.registry", "frameworks.networks")
    assert not loaded(*names) & {"numpy", *HARNESS_DEPENDENCIES, *ENGINES}


def test_the_worker_needs_only_numpy() -> None:
    names = ("frameworks.worker", "frameworks.numpy_reference", "frameworks.native", "frameworks.arrays")
    assert not loaded(*names) & {*HARNESS_DEPENDENCIES, *ENGINES}


@pytest.mark.parametrize("path", modules(ROOT / "frameworks"), ids=str)
def test_frameworks_do_not_import_the_harness(path: Path) -> None:
    assert not {name for name in imported_names(path) if name.partition(".")[0] in ("benchmarks", "research")}


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_an_adapter_imports_no_other_framework(name: str) -> None:
    """Neither another framework's packages nor another adapter; Keras may import its engine."""
    module = FRAMEWORKS[name].module
    engines = {
        "torch": {"torch", "torchvision"},
        "mxnet": {"mxnet"},
        "keras": {"keras", "tensorflow"},
        "jax": {"jax", "jaxlib", "flax", "optax"},
        "keras@jax": {"keras", "jax"},
        "keras@torch": {"keras", "torch"},
        "onnxruntime": {"onnx", "onnxruntime"},
    }
    foreign = set().union(*engines.values()) - engines[name]
    # Keras on PyTorch trains as the adapter of PyTorch does.
    others = {info.module for info in FRAMEWORKS.values() if info.module not in (module, "frameworks.pytorch")}
    path = ROOT / module.replace(".", "/")
    files = modules(path) if path.is_dir() else [path.with_suffix(".py")]
    imported = {package for file in files for package in imported_names(file)}
    assert not {package.partition(".")[0] for package in imported} & foreign
    assert not imported & others


@pytest.mark.parametrize("path", modules(BENCHMARKS, ROOT / "frameworks", ROOT / "research"), ids=str)
def test_no_code_asks_for_a_framework_by_name(path: Path) -> None:
    """`if framework == "torch"` would be a special case that a new framework does not have."""
    assert not re.search(r"""[=!]= ["'](torch|mxnet|keras|jax)["']""", path.read_text(encoding="utf-8"))

"""User adapters: the example without Flax is certified and trained, what is no adapter is refused, entry points."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.runtime.errors import BadInput
from benchmarks.runtime.plugins import from_file
from frameworks.registry import FRAMEWORKS
from tests import fake_adapter
from tests.conftest import Bench

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "jax_adapter.py"
PLAIN = f"{EXAMPLE}:PlainJax"
FAKE = f"{fake_adapter.__file__}:Fake"
SMALL = ["--quick", "--train-size", "100", "--test-size", "50", "--threads", "1", "--device", "cpu"]

# Layers that no registered network has: groups, asymmetric padding, an average that leaves its padding
# out, auxiliary heads, and LeNet-5's selected maps and trained sub-sampling, all on a resized image.
ODD = """
from frameworks.spec import *

def odd(classes=10, channels=1):
    head = [GlobalAvgPool(), Flatten(), Dense("aux_fc", classes)]
    right = [AvgPool("right_pool", 3, 1, padding=((1, 1), (2, 0)), count_padding=False), Conv("right_conv", 3, 1)]
    return Network("odd", (channels, 20, 18), [
        Resize("resize", 15, 16), Normalize(mean=(0.4,), std=(0.3,)),
        Conv("a", 6, 3, padding=((2, 0), (0, 1)), bias=False), BatchNorm("a_bn"), ReLU(),
        LocalResponseNorm("lrn", 3, alpha=0.5), MaxPool("p", 3, 2, padding=1),
        Concat("mix", [[Conv("left", 4, (3, 1), (1, 1), padding=(1, 0), groups=2), Sigmoid()], right]),
        Residual("res", [Conv("body", 7, 3, padding=1), Tanh(amplitude=1.7159, slope=2 / 3)], []),
        Auxiliary("aux", head), Select("some", (6, 0, 3)), Affine("scale"), AvgPool("q", 2, 2, padding=1),
        Dropout(rate=0.3), Flatten(), Dense("fc", classes),
    ])
"""


def command(name: str, *options: str, python: str | Path = sys.executable) -> subprocess.CompletedProcess[str]:
    whole = [str(python), "-m", f"benchmarks.{name}", *options]
    return subprocess.run(whole, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=800)


# --- the example ------------------------------------------------------------------------------------------------------


def test_the_example_is_certified(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(ODD, encoding="utf-8")
    nets = f"lenet,lenet_bn,resnet18_fashion,{tmp_path / 'nets.py'}:odd"  # one command: one pass of framework checks
    options = ["--net", nets, "--fw", "plainjax", "--adapter", PLAIN, "--python", f"plainjax={bench.python('jax')}"]
    done = command("verify", *options, "--precision", "float64", "--threads", "1", "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "plainjax" in (tmp_path / "certificate.md").read_text(encoding="utf-8")


def test_the_example_trains_beside_a_built_in_adapter(bench: Bench, tmp_path: Path) -> None:
    options = ["--fw", "torch,plainjax", "--adapter", PLAIN]
    options += ["--python", f"plainjax={bench.python('jax')}", "--python", f"torch={bench.python('torch')}"]
    done = command("run", *options, *SMALL, "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    table = pd.read_csv(next(tmp_path.iterdir()) / "report.csv")
    assert list(table.framework) == ["torch", "plainjax"] and (table.status == "ok").all()
    # A few float32 steps from the same weights on the same images differ only by rounding.
    assert abs(table.train_loss[0] - table.train_loss[1]) < 1e-4


# --- adapter files ----------------------------------------------------------------------------------------------------


def test_all_includes_an_adapter_file(tmp_path: Path) -> None:
    """The fake framework has a row even if the others are unavailable."""
    wrong = f"{tmp_path / 'wrong.py'}:Wrong"
    (tmp_path / "wrong.py").write_text("import not_there\nclass Wrong(not_there.Adapter): pass\n")
    done = command("run", "--fw", "fake,wrong", "--adapter", FAKE, "--adapter", wrong, *SMALL, "--out", str(tmp_path))
    assert done.returncode == 1, done.stderr
    folder = next(path for path in tmp_path.iterdir() if path.is_dir())
    table = pd.read_csv(folder / "report.csv").set_index("framework")
    assert dict(table.status) == {"fake": "ok", "wrong": "unavailable"}
    assert "No module named 'not_there'" in table.reason["wrong"] and "--python" in table.reason["wrong"]


def test_the_file_tells_what_it_can() -> None:
    found = from_file(f"{os.path.relpath(EXAMPLE)}:PlainJax")
    assert (found.name, found.module, found.adapter, found.outside) == ("plainjax", str(EXAMPLE), "PlainJax", True)


SOURCES = {
    "empty": "",
    "broken": "class My(:\n",
    "plain": "class My: pass\n",
    "torch": "class Torch(Adapter): pass\n",
    "jax": "class Jax(Adapter): pass\n",
}
WRONG = {
    "my.py": "write FILE.py:CLASS",
    "my:My": "write FILE.py:CLASS",
    "nowhere.py:My": "No such file",
    "empty.py:My": "has no class My; its classes: none",
    "plain.py:Your": "has no class Your; its classes: My",
    "plain.py:My": "derive it from frameworks.adapter.Adapter",
    "broken.py:My": "is not Python",
    "torch.py:Torch": "the name torch belongs to frameworks.pytorch:PyTorch",
    "jax.py:Jax": "the name jax belongs to frameworks.flax_nnx:FlaxNNX",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_adapter_is_bad_input(tmp_path: Path, text: str) -> None:
    for name, source in SOURCES.items():
        (tmp_path / f"{name}.py").write_text(source)
    done = command("run", "--adapter", str(tmp_path / text), "--out", str(tmp_path / "out"))
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("--adapter ") and WRONG[text] in done.stderr
    assert not (tmp_path / "out").exists()


def test_two_files_with_one_name_are_bad_input(tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text("class Fake(Adapter): pass\n")
    done = command("run", "--adapter", FAKE, "--adapter", f"{tmp_path / 'other.py'}:Fake", "--out", str(tmp_path))
    assert done.returncode == 2 and "the name fake belongs to" in done.stderr


def test_a_version_cannot_be_chosen(tmp_path: Path) -> None:
    done = command("run", "--fw", "fake==1.0", "--adapter", FAKE, "--out", str(tmp_path), *SMALL)
    assert done.returncode == 2 and "--python fake=PATH" in done.stderr


def test_a_class_that_is_no_adapter_has_a_failed_row(tmp_path: Path) -> None:
    """Only the worker imports the file, so only the worker can check the base class."""
    (tmp_path / "mine.py").write_text("class Mine(dict): pass\n")
    adapter = f"{tmp_path / 'mine.py'}:Mine"
    done = command("run", "--fw", "mine", "--adapter", adapter, *SMALL, "--out", str(tmp_path / "out"))
    assert done.returncode == 1 and "derive it from frameworks.adapter.Adapter" in done.stderr


# --- entry points -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with the packages of this one and a distribution `mine`, whose adapter prints when imported."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, symlinks=True)
    site = Path(sysconfig.get_path("purelib", "venv", vars={"base": str(home), "platbase": str(home)}))
    folders = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), str(ROOT)]
    (site / "ours.pth").write_text("".join(f"import site; site.addsitedir({folder!r})\n" for folder in folders))
    install(site, "mine", "mine = mine_adapter:Fake")
    source = Path(fake_adapter.__file__).read_text(encoding="utf-8")
    (site / "mine_adapter.py").write_text(f"{source}\nopen({str(home / 'imported')!r}, 'a').close()\n")
    return home / "bin" / "python"


def install(site: Path, name: str, point: str) -> None:
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[onespec.frameworks]\n{point}\n")


def test_an_installed_framework_is_one_of_them(interpreter: Path, tmp_path: Path) -> None:
    done = command("run", "--fw", "mine", *SMALL, "--out", str(tmp_path), python=interpreter)
    assert done.returncode == 0, done.stdout + done.stderr
    table = pd.read_csv(next(tmp_path.iterdir()) / "report.csv")
    assert list(table.framework) == ["mine"] and list(table.status) == ["ok"]


def test_the_parent_never_imports_it(interpreter: Path) -> None:
    imported = interpreter.parents[1] / "imported"
    imported.unlink(missing_ok=True)
    done = command("run", "--fw", "nothing", python=interpreter)
    assert done.returncode == 2 and not imported.exists()
    assert f"write all, or some of {', '.join(FRAMEWORKS)}, mine" in done.stderr


@pytest.mark.parametrize("point, part", [
    ("torch = mine_adapter:Fake", "the name torch belongs to frameworks.pytorch:PyTorch"),
    ("other = mine_adapter", "is not module:Class"),
])  # fmt: skip
def test_an_invalid_entry_point_is_bad_input(interpreter: Path, point: str, part: str) -> None:
    site = next(interpreter.parents[1].glob("lib/python*/site-packages"))
    install(site, "wrong", point)
    try:
        done = command("run", "--fw", "mine", python=interpreter)
    finally:
        for path in sorted((site / "wrong-1.0.dist-info").rglob("*")):
            path.unlink()
        (site / "wrong-1.0.dist-info").rmdir()
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("entry point onespec.frameworks, ") and part in done.stderr


def test_packages_on_pythonpath_are_ignored(tmp_path: Path) -> None:
    """A worker does not inherit PYTHONPATH, so it could not import them."""
    install(tmp_path, "hidden", "hidden = hidden_adapter:Hidden")
    whole = [sys.executable, "-m", "benchmarks.run", "--fw", "hidden"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(whole, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "no such framework" in done.stderr


def test_a_missing_adapter_file_is_bad_input() -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        from_file(f"{ROOT / 'examples.py'}:PlainJax")

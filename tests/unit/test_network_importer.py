"""Networks of other programs as values of --net: which texts are theirs, the shape of images, what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks import api
from benchmarks.cli import options
from benchmarks.cli.network_importer import LazyImporter
from benchmarks.cli.options import Names
from benchmarks.porting.importer import NetworkImporter
from benchmarks.porting.weight_import import PIXELS
from benchmarks.runtime import importers, networks, user_files
from benchmarks.runtime.errors import BadInput, ShapeMissing
from benchmarks.training.plan import TrainingRequest, plan
from frameworks.networks import NETWORKS
from frameworks.spec import Dense, Flatten, Network, Shape


class FakeImporter:
    """Has one network, `model.py:Net`, and notes each request for it."""

    def __init__(self, shape: Shape | None = None) -> None:
        self.shape = shape  # that the file says
        self.name = "net"
        self.requests: list[tuple[str, Shape | None]] = []

    def has(self, text: str) -> bool:
        return text.startswith("model.py:Net")

    def network(self, text: str, shape: Shape | None) -> Network:
        self.requests.append((text, shape))
        _, _, own = text.partition("@")
        given = tuple(map(int, own.split("x"))) if own else shape or self.shape
        if given is None:
            raise ShapeMissing(f"{text}: no size")
        return Network(self.name, given, [Flatten(), Dense("fc", 10)])


@pytest.fixture
def importer(monkeypatch: pytest.MonkeyPatch) -> FakeImporter:
    fake = FakeImporter()
    monkeypatch.setattr(importers, "_importers", [fake])
    return fake


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("lenet", ["lenet"]),
        ("lenet,cnn", ["lenet", "cnn"]),
        ("lenet,model.py:Net(10, 3)@3x32x32", ["lenet", "model.py:Net(10, 3)@3x32x32"]),
        ("a.py:f({1: [2, 3]}),b.py:g", ["a.py:f({1: [2, 3]})", "b.py:g"]),
        ("a),b", ["a)", "b"]),
        (",", ["", ""]),
    ],
)
def test_commas_in_parentheses_separate_nothing(text: str, parts: list[str]) -> None:
    assert user_files.listed(text) == parts
    assert list(api._names(text)) == parts
    if all(parts):
        assert list(Names().convert(text, None, None)) == parts


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("net.py", ("net.py", "")),
        ("net.py:tiny", ("net.py", "tiny")),
        ("a.b/my.py:Net(1)", ("a.b/my.py", "Net(1)")),
        ("a(b)/my.py:Net", ("a(b)/my.py", "Net")),
        ("net.py:Net('a:b.py')@1x2x3", ("net.py", "Net('a:b.py')@1x2x3")),
    ],
)
def test_a_file_and_what_is_in_it(text: str, parts: tuple[str, str]) -> None:
    assert user_files.is_file(text) and user_files.split(text) == parts


@pytest.mark.parametrize("text", ["lenet", "net.onnx", "net.pyc:tiny", "C:tiny", ""])
def test_no_python_file(text: str) -> None:
    assert not user_files.is_file(text)


@pytest.mark.parametrize(
    ("text", "source", "has"),
    [
        ("net.py:Net", "import torch", True),
        ("net.py:Net(10)@3x8x8", "from torch import nn", True),
        ("net.py:make", "import keras", True),
        ("net.py:tiny", "from frameworks.spec import Network", False),
        ("net.py:tiny", "import torch\nfrom frameworks.spec import Network", False),
        ("net.py:tiny", "from other import tiny", False),
        ("net.py:tiny", "import torch(", False),
        ("net.py:tiny", None, False),
        ("model.onnx", None, True),
        ("model.onnx@3x8x8", None, True),
        ("model.keras", None, True),
        ("net-symbol.json", None, True),
        ("net.json", None, True),
        ("net.txt", None, False),
        ("lenet", None, False),
        ("lenet@3x8x8", None, False),
    ],
)
def test_texts_of_other_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, source: str | None, has: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    if source is not None:
        (tmp_path / "net.py").write_text(source)
    assert NetworkImporter({}, print).has(text) is has
    assert LazyImporter(quiet=True).has(text) is has


def test_the_importer_reads_each_version_of_a_file_once(
    importer: FakeImporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "model.py:Net@1x4x4"
    for number in (1, 2):
        (tmp_path / "model.py").write_text(f"import torch  # {number}")
        os.utime(tmp_path / "model.py", ns=(number, number))  # clocks of file systems are coarse
        assert networks.network(text).input == networks.network(text, classes=3).input == (1, 4, 4)
        assert len(importer.requests) == number


def test_a_network_of_the_catalogue_is_not_imported(importer: FakeImporter) -> None:
    assert networks.network("lenet").sha256 == NETWORKS["lenet"]().sha256
    assert importer.requests == []


def test_a_missing_shape_is_refused_with_the_remedy(importer: FakeImporter) -> None:
    with pytest.raises(BadInput, match=r"^--net model.py:Net: no size; .* such as model.py:Net@3x32x32$"):
        networks.network("model.py:Net")


def test_the_missing_shape_is_that_of_the_data(importer: FakeImporter) -> None:
    assert networks.with_shape("lenet", lambda: (3, 8, 8)) == "lenet"
    assert networks.with_shape("model.py:Net", lambda: (3, 8, 8)) == "model.py:Net@3x8x8"
    assert networks.with_shape("model.py:Net@1x4x4", lambda: (3, 8, 8)) == "model.py:Net@1x4x4"
    importer.shape = (1, 5, 5)
    assert networks.with_shape("model.py:Net", lambda: (3, 8, 8)) == "model.py:Net"


def test_the_name_of_its_network_must_be_a_name(importer: FakeImporter) -> None:
    importer.name = "x" * 65
    with pytest.raises(BadInput, match=r"^--net model\.py:Net@1x4x4: its network has the name 'xxx"):
        networks.network("model.py:Net@1x4x4")


def test_a_plan_uses_the_shape_of_its_images(importer: FakeImporter) -> None:
    request = TrainingRequest(net=("model.py:Net", "model.py:Network@1x8x8"), frameworks="torch", quick=True)
    with pytest.raises(BadInput, match="have the name net; rename one"):
        plan(request, print)
    (((job,),), _) = plan(TrainingRequest(net=("model.py:Net",), frameworks="torch", quick=True), print)
    assert job.requested == "model.py:Net@1x28x28" and job.network.input == (1, 28, 28)
    (((job,),), _) = plan(TrainingRequest(net=("model.py:Net@1x8x8",), frameworks="torch", quick=True), print)
    assert job.requested == "model.py:Net@1x8x8" and job.network.nodes[1].output == (1, 8, 8)


def test_two_shapes_are_refused() -> None:
    with pytest.raises(BadInput, match=r"--net net.onnx@3x8x8: --input 1,4,4 is another shape"):
        NetworkImporter({}, print).network("net.onnx@3x8x8", (1, 4, 4))


def test_the_options_of_pixels_are_those_of_the_importer() -> None:
    assert tuple(PIXELS) == options.PIXELS

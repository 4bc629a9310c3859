"""A network, printed as a spec file, is the same network again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.porting import spec_source
from benchmarks.runtime import networks
from frameworks.networks import NETWORKS
from frameworks.spec import Auxiliary, Conv, Dense, Flatten, Layer, Network, ReLU, Select

# Layers of every kind, long channel selections, departures with quotation marks, deep nesting, many blocks.
PRINTED = (
    *("lenet5", "alexnet_owt", "googlenet_aux", "inception_v3", "resnet9", "resnet50", "densenet121", "convnext_tiny"),
    *("cifar_dpn26", "cifar_dla", "cifar_shufflenet_g2", "mobilenet_v3_small", "efficientnet_v2_s", "regnet_y_400mf"),
)


def load(text: str, name: str, folder: Path) -> Network:
    file = folder / "spec.py"
    file.write_text(text, encoding="utf-8")
    return networks.network(f"{file}:{name}")


@pytest.mark.parametrize("name", PRINTED)
def test_the_digest_is_the_same(tmp_path: Path, name: str) -> None:
    network = NETWORKS[name]()
    again = load(spec_source.text(network), name, tmp_path)
    assert again.sha256 == network.sha256
    assert (again.departures, again.source) == (network.departures, network.source)


def test_another_input(tmp_path: Path) -> None:
    """`out=` is that of the paper's input, and not checked."""
    network = NETWORKS["lenet"]().with_input((1, 40, 40))
    assert load(spec_source.text(network), "lenet", tmp_path).sha256 == network.sha256


def test_text_is_that_of_ruff(tmp_path: Path) -> None:
    ruff = shutil.which("ruff", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if not ruff:
        pytest.skip("ruff is not installed")
    for name in ("lenet", "resnet50", "mobilenet_v3_small", "convnext_tiny"):
        (tmp_path / f"{name}.py").write_text(spec_source.text(NETWORKS[name]()), encoding="utf-8")
    options = ["--isolated", "--line-length", "120", str(tmp_path)]
    assert not subprocess.run([ruff, "format", "--diff", *options], capture_output=True, text=True, check=False).stdout
    check = [ruff, "check", "--select", "E,F,I,UP", *options]
    assert subprocess.run(check, capture_output=True, text=True, check=False).returncode == 0


def block(name: str, maps: int, stride: int) -> list[Layer]:
    return [Conv(f"{name}.a", maps, 3, stride, padding=1), ReLU(), Conv(f"{name}.b", maps, 3, padding=1), ReLU()]


def test_repeated_rows_are_a_function() -> None:
    rows = [*block("one", 8, 1), *block("two", 16, 2), *block("three", 16, 1), Flatten(), Dense("fc", 10)]
    text = spec_source.text(Network("net", (3, 8, 8), rows), origin="model.py:Net")
    assert '*_conv("one", 8),' in text
    assert '*_conv("two", 16, stride=2),' in text
    assert 'Conv(f"{name}.a", channels, 3, stride, padding=1),' in text
    assert "Imported from model.py:Net." in text
    assert text.count("ReLU()") == 2


def test_rows_that_differ_in_names_alone_but_without_a_common_part_are_printed() -> None:
    rows = [Conv("a", 8, 1), ReLU(), Conv("b", 8, 1), ReLU(), Flatten(), Dense("fc", 10)]
    text = spec_source.text(Network("net", (3, 8, 8), rows))
    assert '"net"' in text and "Conv" in text


def test_heads_and_long_selections(tmp_path: Path) -> None:
    shuffled = tuple(group * 8 + place for place in range(8) for group in range(4))
    layers = [
        Conv("a", 32, 1),
        Select("", shuffled),
        Select("", (*range(16), *[None] * 16)),
        Auxiliary("aux", [Flatten(), Dense("fc", 10)], weight=0.4),
        Flatten(),
        Dense("fc", 10),
    ]
    network = Network("net", (3, 4, 4), layers)
    text = spec_source.text(network)
    assert "tuple(group * 8 + place for place in range(8) for group in range(4))" in text
    assert "(*range(16), *[None] * 16)" in text
    assert load(text, "net", tmp_path).sha256 == network.sha256

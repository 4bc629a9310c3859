"""Networks for CIFAR-10 as popular collections write them in PyTorch are imported as those of the catalogue.

ONESPEC_SLOW=1 adds the other ones, which takes minutes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.porting import network_import
from benchmarks.porting.between.report import compared
from benchmarks.porting.network_import import Imported
from benchmarks.porting.sources import Side
from frameworks.networks import NETWORKS
from frameworks.spec import StochasticDepth
from tests.conftest import Bench

MODULES = Path(__file__).parents[1] / "third_parties" / "cifar_modules.py"
# What cifar_modules.py gives, and its name in the catalogue.
FAST = {
    "LeNet": "lenet_cifar",
    "resnet20": "cifar_resnet20",
    "PNASNetA": "cifar_pnasnet_a",
    "MobileNet": "cifar_mobilenet",
    "ShuffleNetG2": "cifar_shufflenet_g2",
    "ShuffleNetV2(1)": "cifar_shufflenet_v2_1",
    "EfficientNetB0": "cifar_efficientnet_b0",
}
DEEP = {
    'VGG("VGG11")': "vgg_cifar",
    'VGG("VGG13")': "cifar_vgg13",
    'VGG("VGG16")': "cifar_vgg16",
    'VGG("VGG19")': "cifar_vgg19",
    "MobileNetV2": "cifar_mobilenet_v2",
    "PNASNetB": "cifar_pnasnet_b",
    "ResNet18": "cifar_resnet18",
    "ResNet50": "cifar_resnet50",
    "ResNet101": "cifar_resnet101",
    "PreActResNet18": "cifar_preact_resnet18",
    "SENet18": "cifar_senet18",
    "ResNeXt29_2x64d": "cifar_resnext29_2x64d",
    "ResNeXt29_32x4d": "cifar_resnext29_32x4d",
    "RegNetX_200MF": "cifar_regnet_x_200mf",
    "RegNetX_400MF": "cifar_regnet_x_400mf",
    "RegNetY_400MF": "cifar_regnet_y_400mf",
    "GoogLeNet": "cifar_googlenet",
    "DenseNet121": "cifar_densenet121",
    "DPN26": "cifar_dpn26",
    "DPN92": "cifar_dpn92",
    "DLA": "cifar_dla",
    "SimpleDLA": "cifar_simple_dla",
}
CATALOGUE = FAST | DEEP
# Networks whose arrays have other names in the catalogue, and why.
OTHER_NAMES = {"LeNet": "the catalogue has the names of the paper: C1, C3, C5, F6"}

on_demand = pytest.mark.skipif(not os.environ.get("ONESPEC_SLOW"), reason="takes minutes: set ONESPEC_SLOW=1")
NAMES = [*FAST, *(pytest.param(name, marks=on_demand) for name in DEEP)]


@pytest.fixture(scope="module")
def found(bench: Bench) -> Callable[[str], Imported]:
    """Imports what cifar_modules.py gives, once."""
    python = str(bench.python("torch"))
    known: dict[str, Imported] = {}

    def load(name: str) -> Imported:
        if name not in known:
            known[name] = network_import.imported(f"{MODULES}:{name}", (3, 32, 32), {"torch": python}, print)
        return known[name]

    return load


def test_every_network_of_the_collection_is_imported() -> None:
    listed = {name for name in NETWORKS if name.startswith("cifar_")}
    deeper = {f"cifar_resnet{layers}" for layers in (32, 44, 56, 110)}  # resnet20 with more blocks
    assert listed - deeper == {name for name in CATALOGUE.values() if name.startswith("cifar_")}


@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_network_of_the_catalogue(found: Callable[[str], Imported], name: str) -> None:
    """Its counts, its names, its values, and no difference in any layer."""
    result, ours = found(name), NETWORKS[CATALOGUE[name]]()
    assert (result.network.params, result.network.buffers) == (ours.params, ours.buffers)
    names = [set(network_import.own_names(each).values()) for each in (result.network, ours)]
    assert (names[0] == names[1]) == (name not in OTHER_NAMES)
    comparison = network_import.compared(result)
    assert comparison.agrees, comparison.text
    report = compared(Side("imported", result.network), Side("catalogue", ours))
    assert report.same and not report.differences, report.text


def test_arrays_that_forward_does_not_use_are_left_out(found: Callable[[str], Imported]) -> None:
    notes = found("EfficientNetB0").notes
    assert [note.partition(" ")[0] for note in notes] == [
        f"layers.0.{name}" for name in ("conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var")
    ]
    assert all(note.endswith(" is not used in forward: left out") for note in notes)


def test_drop_connect_is_stochastic_depth(found: Callable[[str], Imported]) -> None:
    """Of a rate that grows with the blocks, in all blocks with a shortcut; the collection's rate is 0."""
    result = found("EfficientNetB0(0.16)")
    rates = [node.layer.rate for _, node in result.network.walk() if isinstance(node.layer, StochasticDepth)]
    assert rates == [0.02, 0.04, 0.06, 0.07, 0.09, 0.1, 0.12, 0.13, 0.14]
    assert len([note for note in result.notes if "stochastic depth" in note]) == len(rates)

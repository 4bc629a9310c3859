"""Counts and results agree with torchvision, keras.applications, Gluon's model zoo and PyTorch's operation counter.

The scripts in tests/third_parties build the networks of these libraries in separate environments.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any, cast

import pytest

from frameworks.networks import NETWORKS
from frameworks.spec import BatchNorm, Conv, Network, Residual
from tests.conftest import Bench

ROOT = Path(__file__).parents[2]
Arrays = dict[str, dict[str, list[Any]]]  # by network and array: its shape, and whether it is trained
Differences = dict[str, dict[str, list[float]]]  # by network and mode: the main classifier's, the auxiliary ones'
Counts = tuple[int, int]  # trained, running


def output_of(bench: Bench, environment: str, script: str, *arguments: str) -> Any:
    """The JSON that a script of tests/third_parties prints, run with the interpreter of an environment."""
    python = bench.python(environment)
    done = subprocess.run(
        [str(python), "-m", f"tests.third_parties.{script}", *arguments],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# --- counts -----------------------------------------------------------------------------------------------------------


def channels(net: Network, kind: type) -> int:
    """Output channels of all layers of a kind, one after the other."""
    return sum(node.output[0] for _, node in net.walk() if isinstance(node.layer, kind))


def equal(net: Network) -> Counts:
    return net.params, net.buffers


def bias_everywhere(net: Network) -> Counts:
    """Keras's ResNets have a bias in every convolution."""
    return net.params + channels(net, Conv), net.buffers


def bias_in_bodies(net: Network) -> Counts:
    """Gluon's bottlenecks have a bias in both 1 x 1 convolutions."""
    bodies = [node for _, outer in net.walk() if isinstance(outer.layer, Residual) for node in outer.branches[0]]
    narrow = [node for node in bodies if isinstance(node.layer, Conv) and node.layer.kernel == 1]
    return net.params + sum(node.output[0] for node in narrow), net.buffers


def no_gamma(net: Network) -> Counts:
    """Keras's Inception v3 has batch normalization without gamma."""
    return net.params - channels(net, BatchNorm), net.buffers


def normalized_heads(net: Network) -> Counts:
    """torchvision's GoogLeNet has the paper's heads, batch normalization in place of the convolution's bias."""
    heads = [node for head in NETWORKS["googlenet_aux"]().heads for _, node in head.walk()]
    paper = sum(parameter.size for node in heads for parameter in node.parameters)
    maps = sum(node.output[0] for node in heads if isinstance(node.layer, Conv))
    return net.params + paper + maps, net.buffers + 2 * maps  # beta replaces the bias; gamma is additional


VGGS = "vgg11 vgg13 vgg16 vgg19 vgg11_bn vgg13_bn vgg16_bn vgg19_bn".split()
INCEPTIONS = "inception_v3 inception_v3_aux".split()
RESNETS = "resnet18 resnet34 resnet50 resnet101 resnet152".split()

# Whose network, its name there and here, and its counts there, from ours.
COUNTED: list[tuple[str, str, str, Callable[[Network], Counts]]] = [
    ("torchvision", "alexnet", "alexnet_owt", equal),
    *(("torchvision", name, name, equal) for name in (*VGGS, *INCEPTIONS, *RESNETS)),
    ("torchvision", "googlenet", "googlenet_bn", equal),
    ("torchvision", "googlenet_aux", "googlenet_bn", normalized_heads),
    ("keras", "VGG16", "vgg16", equal),
    ("keras", "VGG19", "vgg19", equal),
    ("keras", "InceptionV3", "inception_v3", no_gamma),
    *(("keras", f"ResNet{depth}", f"resnet{depth}", bias_everywhere) for depth in (50, 101, 152)),
    ("mxnet", "alexnet", "alexnet_owt", equal),
    *(("mxnet", name, name, equal) for name in VGGS),
    ("mxnet", "inceptionv3", "inception_v3", equal),
    *(("mxnet", f"resnet{depth}_v1", f"resnet{depth}", equal) for depth in (18, 34)),
    *(("mxnet", f"resnet{depth}_v1", f"resnet{depth}", bias_in_bodies) for depth in (50, 101, 152)),
]


def arrays(bench: Bench, library: str) -> Arrays:
    """The arrays of the networks above, as the library builds them."""
    names = [theirs for whose, theirs, _, _ in COUNTED if whose == library]
    return cast(Arrays, output_of(bench, library, f"{library}_arrays", *names))


@pytest.fixture(scope="module")
def torchvision(bench: Bench) -> Arrays:
    return arrays(bench, "torchvision")


@pytest.fixture(scope="module")
def keras(bench: Bench) -> Arrays:
    return arrays(bench, "keras")


@pytest.fixture(scope="module")
def mxnet(bench: Bench) -> Arrays:
    return arrays(bench, "mxnet")


@pytest.mark.parametrize(("library", "theirs", "ours", "counts"), COUNTED)
def test_counts(
    request: pytest.FixtureRequest, library: str, theirs: str, ours: str, counts: Callable[[Network], Counts]
) -> None:
    found = request.getfixturevalue(library)[theirs].values()
    trained = sum(prod(shape) for shape, trained in found if trained)
    running = sum(prod(shape) for shape, trained in found if not trained)
    assert (trained, running) == counts(NETWORKS[ours]())


ATTRIBUTES = {"gamma": "weight", "beta": "bias"}  # PyTorch's names of the arrays of batch normalization


@pytest.mark.parametrize(
    ("theirs", "ours"), [row[1:3] for row in COUNTED if row[0] == "torchvision" and row[3] is equal]
)
def test_torchvisions_arrays(torchvision: Arrays, theirs: str, ours: str) -> None:
    """Names, shapes and trained arrays are those of torchvision's state_dict."""
    expected = {}
    for parameter in NETWORKS[ours]().parameters:
        key = parameter.name.removesuffix(parameter.role) + ATTRIBUTES.get(parameter.role, parameter.role)
        expected[key] = [list(parameter.shape), parameter.trainable]
    assert torchvision[theirs] == expected


# --- logits -----------------------------------------------------------------------------------------------------------

# torchvision's network: ours, and the height and width of the images.
COMPUTED = {
    # Below the paper's size, torchvision's adaptive means before the dense layers would no longer be the identity.
    **{"alexnet": ("alexnet_owt", 224), "vgg11": ("vgg11", 224), "vgg11_bn": ("vgg11_bn", 224)},
    "googlenet": ("googlenet_bn", 80),  # 40, 20, 10, 5: each of the four pools rounds up
    "inception_v3_aux": ("inception_v3_aux", 299),  # the auxiliary head takes 17 x 17 maps at least
    **{"resnet18": ("resnet18", 64), "resnet50": ("resnet50", 64)},
}
# Rounding the images differently, by 2e-16, moves torchvision's own logits by up to 4e-14 (in the auxiliary head, whose
# batch norm has two values a channel); other kernels may round differently in each of about a hundred layers.
TOLERANCE = 1e-10


@pytest.fixture(scope="module")
def differences(bench: Bench) -> Differences:
    return cast(Differences, output_of(bench, "torchvision", "torchvision_logits", json.dumps(COMPUTED)))


@pytest.mark.parametrize("name", COMPUTED)
def test_the_same_weights_give_the_same_logits(differences: Differences, name: str) -> None:
    heads = len(NETWORKS[COMPUTED[name][0]]().heads)
    assert {mode: len(found) for mode, found in differences[name].items()} == {"train": 1 + heads, "eval": 1}
    assert all(each <= TOLERANCE for found in differences[name].values() for each in found), differences[name]


# --- multiply-adds ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def flops(bench: Bench) -> dict[str, int]:
    return cast(dict[str, int], output_of(bench, "torch", "torch_flops", *NETWORKS))


@pytest.mark.parametrize("name", NETWORKS)
def test_multiply_adds(flops: dict[str, int], name: str) -> None:
    """PyTorch counts a multiply-add as two operations, and neither counts biases or other operations."""
    assert flops[name] == 2 * NETWORKS[name]().macs

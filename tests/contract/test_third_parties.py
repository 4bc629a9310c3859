"""Counts and results agree with torchvision, keras.applications, Gluon's model zoo and PyTorch's operation counter.

The scripts in tests/third_parties build the networks of these libraries in separate environments.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, cast

import pytest

from frameworks.networks import NETWORKS
from frameworks.spec import BatchNorm, Conv, Network, Residual, Shape
from frameworks.weight_files.state_dict_names import significant, state_dict_name
from tests.conftest import Bench

ROOT = Path(__file__).parents[2]
Arrays = dict[str, dict[str, list[Any]]]  # by network and array: its shape, and whether it is trained
Counts = tuple[int, int]  # trained, running


def output_of(bench: Bench, environment: str, script: str, *arguments: str) -> Any:
    """The JSON that a script of tests/third_parties prints, run with the interpreter of an environment.

    Processes that run the tests side by side share it, because a script takes minutes.
    """
    shared = bench.scratch.parents[1] if "PYTEST_XDIST_WORKER" in os.environ else bench.scratch
    digest = hashlib.sha256(json.dumps([environment, *arguments]).encode()).hexdigest()[:16]
    path = shared / f"{script}-{digest}.json"
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            path.write_text(json.dumps(_output_of(bench.python(environment), script, arguments)), encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))


def _output_of(python: Path, script: str, arguments: Sequence[str]) -> Any:
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


def normalized_images(net: Network) -> Counts:
    """Keras's EfficientNets hold mean and variance of three channels, and a count, to normalize the images."""
    return net.params, net.buffers + 7


VGGS = "vgg11 vgg13 vgg16 vgg19 vgg11_bn vgg13_bn vgg16_bn vgg19_bn".split()
INCEPTIONS = "inception_v3 inception_v3_aux".split()
RESNETS = "resnet18 resnet34 resnet50 resnet101 resnet152".split()
NAMED_AS_HERE = (
    *("squeezenet1_0 squeezenet1_1 densenet121 densenet161 densenet169 densenet201".split()),
    *("resnext50_32x4d resnext101_32x8d resnext101_64x4d wide_resnet50_2 wide_resnet101_2".split()),
    *("mobilenet_v2 mobilenet_v3_small mobilenet_v3_large mnasnet0_5 mnasnet0_75 mnasnet1_0 mnasnet1_3".split()),
    *("shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5 shufflenet_v2_x2_0".split()),
    *(f"efficientnet_{size}" for size in "b0 b1 b2 b3 b4 b5 b6 b7 v2_s v2_m v2_l".split()),
    *(f"regnet_x_{size}" for size in "400mf 800mf 1_6gf 3_2gf 8gf 16gf 32gf".split()),
    *(f"regnet_y_{size}" for size in "400mf 800mf 1_6gf 3_2gf 8gf 16gf 32gf 128gf".split()),
    *("convnext_tiny convnext_small convnext_base convnext_large".split()),
)
NAMED_BY_KERAS = {
    **{f"DenseNet{depth}": f"densenet{depth}" for depth in (121, 169, 201)},
    **{f"ResNet{depth}V2": f"resnet{depth}_v2" for depth in (50, 101, 152)},
    **{"MobileNet": "mobilenet_v1", "MobileNetV2": "mobilenet_v2"},
    **{"MobileNetV3Small": "mobilenet_v3_small", "MobileNetV3Large": "mobilenet_v3_large"},
    **{"Xception": "xception", "InceptionResNetV2": "inception_resnet_v2"},
    **{f"EfficientNetV2{size}": f"efficientnet_v2_{size.lower()}" for size in "B0 B1 B2 B3 S M L".split()},
    **{f"ConvNeXt{size}": f"convnext_{size.lower()}" for size in ("Tiny", "Small", "Base", "Large", "XLarge")},
}

# Whose network, its name there and here, and its counts there, from ours.
COUNTED: list[tuple[str, str, str, Callable[[Network], Counts]]] = [
    ("torchvision", "alexnet", "alexnet_owt", equal),
    *(("torchvision", name, name, equal) for name in (*VGGS, *INCEPTIONS, *RESNETS)),
    ("torchvision", "googlenet", "googlenet_bn", equal),
    ("torchvision", "googlenet_aux", "googlenet_bn_aux", equal),
    *(("torchvision", name, name, equal) for name in NAMED_AS_HERE),
    ("keras", "VGG16", "vgg16", equal),
    ("keras", "VGG19", "vgg19", equal),
    ("keras", "InceptionV3", "inception_v3", no_gamma),
    *(("keras", f"ResNet{depth}", f"resnet{depth}", bias_everywhere) for depth in (50, 101, 152)),
    *(("keras", theirs, ours, equal) for theirs, ours in NAMED_BY_KERAS.items()),
    *(("keras", f"EfficientNetB{size}", f"efficientnet_b{size}", normalized_images) for size in range(8)),
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


def test_all_convolutional_classifiers_of_torchvision_are_here(bench: Bench) -> None:
    """The others are transformers. Three networks have another name here."""
    theirs = cast(list[str], output_of(bench, "torchvision", "torchvision_names"))
    convolutional = [name for name in theirs if not name.startswith(("vit_", "swin_", "maxvit"))]
    counted = {theirs for whose, theirs, _, counts in COUNTED if whose == "torchvision" and counts is equal}
    assert set(convolutional) == counted - {"googlenet_aux", "inception_v3_aux"}
    assert len(convolutional) == 68


def test_all_networks_of_keras_applications_but_two_are_here(bench: Bench) -> None:
    """A cell of NASNet takes the outputs of the two cells before it; a chain of the spec takes the one before it."""
    theirs = cast(list[str], output_of(bench, "keras", "keras_names"))
    counted = [theirs for whose, theirs, _, _ in COUNTED if whose == "keras"]
    assert sorted(theirs) == sorted([*counted, "NASNetMobile", "NASNetLarge"])
    assert len(theirs) == 40


@pytest.mark.parametrize(
    ("theirs", "ours"), [row[1:3] for row in COUNTED if row[0] == "torchvision" and row[3] is equal]
)
def test_torchvisions_arrays(torchvision: Arrays, theirs: str, ours: str) -> None:
    """Names, shapes and trained arrays are those of torchvision's state_dict."""
    expected = {
        state_dict_name(node, parameter): (_shape(ours, parameter.shape), parameter.trainable)
        for _, node in NETWORKS[ours]().walk()
        for parameter in node.parameters
    }
    found = {name: (_shape(ours, shape), trained) for name, (shape, trained) in torchvision[theirs].items()}
    assert found == expected


def _shape(network: str, shape: Sequence[int]) -> Shape:
    """ConvNeXt's 1 x 1 convolutions are dense layers there, and its layer scales are C x 1 x 1."""
    return significant(tuple(shape)) if network.startswith("convnext") else tuple(shape)


# --- logits, losses and gradients -------------------------------------------------------------------------------------

# torchvision's network: ours, and the height and width of the images.
COMPUTED = {
    # Below the paper's size, torchvision's adaptive means before the dense layers would no longer be the identity.
    **{"alexnet": ("alexnet_owt", 224), "vgg11": ("vgg11", 224), "vgg11_bn": ("vgg11_bn", 224)},
    # 40, 20, 10, 5: each of the four pools rounds up, and the four means of the auxiliary heads overlap unevenly.
    "googlenet_aux": ("googlenet_bn_aux", 80),
    "inception_v3_aux": ("inception_v3_aux", 299),  # the auxiliary head takes 17 x 17 maps at least
    **{
        name: (name, 64)
        for name in (
            *("resnet18", "resnet50", "resnext50_32x4d", "squeezenet1_1", "densenet121", "mobilenet_v2"),
            *("mobilenet_v3_small", "shufflenet_v2_x0_5", "mnasnet0_5", "efficientnet_b0", "regnet_y_400mf"),
            "convnext_tiny",
        )
    },
}
# Rounding the images differently, by 2e-16, moves torchvision's own logits by up to 4e-14 (in the auxiliary head, whose
# batch norm has two values a channel); other kernels may round differently in each of about a hundred layers.
TOLERANCE = 1e-10
# Observed: at most 2e-12, and 1.4e-10 for DenseNet's first gamma. The next batch norm undoes its scaling except for
# epsilon, so its gradient is 1e-5 of the others.
GRADIENT_TOLERANCE = 1e-9
# How many arrays have a gradient that is 0 except for rounding: what they add to a channel, the next batch norm
# subtracts.
ZERO_GRADIENTS = {
    "vgg11_bn": 8,  # the biases of the convolutions
    # The beta of the last batch norm in each block, which no activation follows.
    **{"mobilenet_v2": 17, "mobilenet_v3_small": 11, "mnasnet0_5": 17, "efficientnet_b0": 16},
    "shufflenet_v2_x0_5": 19,  # the beta after each depthwise convolution
    # The beta before the first max pooling, of which every window contains a positive value with these images.
    **dict.fromkeys(("googlenet_aux", "resnet50", "resnext50_32x4d", "densenet121"), 1),
}


@dataclass(frozen=True)
class Differences:
    """How far a network is from torchvision's: see `tests/third_parties/torchvision_results.py`."""

    train: list[float]
    eval: list[float]
    loss: float
    gradients: dict[str, float | None]


@pytest.fixture(scope="module")
def differences(bench: Bench) -> dict[str, Differences]:
    found = output_of(bench, "torchvision", "torchvision_results", json.dumps(COMPUTED))
    return {name: Differences(**each) for name, each in found.items()}


@pytest.mark.parametrize("name", COMPUTED)
def test_the_same_weights_give_the_same_logits(differences: dict[str, Differences], name: str) -> None:
    found = differences[name]
    assert (len(found.train), len(found.eval)) == (1 + len(NETWORKS[COMPUTED[name][0]]().heads), 1)
    assert all(each <= TOLERANCE for each in (*found.train, *found.eval)), found


@pytest.mark.parametrize("name", COMPUTED)
def test_the_same_weights_give_the_same_gradients(differences: dict[str, Differences], name: str) -> None:
    """Of the training loss, auxiliary classifiers included, by every trained array and by the images."""
    found = differences[name]
    trained = {each.name: each for each in NETWORKS[COMPUTED[name][0]]().parameters if each.trainable}
    assert found.loss <= TOLERANCE
    assert found.gradients.keys() == {*trained, "input"}
    zero = [array for array, apart in found.gradients.items() if apart is None]
    assert {trained[array].role for array in zero} <= {"bias", "beta"}
    assert len(zero) == ZERO_GRADIENTS.get(name, 0), zero
    apart = {array: each for array, each in found.gradients.items() if each is not None}
    assert all(each <= GRADIENT_TOLERANCE for each in apart.values()), apart


# --- multiply-adds ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def flops(bench: Bench) -> dict[str, int]:
    return cast(dict[str, int], output_of(bench, "torch", "torch_flops", *NETWORKS))


@pytest.mark.parametrize("name", NETWORKS)
def test_multiply_adds(flops: dict[str, int], name: str) -> None:
    """PyTorch counts a multiply-add as two operations, and neither counts biases or other operations."""
    assert flops[name] == 2 * NETWORKS[name]().macs

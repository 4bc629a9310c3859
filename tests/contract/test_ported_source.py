"""A ported source file, run without onespec, has the reference's logits, gradients and losses in float64.

ONESPEC_PORTED=all tests every network that a writer can write and the machine can compute, which takes hours.
"""

from __future__ import annotations

import os
import subprocess
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest

from benchmarks.porting import onnx_file
from benchmarks.porting.source.export import WRITERS, Ported, about, own_weights, ported, scales_pixels
from benchmarks.porting.source.names import ATTRIBUTES
from benchmarks.porting.source.onnx_model import model
from benchmarks.porting.source.program import Lacking
from benchmarks.training.lr_schedules import Cosine, WarmUp
from benchmarks.training.recipes import DEFAULT, RECIPES, SPEEDRUN, Recipe
from frameworks import arrays
from frameworks.adapter import Setting
from frameworks.arrays import Array, Weights
from frameworks.networks import NETWORKS
from frameworks.numpy_reference import Pass, Reference, without_dropout
from frameworks.spec import (
    ELU,
    GELU,
    SELU,
    AdaptiveAvgPool,
    Add,
    Affine,
    Auxiliary,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
    GroupNorm,
    HardSigmoid,
    HardSwish,
    InstanceNorm,
    Layer,
    LayerNorm,
    LeakyReLU,
    LocalResponseNorm,
    MaxPool,
    Mish,
    Multiply,
    Network,
    Normalize,
    Pad,
    PReLU,
    ReLU,
    ReLU6,
    Residual,
    Resize,
    Scale,
    Select,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
    same,
)
from frameworks.spec.value_checks import METHODS, POSITIONS
from frameworks.training import SGD, Adam, Training
from tests.conftest import Bench

SCRIPT = Path(__file__).parents[1] / "ported_source.py"
FRAMEWORK = {"torch": "torch", "gluon": "mxnet", "keras": "keras", "flax": "jax"}
TOLERANCE = 1e-10  # of the largest logit
LARGEST = 1e9  # multiply-adds of a network on demand
CORNERS = "aligned_corners"
EQUAL = "equal"  # the name of convolutions whose kernel is 0: all pixels of their output are equal


NORMS = {"batch": BatchNorm, "layer": LayerNorm, "instance": InstanceNorm, "group": partial(GroupNorm, groups=2)}
ACTIVATIONS: tuple[type[Layer], ...] = (
    *(ReLU, ReLU6, LeakyReLU, PReLU, ELU, SELU, Sigmoid, HardSigmoid, Tanh, SiLU, HardSwish, GELU, Softplus, Mish),
)


def mobile() -> Network:
    """Inverted residuals with squeeze and excitation, pixels scaled, "same" padding at stride 2, a shuffle."""

    def block(name: str, maps: int, out: int, stride: int = 1) -> list[Layer]:
        wide = 4 * maps
        gate = [GlobalAvgPool("pool"), Conv("fc1", maps, 1), ReLU(), Conv("fc2", wide, 1), Sigmoid()]
        padding = same(3, stride, 16) if stride > 1 else 1
        body: list[Layer] = [
            *(Conv("expand", wide, 1, bias=False), BatchNorm("expand_bn", eps=1e-3, momentum=0.01), HardSwish()),
            *(Conv("depthwise", wide, 3, stride, padding, groups=wide), BatchNorm("depthwise_bn"), ReLU6()),
            Multiply("se", [[], gate]),
            *(Conv("project", out, 1, bias=False), BatchNorm("project_bn", gamma=False)),
        ]
        if stride == 1 and maps == out:
            return [Residual(name, body)]
        shortcut = [Conv("shortcut", out, 1, stride)]
        return [Residual(name, body, shortcut), LeakyReLU(slope=0.25)]

    layers: list[Layer] = [
        *(Scale("pixels"), Normalize("normalize", mean=(0.25, 0.5, 0.5), std=(0.5, 0.25, 0.5))),
        *(Conv("stem", 8, 3, 2, padding=1), BatchNorm("stem_bn"), ReLU()),
        *(*block("stage1.0", 8, 8), *block("stage1.1", 8, 8), *block("stage2.0", 8, 12, 2), *block("stage2.1", 12, 12)),
        Concat(
            "mixed", [[Select("left", tuple(range(6)))], [Select("rest", tuple(range(6, 12))), Conv("right", 6, 1)]]
        ),
        Select("shuffle", tuple(group * 6 + place for place in range(6) for group in range(2))),
        *(Affine("scale"), PReLU("slopes"), Tanh(amplitude=1.7159, slope=2 / 3)),
        *(MaxPool("pool", 3, 2, ceil=True), Flatten(), BatchNorm("flat_bn"), Dense("fc", 5)),
    ]
    return Network("mobile", (3, 32, 32), layers)


def curves() -> Network:
    """Every activation and normalization, each after a convolution of its own, which its derivative reaches alone."""
    kinds = {kind.__name__.lower(): kind for kind in ACTIVATIONS} | NORMS
    branches = [[Conv(f"conv_{name}", 4, 1), kind(name)] for name, kind in kinds.items()]
    return Network("curves", (3, 6, 5), [Concat("all", branches), Flatten(), Dense("fc", 5)])


def heads() -> Network:
    """An auxiliary classifier, and layers of the catalogue that few frameworks have as they are."""
    classifier: list[Layer] = [AdaptiveAvgPool("pool", 3, 2), Flatten(), Dense("hidden", 6), ReLU(), Dense("fc", 5)]
    layers: list[Layer] = [
        *(Conv("conv", 8, 3, padding=1), LocalResponseNorm("norm", size=4, alpha=0.3, k=1.5), ReLU()),
        *(AvgPool("mean", 3, 2, ceil=True), Auxiliary("aux", classifier)),
        Residual(
            "dual",
            [Conv("conv", 8, 3, padding=1), Select("result", (*range(6), None, None, 6, 7))],
            [Select("input", (*range(8), None, None))],
        ),
        *(GlobalAvgPool(), Flatten(), Dense("fc", 5)),
    ]
    return Network("heads", (3, 12, 10), layers)


def windows() -> Network:
    """Maxima over dilated windows, of which one has equal values only, and resizes."""
    layers: list[Layer] = [
        Concat("", [[Conv(EQUAL, 2, 3, padding=1)], [Conv("conv", 4, 3, padding=1)]]),
        MaxPool("pool", (2, 3), (1, 2), ((0, 1), (2, 1)), dilation=(3, 2)),
        *(Resize("corners", 11, 7, positions=CORNERS), Conv("conv2", 4, 3)),
        *(Resize("between", 6, 8, "nearest", "asymmetric"), Conv("conv3", 4, 3), Resize("doubled", 8, 12, "nearest")),
        *(MaxPool("last", 3, 2, 1, dilation=2), Resize("linear", 5, 3), Flatten(), Dense("fc", 5)),
    ]
    return Network("windows", (3, 12, 10), layers)


SMALL = {name: NETWORKS[name] for name in ("lenet", "lenet_bn", "cifar_resnet20", "googlenet_fashion")} | {
    "mobile": mobile,
    "curves": curves,
    "heads": heads,
    "windows": windows,
}


def weights_of(network: Network) -> Weights:
    """Initial weights, with biases, factors and statistics that are not the constants at which they begin."""
    weights, stream = arrays.initial(network, 1), np.random.default_rng(0)
    for parameter in network.parameters:
        if parameter.role != "weight":
            weights[parameter.name] = weights[parameter.name] + stream.uniform(0.05, 0.3, parameter.shape)
        elif parameter.name == f"{EQUAL}.weight":
            weights[parameter.name] = np.zeros(parameter.shape)
    return weights


def images_of(network: Network) -> Array:
    return np.random.default_rng(3).uniform(0, 255, (2, *network.input))


def distance(logits: Array, network: Network, weights: Weights) -> float:
    """The largest difference from the reference's logits, in units of the largest logit."""
    expected = Pass(network, weights, images_of(network), None, False).logits
    assert logits.shape == expected.shape
    return float(np.abs(logits - expected).max() / np.abs(expected).max())


def run(bench: Bench, folder: Path, target: str, network: Network) -> float:
    weights = weights_of(network)
    np.save(folder / "x.npy", images_of(network))
    made = ported(network, target, weights)
    written(folder, made)
    execute(bench, "predict", target, {folder: made.entry})
    return distance(np.load(folder / "y.npy"), network, weights)


def written(folder: Path, made: Ported) -> None:
    (folder / "net.py").write_text(made.source, encoding="utf-8")
    np.savez(folder / "net.npz", **made.weights)  # type: ignore[arg-type]


def execute(bench: Bench, what: str, target: str, entries: Mapping[Path, str]) -> None:
    """Run the source files of some folders in a bare interpreter. entries: their classes or functions."""
    arguments = [text for folder, entry in entries.items() for text in (str(folder), entry)]
    output(bench, FRAMEWORK[target], [str(SCRIPT), what, target, *arguments], next(iter(entries)))


def output(bench: Bench, framework: str, arguments: Sequence[str], folder: Path) -> str:
    """What a framework's interpreter prints, without onespec on its path."""
    known = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    engine = framework.partition("@")[2]
    done = subprocess.run(
        [str(bench.python(framework)), "-I", *arguments],
        cwd=folder,
        env=known | ({"KERAS_BACKEND": engine} if engine else {}),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


FolderOf: TypeAlias = Callable[[str, str], Path]


def in_one_process(
    bench: Bench,
    tmp_path_factory: pytest.TempPathFactory,
    what: str,
    names: Mapping[str, Sequence[str]],
    prepare: Callable[[str, str, Path], Ported],
) -> FolderOf:
    """The folder of a target and a name, with its result; all names of a target are computed in one process.

    prepare: writes what a name's folder needs beside the source.
    """
    made: dict[str, dict[str, Path]] = {}

    def folder_of(target: str, name: str) -> Path:
        if target not in made:
            root, entries = tmp_path_factory.mktemp(target), {}
            made[target] = {each: root / str(number) for number, each in enumerate(names[target])}
            for each, folder in made[target].items():
                folder.mkdir()
                source = prepare(target, each, folder)
                written(folder, source)
                entries[folder] = source.entry
            execute(bench, what, target, entries)
        return made[target][name]

    return folder_of


# An attribute of ONNX, such as HardSwish's 1 / 6, is a float32, which is off by up to 6e-8 of itself.
ONNX_TOLERANCE = {"mobile": 1e-8}
# Derivatives in which a framework has a constant in float32, by target: the layer.
ROUNDED = {"torch": "hardsigmoid", "gluon": "gelu"}
ROUNDED_TOLERANCE = 1e-7


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("target", WRITERS)
def test_the_source_computes_the_reference_s_logits(bench: Bench, tmp_path: Path, target: str, name: str) -> None:
    assert run(bench, tmp_path, target, SMALL[name]()) < TOLERANCE


@pytest.mark.parametrize("target", WRITERS)
def test_every_network_has_a_source(target: str) -> None:
    for make in NETWORKS.values():
        ported(make(), target)


# onnx.reference has no layer normalization in float64; `test_the_onnx_model_of_a_kind_...` has every kind of `curves`.
@pytest.mark.parametrize("name", [name for name in SMALL if name != "curves"])
def test_the_onnx_model_computes_the_reference_s_logits(name: str) -> None:
    reference = pytest.importorskip("onnx.reference")
    network = SMALL[name]()
    weights = weights_of(network)
    proto = model(network, weights, about(network, "onnx"), "float64")
    (logits,) = reference.ReferenceEvaluator(proto).run(None, {"images": images_of(network)})
    assert distance(logits, network, weights) < ONNX_TOLERANCE.get(name, TOLERANCE)
    named = {array.name for array in proto.graph.initializer}
    assert {parameter.name for parameter in network.parameters if not parameter.name.startswith("aux.")} <= named


def test_arrays_that_no_onnx_file_holds_are_refused() -> None:
    """Before any is made: a message of Protocol Buffers has less than 2 GiB."""
    network = Network("wide", (1, 8, 8), [Flatten(), Dense("fc", 2**23)])
    with pytest.raises(Lacking, match=r"^onnx: wide: its arrays in float32 take 2\.0 GiB, and an ONNX file holds"):
        model(network, {}, about(network, "onnx"))


# --- gradients --------------------------------------------------------------------------------------------------------

# Of the largest gradient of the network. A smaller gradient may be a sum of values that cancel, such as that of a bias
# before batch normalization, which is 0: its error is the rounding of these values.
FLOOR = 1e-3
# XLA takes as long for the gradient of GoogLeNet as for those of all others; `mobile` has a Concat, too.
GRADIENTS = {target: [name for name in SMALL if (target, name) != ("flax", "googlenet_fashion")] for target in WRITERS}


@dataclass(frozen=True)
class Differentiated:
    """A network without dropout, its weights, and the images and labels whose loss is differentiated."""

    network: Network
    weights: Weights
    images: Array
    labels: Array

    @property
    def parts(self) -> list[float]:
        """The weights of the losses of the logits and of the auxiliary classifiers."""
        return [1.0, *(head.layer.weight for head in self.network.heads if isinstance(head.layer, Auxiliary))]

    @cached_property
    def gradients(self) -> Weights:
        """Those of the reference by every trained array."""
        reference = Reference(self.network, Training(), Setting("cpu", "float64", 1))
        reference.set_weights(self.weights)
        _, gradients = reference.gradients(self.images, self.labels)
        return {each.name: gradients[each.name] for each in self.network.parameters if each.trainable}

    def expected(self, target: str) -> Weights:
        """The gradients under a framework's names and in its layouts."""
        writer = WRITERS[target]()
        writer.source(self.network, about(self.network, target))
        own = own_weights(writer, self.network, self.weights | self.gradients)
        return {theirs: own[theirs] for name, theirs, _ in writer.arrays() if name in self.gradients}


@cache
def to_differentiate(name: str) -> Differentiated:
    network = without_dropout(SMALL[name]())
    images = images_of(network) / (1 if scales_pixels(network) else 255)
    return Differentiated(network, weights_of(network), images, np.array([1, 3]))


@pytest.fixture(scope="module")
def differentiated(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> FolderOf:
    """The folder of a small network in a framework, with the gradients of its loss."""

    def prepare(target: str, name: str, folder: Path) -> Ported:
        case = to_differentiate(name)
        for key, array in {"x": case.images, "labels": case.labels, "parts": case.parts}.items():
            np.save(folder / f"{key}.npy", array)
        return ported(case.network, target, case.weights)

    return in_one_process(bench, tmp_path_factory, "gradients", GRADIENTS, prepare)


@pytest.mark.parametrize(("target", "name"), [(target, name) for target in WRITERS for name in GRADIENTS[target]])
def test_the_loss_has_the_reference_s_gradients(differentiated: FolderOf, target: str, name: str) -> None:
    """By every trained array, of two images, with batch normalization and auxiliary classifiers as in training."""
    expected = to_differentiate(name).expected(target)
    with np.load(differentiated(target, name) / "y.npz") as found:
        assert set(found.files) == set(expected)
        largest = max(np.abs(array).max() for array in expected.values())
        for key, array in expected.items():
            tolerance = ROUNDED_TOLERANCE if ROUNDED.get(target, " ") in key else TOLERANCE
            limit = tolerance * max(np.abs(array).max(), FLOOR * largest)
            np.testing.assert_allclose(found[key].reshape(array.shape), array, rtol=0, atol=limit, err_msg=key)


# --- kinds of layers --------------------------------------------------------------------------------------------------

FLAT: tuple[Layer, ...] = (Flatten(), Dense("dense", 6))


def enlarged(name: str, height: int, width: int, dilation: int) -> list[Layer]:
    """Layers of a group that are equal up to sizes."""
    conv, corners = Conv(f"{name}.conv", 4, 3, padding=1), Resize(f"{name}.corners", height, width, "linear", CORNERS)
    pool = MaxPool(f"{name}.pool", 2, 1, dilation=dilation)
    return [conv, corners, ReLU(), pool, Resize(f"{name}.linear", height, width)]


def ahead(name: str, maps: int, height: int, width: int, method: str = "linear") -> Layer:
    """A sum of resized values, of which two are expressions with more channels than the input."""
    resizes = [[Conv(f"{side}.conv", maps + 4, 1), Resize(f"{side}.up", height, width, method)] for side in "ab"]
    return Add(name, [*resizes, [Conv("c", maps + 4, 1), Resize("aligned", height, width, positions=CORNERS)]])


# Selections of four channels that are equal up to their values, which may be the arguments of a block.
SELECTIONS: dict[str, list[tuple[int | None, ...]]] = {
    "list": [(2, 0, 1), (3, 1, 0)],
    "places": [(0, None, 3), (2, None, 0)],
    "zeros": [(*range(4), None), (*range(4), *[None] * 4), (*range(4), *[None] * 9)],
    "pad": [(None, *range(4)), (*[None] * 9, *range(1, 3), None), (*range(3), None)],
    "gap": [(0, None, 1, 2, 3), (0, 1, 2, *[None] * 6, 3)],
}
KINDS: dict[str, tuple[Layer, ...]] = {
    "conv at two sides": (Conv("a", 4, 3, 1, ((0, 1), (1, 0))),),
    "conv dilated": (Conv("a", 4, 3, 1, 2, dilation=2),),
    "conv groups": (Conv("a", 6, (1, 3), 2, (0, 1), groups=2),),
    "conv depthwise": (Conv("a", 8, 3, (1, 2), 1, groups=4),),
    "max up": (MaxPool("a", 3, 2, 1, ceil=True),),
    "max up over a small image": (AvgPool("small", 4, 4), MaxPool("a", 3, 2, ceil=True)),
    "mean up over a small image": (AvgPool("small", 4, 4), AvgPool("a", 3, 2, ceil=True)),
    "max at two sides": (MaxPool("a", 3, 2, ((0, 1), (1, 0))),),
    "max dilated": (MaxPool("a", 3, 2, 1, dilation=2),),
    "max dilated at two sides": (MaxPool("a", (2, 3), (1, 2), ((0, 1), (2, 1)), dilation=(3, 2)),),
    "max dilated up": (MaxPool("a", (2, 3), 3, dilation=2, ceil=True),),
    "mean padded": (AvgPool("a", 3, 2, 1),),
    "mean not counted": (AvgPool("a", 3, 1, 1, count_padding=False),),
    "mean up": (AvgPool("a", 2, 2, ceil=True),),
    "mean up, not counted": (AvgPool("a", 3, 2, 1, ceil=True, count_padding=False),),
    "adaptive mean": (AdaptiveAvgPool("a", 4, 3),),
    "pad": (Pad("a", ((1, 2), (0, 1)), value=1.0),),
    **{f"{name} norm": (norm("a"),) for name, norm in NORMS.items()},
    **{f"{name} norm without gamma": (norm("a", gamma=False),) for name, norm in NORMS.items()},
    **{f"{name} norm without beta": (norm("a", beta=False),) for name, norm in NORMS.items()},
    **{f"{name} norm of nothing": (norm("a", gamma=False, beta=False),) for name, norm in NORMS.items()},
    "flat norms": (*FLAT, BatchNorm("a"), LayerNorm("b"), PReLU("c")),
    "affine": (Affine("a"), Affine("b", beta=False)),
    "response norms": (LocalResponseNorm("a", 4, alpha=0.3), LocalResponseNorm("b", 3, alpha=0.3, k=2.0)),
    **{kind.__name__: (kind("a"),) for kind in ACTIVATIONS},
    "other slopes": (LeakyReLU("a", slope=0.3), ELU("b", alpha=0.7), HardSigmoid("c", slope=0.3)),
    "GELU by tanh": (GELU("a", approximate=True),),
    **{
        f"{method} resize, {positions}": (Resize("a", 7, 13, method, positions),)
        for method in METHODS
        for positions in POSITIONS
    },
    **{f"repeated pixels, {positions}": (Resize("a", 18, 24, "nearest", positions),) for positions in POSITIONS},
    "doubled pixels": (Resize("a", 18, 16, "nearest"),),
    "resize to a pixel": (Resize("a", 1, 1, positions=CORNERS), Resize("b", 3, 2)),
    "two resizes": (Resize("a", 5, 6, "linear", "asymmetric"), Resize("b", 6, 5, "nearest", CORNERS)),
    # In float32, some positions between two pixels are rounded to the other one.
    "resize between pixels": (Resize("a", 26, 41, "nearest"), Resize("b", 22, 20, "nearest", "asymmetric")),
    "blocks of windows": (*enlarged("up1", 12, 11, 2), *enlarged("up2", 14, 16, 3)),
    "selections": (
        Select("a", (3, 0, 1)),
        Select("b", (0, 1, 2, None)),
        Select("c", (0, 2, 1, 3)),
        Select("d", (1, 2)),
    ),
    "zeros at both sides": (Select("a", (None, None, 0, 1, 2, 3, None)), Select("b", (*[None] * 9, *range(7), None))),
    "zeros beside some channels": (
        Select("a", (None, 1, 2, None)),
        Select("b", (2, 3, None)),
        Select("c", (None, 0, 1)),
    ),
    "zeros at many places": (Select("a", (None, 0, 1, None, 2, None, None, 3)), Select("b", (2, None, 1)), ReLU()),
    "zeros between": (Select("a", (0, *[None] * 9, 1, 2, 3)), Select("b", (*range(13), *[None] * 20))),
    "zeros alone": (Select("a", (None, None)),),
    # In a sum, a value before a selection is an expression, which no writer may repeat: one may be random.
    "selections of expressions": (
        *(
            Residual(
                f"sum{number}", [Conv("conv", 4, 1)], [Affine("scale"), Select("select", maps), Conv("back", 4, 1)]
            )
            for number, maps in enumerate([(2, 0, 1), (0, None, 3), (*range(4), *[None] * 4), (None, *range(4), None)])
        ),
    ),
    "blocks of selections": (
        *(
            Residual(f"{kind}.{number}", [Select("select", maps), Conv("conv", 4, 1)])
            for kind, several in SELECTIONS.items()
            for number, maps in enumerate(several)
        ),
    ),
    "flat zeros": (*FLAT, Select("a", (None, 0, 3, 1, 4, 2, 5)), Select("b", (0, 2, 4, 6, 1, 3, 5, None)), ReLU()),
    "flat zeros at both sides": (*FLAT, Select("a", (None, *range(6), None)), Select("b", (0, 4, 1, 5, 2, 6, 3, 7))),
    "flat selections": (*FLAT, Select("a", (4, 2, 1, 0)), Select("b", (0, None, 1, 2, 3)), Select("c", (1, 2, 3))),
    # In a class, the variable x has other channels than the values that are resized or flattened.
    "resizes of other values": (
        *(ahead("up1", 6, 18, 16), ahead("up2", 3, 36, 32), ahead("up3", 3, 20, 30, "nearest")),
        Add("means", [[Conv("wide1", 9, 1), AdaptiveAvgPool("one", 1, 1)], [Conv("wide2", 9, 1), GlobalAvgPool()]]),
    ),
    "mean of a mean": (GlobalAvgPool(), GlobalAvgPool()),
    "joins": (Multiply("a", [[Conv("b", 4, 1)], []]), Add("c", [[], [ReLU()], [Conv("d", 4, 1)]])),
    "flat joins": (*FLAT, Concat("a", [[Dense("b", 3)], []]), Residual("c", [Dense("d", 9)], [Dense("e", 9)])),
}
# What a writer refuses, by target: a layer that the framework has not got, or not in this form.
REFUSED: dict[str, set[str]] = {
    "torch": {"layer norm without gamma", "group norm without gamma", "group norm without beta"}
    | {"instance norm without gamma", "instance norm without beta", "batch norm without beta"},
    "gluon": set(),
    "keras": {"mean up, not counted"},
    "flax": set(),
}


def of_kind(name: str) -> Network:
    layers = KINDS[name]
    flat = len(Network("net", (4, 9, 8), layers).output) == 1
    return Network("net", (4, 9, 8), [*layers, *(() if flat else (Flatten("flat"),)), Dense("fc", 5)])


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("name", KINDS)
def test_the_onnx_model_of_a_kind_is_read_and_computed(tmp_path: Path, name: str, precision: str) -> None:
    """By the operators with which a model of a user is compared with its spec, in float64 whatever the file has."""
    network, path = of_kind(name), tmp_path / "model.onnx"
    weights = weights_of(network)
    path.write_bytes(model(network, weights, about(network, "onnx"), precision).SerializeToString())
    read = onnx_file.read(path, "model.onnx", network.input)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of overflow: a user would see them
        logits = onnx_file.values(read, images_of(network), ["logits"])["logits"]
        large = onnx_file.values(read, 100 * images_of(network), ["logits"])["logits"]
    rounded = {key: array.astype(precision).astype(np.float64) for key, array in weights.items()}
    assert distance(logits, network, rounded) < (1e-10 if precision == "float64" else 1e-6)
    assert np.isfinite(large).all()


@pytest.fixture(scope="module")
def computed(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> FolderOf:
    """The folder of a kind of layer in a framework, with its logits."""

    def prepare(target: str, name: str, folder: Path) -> Ported:
        network = of_kind(name)
        np.save(folder / "x.npy", images_of(network) / 100 - 1)
        return ported(network, target, weights_of(network))

    names = {target: [each for each in KINDS if each not in REFUSED[target]] for target in WRITERS}
    return in_one_process(bench, tmp_path_factory, "predict", names, prepare)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("target", WRITERS)
def test_a_kind_of_layer(computed: FolderOf, target: str, name: str) -> None:
    network = of_kind(name)
    if name in REFUSED[target]:
        with pytest.raises(Lacking, match=rf"^{target}: no source for a "):
            ported(network, target)
        return
    logits = np.load(computed(target, name) / "y.npy")
    expected = Pass(network, weights_of(network), images_of(network) / 100 - 1, None, False).logits
    np.testing.assert_allclose(logits, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


# --- training ---------------------------------------------------------------------------------------------------------

EPOCHS, BATCH = 4, 8
# Default recipes, and recipes that have all the parts that a loop can have.
TRAININGS: dict[str, tuple[str, Recipe]] = {
    "lenet": ("lenet", RECIPES["lenet"]),
    "cnn": ("cnn", RECIPES["cnn"]),
    "batch_norm": ("lenet_bn", DEFAULT),
    "one_cycle": ("lenet_bn", replace(SPEEDRUN, augmentations=(), pixels=DEFAULT.pixels, lr=0.04)),
    "adamw": ("lenet_bn", Recipe("", 1, 8, Training(Adam(0.8, 0.99, 1e-4, 0.1, True)), 0.01, lr_schedule=Cosine())),
    "warm_up": ("lenet_bn", Recipe("", 1, 8, Training(SGD(0.9, weight_decay=0.1)), 0.01, lr_schedule=WarmUp(2))),
    "plain": ("lenet_bn", Recipe("", 1, 8, Training(SGD(weight_decay=0.1), label_smoothing=0.1), 0.1)),
    "heads": ("heads", replace(RECIPES["cnn"], pixels=DEFAULT.pixels)),
    "smooth_heads": ("heads", Recipe("", 1, 8, Training(SGD(), label_smoothing=0.1), 0.01)),
    "adam": ("lenet_bn", Recipe("", 1, 8, Training(Adam(weight_decay=0.1)), 0.01)),
}


def prepared(name: str) -> tuple[Network, Weights]:
    """The network of a training and its initial weights."""
    net, recipe = TRAININGS[name]
    network = {**NETWORKS, **SMALL}[net]()
    network = network.after(*recipe.pixels, input=network.input)
    return network, arrays.initial(network, 0, recipe.initial)


def training_data(network: Network) -> dict[str, Array]:
    """20 steps. The last batch of LeNet's epochs has 4 images; elsewhere it is full, which spares compilations."""
    stream, count = np.random.default_rng(0), 36 if network.name == "lenet" else 40
    order = np.array([stream.permutation(count) for _ in range(EPOCHS)])
    images, labels = stream.uniform(0, 255, (count, *network.input)), stream.integers(0, network.classes, count)
    return {"x": images, "labels": labels, "order": order, "batch_size": np.array(BATCH)}


@pytest.fixture(scope="module")
def trained(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> FolderOf:
    """The folder of a training in a framework, with its losses."""

    def prepare(target: str, name: str, folder: Path) -> Ported:
        network, weights = prepared(name)
        for key, array in training_data(network).items():
            np.save(folder / f"{key}.npy", array)
        return ported(network, target, weights, recipe=TRAININGS[name][1])

    return in_one_process(bench, tmp_path_factory, "train", dict.fromkeys(WRITERS, tuple(TRAININGS)), prepare)


@cache
def expected_losses(name: str, batch_size: int = BATCH) -> Array:
    """Those of the reference: epochs x steps."""
    network, weights = prepared(name)
    return reference_losses(network, weights, training_data(network), TRAININGS[name][1], batch_size)


def reference_losses(
    network: Network, weights: Weights, data: Mapping[str, Array], recipe: Recipe, batch_size: int = BATCH
) -> Array:
    reference = Reference(network, recipe.training, Setting("cpu", "float64", 1))
    reference.set_weights(weights)
    reference.load("train", data["x"], data["labels"])
    rates = recipe.lr * recipe.lr_schedule.factors(EPOCHS, -(-len(data["x"]) // batch_size)).reshape(EPOCHS, -1)
    return np.array([reference.train(order, batch_size, lrs, 0).losses for order, lrs in zip(data["order"], rates)])


@pytest.mark.parametrize("name", TRAININGS)
@pytest.mark.parametrize("target", WRITERS)
def test_twenty_steps_have_the_reference_s_losses(trained: FolderOf, target: str, name: str) -> None:
    losses, expected = np.load(trained(target, name) / "y.npy"), expected_losses(name).ravel()
    assert losses.shape == (20,) and abs(expected[-1] - expected[0]) > 1e-3
    np.testing.assert_allclose(losses, expected, rtol=TOLERANCE)


def printed_losses(bench: Bench, folder: Path, framework: str, network: Network, made: Ported) -> list[float]:
    """The loss of each epoch that a source file prints when it is run as a program, in float32."""
    written(folder, made)
    data = training_data(network)
    np.save(folder / "x.npy", data["x"])
    np.save(folder / "labels.npy", data["labels"].astype(np.uint8))  # as data sets have them
    np.save(folder / "order.npy", data["order"])
    text = output(bench, framework, ["net.py", "x.npy", "labels.npy", "order.npy"], folder)
    return [float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith("epoch ")]


@pytest.mark.parametrize("target", WRITERS)
def test_a_source_file_is_a_program_that_trains(bench: Bench, tmp_path: Path, target: str) -> None:
    network, weights = prepared("lenet")
    recipe = TRAININGS["lenet"][1]
    made = ported(network, target, weights, recipe=recipe)
    printed = printed_losses(bench, tmp_path, FRAMEWORK[target], network, made)
    np.testing.assert_allclose(printed, expected_losses("lenet", recipe.batch_size).mean(1), atol=1e-3)


@pytest.mark.parametrize("engine", ["jax", "torch"])
def test_keras_s_source_trains_on_every_engine(bench: Bench, tmp_path: Path, engine: str) -> None:
    """In float32; on JAX, Keras' layers are not those of float64. The spec's names have dots, which PyTorch refuses."""
    activations = [GELU("a"), GELU("b", approximate=True), LeakyReLU("c", slope=0.3), HardSigmoid("d", slope=0.3)]
    norms = [LocalResponseNorm("norm", 4), BatchNorm("stage.0.bn"), Affine("stage.0.scale")]
    resizes = [Resize("doubled", 8, 6, "nearest"), Resize("corners", 7, 5, positions=CORNERS)]
    windows = [*resizes, MaxPool("pool", 3, 1, 1, dilation=2)]
    layers = [*DEFAULT.pixels, Conv("stage.0.conv", 4, 3), *activations, *norms, *windows, Flatten(), Dense("fc", 5)]
    network = Network("net", (2, 6, 5), layers)
    weights = arrays.initial(network, 0, DEFAULT.initial)
    made = ported(network, "keras", weights, recipe=DEFAULT)
    printed = printed_losses(bench, tmp_path, f"keras@{engine}", network, made)
    expected = reference_losses(network, weights, training_data(network), DEFAULT, DEFAULT.batch_size)
    np.testing.assert_allclose(printed, expected.mean(1), atol=1e-3)


# Layers for which a source of Keras has a class or a function of its own, and layers of Keras that can follow.
BEHIND: dict[str, Layer] = {
    **{
        "affine": Affine("a"),
        "summands": Affine("a", beta=False),
        "slopes": PReLU("a"),
        "lrn": LocalResponseNorm("a", 3),
    },
    **{"dilated": MaxPool("a", (2, 3), (1, 2), 1, dilation=(2, 1)), "doubled": Resize("a", 10, 8, "nearest")},
    **{f"{each}_resize": Resize("a", 7, 3, positions=each) for each in POSITIONS},
    **{
        "between": Select("a", (0, None, 1, 2, 3)),
        "shuffled": Select("a", (0, 2, 1, 3)),
        "pad": Pad("a", 1, value=2.0),
    },
    **{"gelu": GELU("a"), "scale": Scale("a", factor=0.3), "product": Multiply("a", [[Conv("b", 4, 1)], []])},
    **{"adaptive": AdaptiveAvgPool("a", 2, 3), "normalized": LayerNorm("a"), "group": GroupNorm("a", groups=2)},
}
BEFORE: dict[str, Layer] = {
    **{kind.__name__: kind("before") for kind in ACTIVATIONS},
    **{"gelu_tanh": GELU("before", approximate=True), "other_slope": LeakyReLU("before", slope=0.3)},
    **{"other_alpha": ELU("before", alpha=0.7), "other_hard_sigmoid": HardSigmoid("before", slope=0.3)},
    **{"scaled_tanh": Tanh("before", amplitude=1.7159, slope=2 / 3)},
}


@pytest.mark.parametrize("framework", ["keras", "keras@jax", "keras@torch"])
def test_every_layer_of_keras_is_built_behind_every_activation(bench: Bench, tmp_path: Path, framework: str) -> None:
    """Where a function of Keras gives a symbolic tensor that is not dense, a layer behind it may not be traced."""
    branches: list[list[Layer]] = [
        [Conv(f"{before}.{behind}.conv", 4, 1), first, second, GlobalAvgPool()]
        for before, first in BEFORE.items()
        for behind, second in BEHIND.items()
    ]
    branches = [
        [replace(each, name=each.name and f"{number}.{each.name}") for each in branch]
        for number, branch in enumerate(branches)
    ]
    network = Network("net", (2, 5, 4), [Concat("all", branches), Flatten(), Dense("fc", 3)])
    weights, images = weights_of(network), images_of(network) / 255
    np.save(tmp_path / "x.npy", images.transpose(0, 2, 3, 1).astype(np.float32))
    made = ported(network, "keras", weights)
    written(tmp_path, made)
    run_net = (
        f"import numpy as np, net; made = net.{made.entry}(); net.load_weights(made, 'net.npz'); "
        "y = made(np.load('x.npy'), training=False); np.save('y.npy', y.detach() if hasattr(y, 'detach') else y)"
    )
    output(bench, framework, ["-c", f"import sys; sys.path.insert(0, '.'); {run_net}"], tmp_path)
    expected = Pass(network, weights, images, None, False).logits
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected, atol=1e-5 * np.abs(expected).max())


BASES = {
    "torch": "from torch import nn; bases = nn.Module(), nn.Sequential()",
    "gluon": "from mxnet import gluon; bases = gluon.Block(), gluon.HybridBlock(), gluon.nn.HybridSequential()",
    "flax": "from flax import nnx; bases = nnx.Module, nnx.Sequential()",
}


@pytest.mark.parametrize("target", BASES)
def test_no_layer_has_the_name_of_an_attribute_of_the_base_class(bench: Bench, tmp_path: Path, target: str) -> None:
    code = f"{BASES[target]}; print(*{{name for base in bases for name in dir(base) if name[0] != '_'}})"
    names = set(output(bench, FRAMEWORK[target], ["-c", code], tmp_path).split())
    assert {"torch": "forward", "gluon": "forward", "flax": "train"}[target] in names
    assert names <= ATTRIBUTES


@pytest.mark.skipif(os.environ.get("ONESPEC_PORTED") != "all", reason="on demand: ONESPEC_PORTED=all")
@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in SMALL])
@pytest.mark.parametrize("target", WRITERS)
def test_every_network(bench: Bench, tmp_path: Path, target: str, name: str) -> None:
    network = NETWORKS[name]()
    if network.macs > LARGEST:
        pytest.skip(f"{network.macs / 1e9:.1f} G multiply-adds in the reference")
    try:
        assert run(bench, tmp_path, target, network) < TOLERANCE
    except Lacking as error:
        pytest.skip(str(error))

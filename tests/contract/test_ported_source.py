"""A ported source file, run without onespec, computes the logits of the NumPy reference in float64.

ONESPEC_PORTED=all tests every network that a writer can write and the machine can compute, which takes hours.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmarks.porting.source.export import WRITERS, about, ported
from benchmarks.porting.source.onnx_model import model
from benchmarks.porting.source.program import Lacking
from frameworks import arrays
from frameworks.arrays import Array, Weights
from frameworks.networks import NETWORKS
from frameworks.numpy_reference import Pass
from frameworks.spec import (
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
    HardSwish,
    Layer,
    LeakyReLU,
    MaxPool,
    Multiply,
    Network,
    Normalize,
    PReLU,
    ReLU,
    ReLU6,
    Residual,
    Scale,
    Select,
    Sigmoid,
    Tanh,
    same,
)
from frameworks.spec.joins import Concat
from frameworks.spec.normalization import Affine, BatchNorm
from tests.conftest import Bench

SCRIPT = Path(__file__).parents[1] / "ported_source.py"
FRAMEWORK = {"torch": "torch", "gluon": "mxnet", "keras": "keras", "flax": "jax"}
TOLERANCE = 1e-10  # of the largest logit
LARGEST = 1e9  # multiply-adds of a network on demand


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


SMALL = {name: NETWORKS[name] for name in ("lenet", "lenet_bn", "cifar_resnet20", "googlenet_fashion")} | {
    "mobile": mobile
}


def weights_of(network: Network) -> Weights:
    """Initial weights, with biases, factors and statistics that are not the constants at which they begin."""
    weights, stream = arrays.initial(network, 1), np.random.default_rng(0)
    for parameter in network.parameters:
        if parameter.role != "weight":
            weights[parameter.name] = weights[parameter.name] + stream.uniform(0.05, 0.3, parameter.shape)
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
    made = ported(network, target, weights)
    source, arrays_file, images, logits = (folder / name for name in ("net.py", "net.npz", "x.npy", "y.npy"))
    source.write_text(made.source, encoding="utf-8")
    np.savez(arrays_file, **made.weights)  # type: ignore[arg-type]
    np.save(images, images_of(network))
    files = [str(SCRIPT), target, str(source), made.entry, str(arrays_file), str(images), str(logits)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(bench.python(FRAMEWORK[target])), "-I", *files]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return distance(np.load(logits), network, weights)


# An attribute of ONNX, such as HardSwish's 1 / 6, is a float32, which is off by up to 6e-8 of itself.
ONNX_TOLERANCE = {"mobile": 1e-8}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("target", WRITERS)
def test_the_source_computes_the_reference_s_logits(bench: Bench, tmp_path: Path, target: str, name: str) -> None:
    assert run(bench, tmp_path, target, SMALL[name]()) < TOLERANCE


@pytest.mark.parametrize("name", SMALL)
def test_the_onnx_model_computes_the_reference_s_logits(name: str) -> None:
    reference = pytest.importorskip("onnx.reference")
    network = SMALL[name]()
    weights = weights_of(network)
    proto = model(network, weights, about(network, "onnx"), "float64")
    (logits,) = reference.ReferenceEvaluator(proto).run(None, {"images": images_of(network)})
    assert distance(logits, network, weights) < ONNX_TOLERANCE.get(name, TOLERANCE)
    named = {array.name for array in proto.graph.initializer}
    assert {parameter.name for parameter in network.parameters} <= named


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

"""ONNX' own tests of its operators, read from the data of its wheel (onnx.backend.test).

Each folder has a model, the inputs and the expected outputs. The group `node` has the tests of the operators; the
groups `pytorch-converted` and `pytorch-operator` have models that PyTorch exported, most of them of one operator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.helper import get_attribute_value

from frameworks.adapter import Setting
from frameworks.arrays import Array, Weights
from frameworks.numpy_reference import Reference
from frameworks.spec import Layer, Network
from frameworks.training import Training

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
GROUPS = ("node", "pytorch-converted", "pytorch-operator")

HALF = "half precision: the expected outputs are rounded to 11 bits or fewer"
WHOLE = "whole numbers, Boolean values or text: the layers compute with real numbers"
EMPTY = "no values: an input or output has a size of 0"
RANGE = "values beyond the range of float32"
ABSENT = "an input that is no tensor, or none"


class Unmapped(Exception):
    """The test has no form in the spec; the message is the reason, as docs/onnx-nodes.md gives it."""


@dataclass(frozen=True)
class NodeTest:
    """One test. `inputs` and `outputs` are in the operator's order; an input that the node omits is None."""

    name: str
    group: str
    model: onnx.ModelProto = field(repr=False)

    @cached_property
    def operators(self) -> tuple[str, ...]:
        """The operators of the graph in order, without the constants."""
        return tuple(node.op_type for node in self.model.graph.node if node.op_type != "Constant")

    @property
    def operator(self) -> str:
        return self.operators[0] if len(self.operators) == 1 else "several operators"

    @property
    def expanded(self) -> bool:
        """Whether the graph is the definition of one operator by others, with the data of that operator's test."""
        return "_expanded" in self.name

    @cached_property
    def node(self) -> onnx.NodeProto:
        return next(node for node in self.model.graph.node if node.op_type != "Constant")

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """Attributes by name; text is decoded."""
        values = {each.name: get_attribute_value(each) for each in self.node.attribute}
        return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}

    @cached_property
    def inputs(self) -> tuple[Array | None, ...]:
        graph = self.model.graph
        values = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
        values |= {
            node.output[0]: numpy_helper.to_array(get_attribute_value(node.attribute[0]))
            for node in graph.node
            if node.op_type == "Constant"
        }
        given = [each.name for each in graph.input if each.name not in values]
        values |= dict(zip(given, self._arrays("input", len(given))))
        return tuple(values.get(name) for name in self.node.input)

    @cached_property
    def outputs(self) -> tuple[Array, ...]:
        return self._arrays("output", len(self.model.graph.output))

    def _arrays(self, kind: str, count: int) -> tuple[Array, ...]:
        folder = DATA / self.group / self.name / "test_data_set_0"
        graph = self.model.graph
        declared = graph.input if kind == "input" else graph.output
        if not all(each.type.HasField("tensor_type") for each in declared):
            raise Unmapped(ABSENT)
        paths = [folder / f"{kind}_{number}.pb" for number in range(count)]
        return tuple(numpy_helper.to_array(onnx.load_tensor(str(path))) for path in paths)

    # --- what translations read ---------------------------------------------------------------------------------------

    def attribute(self, name: str, default: Any) -> Any:
        """An attribute, or the operator's default."""
        return self.attributes.get(name, default)

    def given(self, number: int) -> Array | None:
        """An input of any type; None where the node omits it."""
        return self.inputs[number] if number < len(self.inputs) else None

    def integers(self, number: int) -> list[int] | None:
        """The values of an input that holds sizes, positions or axes; None where the node omits it."""
        value = self.given(number)
        return None if value is None else [int(each) for each in value.ravel()]

    def x(self, number: int = 0) -> Array:
        """An input with real values."""
        value = self.given(number)
        if value is None:
            raise Unmapped(ABSENT)
        return real(value)

    def optional(self, number: int) -> Array | None:
        """An input with real values; None where the node omits it."""
        return None if self.given(number) is None else self.x(number)

    def all_inputs(self) -> list[Array]:
        return [self.x(number) for number in range(len(self.inputs))]

    def numbers(self, number: int = 0) -> Array:
        """An input with real or whole numbers, as real numbers; for operators that neither round nor overflow."""
        value = self.given(number)
        if value is None:
            raise Unmapped(ABSENT)
        return exact(value)

    @property
    def exact_y(self) -> Array:
        """The first output, like `numbers`."""
        return exact(self.outputs[0])

    @property
    def version(self) -> int:
        """Version of the operator set."""
        return next(int(each.version) for each in self.model.opset_import if each.domain in ("", "ai.onnx"))

    @property
    def y(self) -> Array:
        """The first output."""
        return real(self.outputs[0])


def real(value: Array) -> Array:
    """A float32 or float64 array with values; `Unmapped` for others."""
    if value.dtype.name in ("float16", "bfloat16"):
        raise Unmapped(HALF)
    if value.dtype.name not in ("float32", "float64"):
        raise Unmapped(WHOLE)
    if not value.size:
        raise Unmapped(EMPTY)
    largest, narrow = np.abs(value).max(), np.finfo(np.float32)
    if largest > narrow.max or 0 < largest < narrow.tiny:
        raise Unmapped(RANGE)
    return value


def exact(value: Array) -> Array:
    """Whole numbers up to 2^24, which float32 holds exactly, as float64; real numbers as in `real`."""
    if value.dtype.kind in "iu" and value.size and int(np.abs(value.astype(object)).max()) <= 2**24:
        return value.astype(np.float64)
    return real(value)


@dataclass(frozen=True)
class Mapped:
    """A test as layers.

    images: N x C x H x W or N x features. expected: the output of the last layer. weights: arrays by canonical name.
    training: the layers compute in training mode.
    """

    layers: Sequence[Layer]
    images: Array
    expected: Array
    weights: Weights = field(default_factory=dict)
    training: bool = False

    @cached_property
    def network(self) -> Network:
        return Network("node", self.images.shape[1:], self.layers)

    def error(self, output: Array) -> float:
        """The largest difference from the expected output, as a fraction of its largest value."""
        found = np.asarray(output, np.float64)
        assert found.shape == self.expected.shape, f"{found.shape} and not {self.expected.shape}"
        largest = np.abs(self.expected).max()
        return float(np.abs(found - self.expected).max() / (largest or 1.0))

    def arrays(self) -> Weights:
        """The arrays of the network in float64, each in its shape."""
        return {
            parameter.name: np.asarray(self.weights[parameter.name], np.float64).reshape(parameter.shape)
            for parameter in self.network.parameters
        }

    def activations(self) -> Weights:
        """Every layer's output, computed by the reference."""
        reference = Reference(self.network, Training(), Setting(precision="float64"))
        reference.set_weights(self.arrays())
        return reference.activations(self.images, self.training)

    def reference(self) -> Array:
        """The output of the reference."""
        return self.activations()[self.network.nodes[-1].path]


@cache
def node_tests() -> dict[str, NodeTest]:
    """All tests by name, without the prefix that they have in common."""
    folders = [folder for group in GROUPS for folder in sorted((DATA / group).iterdir())]
    found = {}
    for folder in folders:
        test = NodeTest(folder.name, folder.parent.name, onnx.load(folder / "model.onnx"))
        found[folder.name.removeprefix("test_")] = test
    assert len(found) == len(folders), "two tests have one name"
    return found

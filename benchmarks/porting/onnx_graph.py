"""The operators of an ONNX model as layers of the spec.

The model has been converted to float64 (`onnx_file`), so constants that are computed here are those of the model that
`compared` runs. Sizes are numbers: the batch is the model's own, or `BATCH` where that is free. Values that depend on
no image are computed by onnx.reference.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, TypeAlias

import numpy as np

from benchmarks.porting.array_builder import ArrayBuilder, is_of_input, short_padding, short_pair
from benchmarks.porting.graphs import ZERO, Graph, Probabilities, Value, called_twice, refused
from benchmarks.porting.interpolation import interpolation
from benchmarks.porting.numbers import shortest
from benchmarks.porting.onnx_arithmetic import OPERATORS, Arithmetic, Unknown
from benchmarks.runtime.errors import BadInput
from frameworks.arrays import Array, Weights
from frameworks.spec import (
    ELU,
    GELU,
    SELU,
    Add,
    Affine,
    AvgPool,
    BatchNorm,
    Conv,
    Dropout,
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
    Pad,
    PReLU,
    ReLU,
    ReLU6,
    Scale,
    Shape,
    Sides,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
    same,
    times,
)
from frameworks.spec.activations import SELU_ALPHA, SELU_SCALE
from frameworks.spec.joins import Join

BATCH = 2  # images, where the model leaves the number free
MOST_VALUES = 1 << 26  # of a constant that is computed
_PLAIN: dict[str, Callable[[], Layer]] = {
    "Relu": ReLU,
    "Sigmoid": Sigmoid,
    "Tanh": Tanh,
    "Softplus": Softplus,
    "HardSwish": HardSwish,
    "Mish": Mish,
}
_SAME = ("Identity", "Cast", "CastLike")
_ROLES = r"weights?|kernel|gamma|scale|slope|bias|beta|(?:running|moving)_(?:mean|var|variance)|alpha|w|b"
_ROLE = re.compile(rf"(?P<stem>.+?)[._/](?:{_ROLES})(?:[:_]\d+)?", re.IGNORECASE)
# Names that exporters make up for arrays and operators.
_MADE_UP = re.compile(r"(?:onnx::|val_\d|node_|n\d+$|\d).*|.*(?:ReadVariableOp|const_fold).*")
_WRAPPERS = ("StatefulPartitionedCall", "PartitionedCall")
_FOLDED = re.compile(r"onnx::Conv_\d+")  # PyTorch's name of a weight into which it folded batch normalization


@dataclass(frozen=True)
class Rows:
    """The rows of an image multiplied with a matrix: a product with its columns makes it an interpolation or a mean."""

    of: Value
    matrix: Array


@dataclass(frozen=True)
class Pixels:
    """The pixels of all images of a batch as the rows of one matrix. of: the images, with their channels last."""

    of: Value


@dataclass(frozen=True)
class Edged:
    """An image whose edges are repeated around it, which a maximum may take: a window has them twice. error: else."""

    of: Value
    sides: Sides
    error: BadInput


Result: TypeAlias = "Value | Array | Unknown | Probabilities | Rows | Pixels | Edged | None"


@dataclass(frozen=True)
class Model:
    """What `onnx_file` reads of a file. shape: of one image, channels first. last: the file has channels last."""

    proto: Any = None  # onnx.ModelProto
    shape: Shape = ()
    last: bool = False
    batch: int = 0  # 0: any number
    opset: int = 0
    compute: Callable[[Any, Mapping[str, Array]], Sequence[Array]] = lambda node, inputs: ()  # one operator


class OnnxCall:
    """An operator with its attributes and its inputs; an input that is left out is None."""

    def __init__(self, node: Any, attributes: Mapping[str, Any], inputs: Sequence[Result], opset: int) -> None:
        self.node, self.attributes, self.inputs, self.opset = node, attributes, inputs, opset
        self.operator: str = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
        self.output: str = node.output[0]
        self.where = f"node {node.name or self.output}"

    def __call__(self, name: str, default: Any = None) -> Any:
        return self.attributes.get(name, default)

    @property
    def input(self) -> Value:
        return self.value(0)

    def value(self, place: int) -> Value:
        given = self.inputs[place] if place < len(self.inputs) else None
        if isinstance(given, Value):
            return given
        if isinstance(given, Probabilities):
            raise refused(given.operator, self.where, "a softmax is only cut off at the end")
        if isinstance(given, (Unknown, Edged)):
            raise given.error
        raise self.refused("it mixes the images of a batch" if isinstance(given, Pixels) else "")

    @property
    def tensors(self) -> list[int]:
        """The places of the inputs that depend on the image."""
        return [
            place for place, each in enumerate(self.inputs) if each is not None and not isinstance(each, np.ndarray)
        ]

    @property
    def operand(self) -> Array | None:
        """That of two inputs which depends on no image; None if both depend on it."""
        return next((each for each in self.inputs if isinstance(each, np.ndarray)), None)

    def constant(self, place: int, name: str = "") -> Array | None:
        """An input that depends on no image, or in older opsets the attribute of this name; None if left out."""
        given = self.inputs[place] if place < len(self.inputs) else None
        if given is None:
            attribute = self(name) if name else None
            return None if attribute is None else np.asarray(attribute)
        if not isinstance(given, np.ndarray):
            raise self.refused(f"input {place + 1} is computed from the image")
        return given

    def array(self, place: int) -> Array:
        found = self.constant(place)
        if found is None:
            raise self.refused(f"input {place + 1} is missing")
        return found

    def axis(self, number: int, rank: int | None = None) -> int:
        """An axis, which may be counted from the end, as an axis of one image. The batch is refused."""
        rank = len(self.input.shape) + 1 if rank is None else rank
        axis = int(number) % rank - 1
        if axis < 0:
            raise self.refused("it mixes the images of a batch")
        return axis

    def refused(self, why: str = "") -> BadInput:
        return refused(self.operator, self.where, why)


def converted(model: Model) -> tuple[Graph, str, Weights]:
    """The graph of a model, the tensor that gives the logits, and the arrays by canonical name.

    Raises BadInput for what has no layer.
    """
    return _OnnxConverter(model).run()


class _OnnxConverter:
    def __init__(self, model: Model) -> None:
        self.model, self.proto = model, model.proto.graph
        self.batch = model.batch or BATCH
        self.builder = ArrayBuilder(model.shape)
        self.values: dict[str, Result | list[Value]] = {}
        self.uses = Counter(name for node in self.proto.node for name in node.input)
        self.uses.update(output.name for output in self.proto.output)
        self.arithmetic = Arithmetic(self.proto.node, model.compute, self.batch)
        self.owners: dict[str, str] = {}  # the layer of a weight
        self.sources: dict[str, str] = {}  # the array of the file that a computed one is, in another form
        self.folded: list[str] = []  # layers with names of folded weights
        self.normalized = False

    def run(self) -> tuple[Graph, str, Weights]:
        import onnx

        initial = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in self.proto.initializer}
        self.values |= initial
        (image,) = (each.name for each in self.proto.input if each.name not in initial)
        self.values[image] = self.builder.whole("input", last=self.model.last)
        for node in self.proto.node:
            self._node(onnx, node)
        name = self.proto.output[0].name
        value = self.values.get(name)
        if isinstance(value, Probabilities):
            self.builder.notes.append(f"the final {value.operator} is cut off: the network gives logits")
            name, value = value.node, value.logits
        if isinstance(value, Unknown):
            raise value.error
        if not isinstance(value, Value):
            raise BadInput(f"its output {name} is no tensor that depends on the image")
        if len(self.proto.output) > 1:
            others = ", ".join(each.name for each in self.proto.output[1:])
            self.builder.notes.append(f"the output {self.proto.output[0].name} is the network's; left out: {others}")
        if self.folded and not self.normalized:
            some = ", ".join(self.folded[:3]) + (", ..." if len(self.folded) > 3 else "")
            self.builder.notes.append(f"batch normalization may be folded into {some}: PyTorch renamed their weights")
        built = self.builder.graph(value)
        return replace(built, notes=tuple(dict.fromkeys(built.notes))), name, self.builder.arrays

    def _node(self, onnx: Any, node: Any) -> None:
        attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        attributes = {key: each.decode() if isinstance(each, bytes) else each for key, each in attributes.items()}
        inputs: list[Any] = [self.values[name] if name else None for name in node.input]
        call = OnnxCall(node, attributes, inputs, self.model.opset)
        if any(isinstance(each, (onnx.GraphProto, onnx.SparseTensorProto)) for each in attributes.values()):
            raise call.refused()
        if all(each is None or isinstance(each, np.ndarray) for each in inputs):
            self._fold(call)
            return
        if extra := [name for name in node.output[1:] if name and self.uses[name] and call.operator != "Split"]:
            raise call.refused(f"its output {extra[0]} is used")
        try:
            result = self._layers(call)
        except BadInput as error:
            result = self._unknown(call, error)
        except (ValueError, IndexError) as error:  # of NumPy, for axes or sizes that do not exist
            result = self._unknown(call, call.refused(str(error)))
        outputs = result if isinstance(result, list) else [result]
        for name, value in zip(node.output, outputs):
            self.values[name] = value

    def _fold(self, call: OnnxCall) -> None:
        """Compute an operator that depends on no image."""
        if call.operator.startswith(("Random", "Multinomial", "Bernoulli")) or call.node.domain not in ("", "ai.onnx"):
            raise call.refused()
        asked = call.array(0) if call.operator == "ConstantOfShape" else call.constant(1)
        if call.operator in ("ConstantOfShape", "Expand", "Tile") and asked is not None:
            size = prod(asked.tolist()) * (call.array(0).size if call.operator == "Tile" else 1)
            if size > MOST_VALUES:
                raise call.refused(f"a constant of {size} values")
        inputs = {name: each for name, each in zip(call.node.input, call.inputs) if isinstance(each, np.ndarray)}
        for name, each in zip(call.node.output, self.model.compute(call.node, inputs)):
            self.values[name] = np.asarray(each)
            for source, given in inputs.items():
                if given.size == np.size(each) > 1:  # transposed, cast: its name is still that of the array
                    self.sources[name] = self.sources.get(source, source)

    def _unknown(self, call: OnnxCall, error: BadInput) -> Value | Unknown:
        """The layer that the operators up to this one are, or what may be a part of one. Raises the error else."""
        if call.operator not in OPERATORS:
            raise error
        return self._written(call) or Unknown(error)

    def _written(self, call: OnnxCall) -> Value | None:
        """A layer that is written out as arithmetic and ends with this operator."""
        found = self.arithmetic.layer(call.node, self.values)
        if found is None:
            return None
        value, arrays = found.value, {role: array for role, (_, array) in found.arrays.items()}
        in_order = value.is_whole or value.is_last
        taken, node = (value, call.output) if in_order else (self.builder.whole(value.source), "")
        if arrays:
            self._release(found.inside)
            name = self._named(call, [each for each, _ in found.arrays.values() if each])
            result = self.builder.weighted(taken, replace(found.layer, name=name), arrays, call.where, node)
        else:
            result = self.builder.layer(taken, found.layer, where=call.where, node=node)
        return result if in_order else result.moved(lambda _: value.index)

    def _release(self, tensors: Sequence[str]) -> None:
        """The names and arrays of the layers that give these tensors are free: they are parts of another layer."""
        parts = [self.builder.operators[name] for name in tensors if name in self.builder.operators]
        names = {layer.name for part in parts for layer in part.layers if layer.name in self.builder.names}
        self.owners = {array: name for array, name in self.owners.items() if name not in names}
        for name in names:
            del self.builder.names[name]

    def _layers(self, call: OnnxCall) -> Result | list[Value]:
        first = call.inputs[0]
        if isinstance(first, Pixels) and call.operator in ("Gemm", "MatMul"):
            inner = self._layers(OnnxCall(call.node, call.attributes, [first.of, *call.inputs[1:]], call.opset))
            return Pixels(inner) if isinstance(inner, Value) else inner
        if call.operator in _PLAIN:
            return self._add(call, _PLAIN[call.operator]())
        if call.operator in _SAME:
            return call.inputs[0]
        method = getattr(self, f"on_{call.operator}", None)
        if method is None:
            raise call.refused()
        result: Result | list[Value] = method(call)
        return result

    def _add(self, call: OnnxCall, *layers: Layer, input: Value | None = None) -> Value:
        return self.builder.layer(input or call.input, *layers, where=call.where, node=call.output)

    # --- names --------------------------------------------------------------------------------------------------------

    def _name(self, call: OnnxCall, *places: int) -> str:
        """The name of a layer with these inputs as arrays."""
        return self._named(call, [call.node.input[place] for place in places if place < len(call.node.input)])

    def _named(self, call: OnnxCall, inputs: Sequence[str]) -> str:
        """The name of a layer with arrays. Raises BadInput for the second layer of one weight."""
        weight = self.sources.get(inputs[0], inputs[0]) if inputs else ""
        if weight in self.owners and self._is_large(weight):
            raise called_twice(self.owners[weight], call.where)
        name = next(name for name in self._candidates(call, inputs) if name and name not in self.builder.names)
        self.owners[weight] = name
        return name

    def _candidates(self, call: OnnxCall, inputs: Sequence[str]) -> Iterator[str]:
        """The names that its arrays state, that of its operator, then its kind and a number.

        An array of several operators comes last: exporters share equal arrays, and its name is that of one of them.
        """
        arrays = [self.sources.get(name, name) for name in inputs]
        alone = [array for name, array in zip(inputs, arrays) if self.uses[name] == 1 >= self.uses[array]]
        yield from map(_stated, alone)
        yield self._path(call)
        yield from map(_stated, arrays)
        kinds = {"Gemm": "dense", "MatMul": "dense", "BatchNormalization": "norm"}
        for number in range(1, len(self.proto.node) + 1):
            name = f"{kinds.get(call.operator, call.operator.lower())}{number}"
            self.builder.unnamed.add(name)
            yield name

    def _is_large(self, array: str) -> bool:
        """Whether two layers with this array are one layer: exporters share equal vectors of different layers."""
        value = self.values.get(array)
        return isinstance(value, np.ndarray) and value.ndim > 1 and len(np.unique(value)) > 1

    def _path(self, call: OnnxCall) -> str:
        """The module that an operator's name tells: PyTorch writes /layer1/layer1.0/conv1/Conv."""
        parts = [part for part in call.node.name.split("/") if part and part not in _WRAPPERS]
        if len(parts) < 2:
            made_up = not parts or _MADE_UP.fullmatch(parts[0]) or parts[0].startswith(call.node.op_type)
            return "" if made_up else _clean(parts[0])
        path: list[str] = []
        for part in parts[:-1]:
            if path and part.startswith(f"{path[-1]}."):
                path[-1] = part
            else:
                path.append(part)
        return _clean(".".join(path))

    # --- layers with arrays -------------------------------------------------------------------------------------------

    def on_Conv(self, call: OnnxCall) -> Value:
        weight, bias = call.array(1), call.constant(2)
        if weight.ndim != 4:
            raise call.refused(f"a window of {weight.ndim - 2} dimensions")
        name = self._name(call, 1, 2)
        if _FOLDED.fullmatch(call.node.input[1]) and bias is not None:
            self.folded.append(name)
        window, stride, dilation = self._window(call, weight.shape[2:])
        padding = short_padding(self._sides(call, window, stride, dilation))
        groups = int(call("group", 1))
        short = short_pair(window), short_pair(stride), padding
        layer = Conv(name, len(weight), *short, groups=groups, bias=bias is not None, dilation=short_pair(dilation))
        arrays = {"weight": weight} | ({} if bias is None else {"bias": bias})
        return self.builder.weighted(call.input, layer, arrays, call.where, call.output)

    def on_Gemm(self, call: OnnxCall) -> Value:
        if call("transA", 0):
            raise call.refused("transA mixes the images of a batch")
        weight, bias = call.array(1) * shortest(call("alpha", 1.0)), call.constant(2)
        arrays = {"weight": weight if call("transB", 0) else weight.T}
        if bias is not None and (bias.size > 1 or bias.any()):  # MXNet writes a missing bias as the number 0
            arrays["bias"] = self._vector(call, bias * shortest(call("beta", 1.0)), len(arrays["weight"]))
        return self.builder.dense(call.input, self._name(call, 1, 2), arrays, call.where, call.output)

    def on_MatMul(self, call: OnnxCall) -> Value | Rows:
        one = call.inputs[0]
        if isinstance(one, np.ndarray) and one.ndim == 2 and len(call.value(1).shape) == 3:
            return Rows(call.value(1), one)
        matrix = call.array(1)
        if matrix.ndim != 2:
            raise call.refused("by an array that is no matrix")
        if isinstance(one, Rows) and one.of.is_whole:
            return self._add(call, self._layer_of(call, one.of.of, one.matrix, matrix.T), input=one.of)
        return self.builder.dense(call.input, self._name(call, 1), {"weight": matrix.T}, call.where, call.output)

    def _vector(self, call: OnnxCall, array: Array, size: int) -> Array:
        try:
            return np.broadcast_to(array, (1, size)).ravel().copy()
        except ValueError:
            raise call.refused(f"a bias of {times(array.shape)} for {size} units") from None

    def on_BatchNormalization(self, call: OnnxCall) -> Value:
        if call("training_mode", 0) or call("spatial", 1) != 1 or (call.opset < 7 and not call("is_test", 0)):
            raise call.refused("it has no running statistics by channel")
        roles = "gamma", "beta", "running_mean", "running_var"
        arrays = {role: call.array(place) for place, role in enumerate(roles, start=1)}
        eps, momentum = shortest(call("epsilon", 1e-5)), round(1 - shortest(call("momentum", 0.9)), 12)
        name = self._name(call, 3, 1, 2, 4)
        self.normalized = True
        # ONNX has no batch normalization without gamma. Training that moves beta would also move gamma.
        has_gamma = bool(np.any(arrays["gamma"] != 1) or not np.any(arrays["beta"]))
        if not has_gamma:
            del arrays["gamma"]
            self.builder.notes.append(f"{name}: gamma is 1 beside a trained beta: it becomes a layer without gamma")
        layer = BatchNorm(name, eps, momentum, gamma=has_gamma)
        return self.builder.weighted(call.input, layer, arrays, call.where, call.output)

    def on_InstanceNormalization(self, call: OnnxCall) -> Value:
        gamma, beta, eps = call.array(1), call.array(2), shortest(call("epsilon", 1e-5))
        value = call.input
        if len(value.shape) == 2 and len(value.of) == 3 and value.moved(lambda index: index.reshape(value.of)).is_whole:
            if np.any(gamma != 1) or np.any(beta != 0):
                raise call.refused("gamma and beta of groups")
            layer = GroupNorm("", value.shape[0], eps, gamma=False, beta=False)
            normal = self._add(call, layer, input=self.builder.whole(value.source))
            return normal.moved(lambda index: index.reshape(value.shape))
        arrays = {"gamma": gamma, "beta": beta}
        return self.builder.weighted(value, InstanceNorm(self._name(call, 1, 2), eps), arrays, call.where, call.output)

    def on_GroupNormalization(self, call: OnnxCall) -> Value:
        groups, maps = int(call("num_groups")), call.input.shape[0]
        arrays = {"gamma": call.array(1), "beta": call.array(2)}
        if call.opset < 21:  # a value for each group
            arrays = {role: np.repeat(array, maps // groups) for role, array in arrays.items()}
        layer = GroupNorm(self._name(call, 1, 2), groups, shortest(call("epsilon", 1e-5)))
        return self.builder.weighted(call.input, layer, arrays, call.where, call.output)

    def on_LayerNormalization(self, call: OnnxCall) -> Value:
        rank, eps = len(call.input.shape), shortest(call("epsilon", 1e-5))
        gamma, beta = call.array(1), call.constant(2)
        axis = call.axis(call("axis", -1))
        arrays = {"gamma": gamma} | ({} if beta is None else {"beta": beta})
        if axis != rank - 1:
            if axis == 0 and rank == 3 and np.all(gamma == 1) and (beta is None or np.all(beta == 0)):
                return self._add(call, GroupNorm("", 1, eps, gamma=False, beta=False))
            raise call.refused(f"over the axes from {axis + 1} of {times(call.input.shape)}")
        value = call.input if rank == 1 else self.builder.channels_last(call.input, call.where)
        layer = LayerNorm(self._name(call, 1, 2), eps, beta=beta is not None)
        return self.builder.weighted(value, layer, arrays, call.where, call.output)

    def on_PRelu(self, call: OnnxCall) -> Value:
        slope = self.builder.by_channel(call.input, call.array(1))
        channel = len(call.input.shape) - 1 if call.input.is_last else 0
        if slope is None:
            raise call.refused(f"slopes of {times(call.array(1).shape)} for {times(call.input.shape)}")
        if len(slope) == 1 < call.input.shape[channel]:
            self.builder.notes.append(f"{call.where}: one slope of all channels becomes one for each")
            slope = np.repeat(slope, call.input.shape[channel])
        return self.builder.weighted(call.input, PReLU(self._name(call, 1)), {"slope": slope}, call.where, call.output)

    # --- windows ------------------------------------------------------------------------------------------------------

    def _window(self, call: OnnxCall, default: Sequence[int] | None = None) -> tuple[Any, Any, Any]:
        """Kernel, stride and dilation, each vertical and horizontal."""
        kernel = call("kernel_shape", default)
        if len(kernel) != 2 or len(call.input.shape) != 3:
            raise call.refused(f"a window of {len(kernel)} dimensions")
        ways = kernel, call("strides", (1, 1)), call("dilations", (1, 1))
        vertical, horizontal, gaps = (tuple(map(int, way)) for way in ways)
        return vertical, horizontal, gaps

    def _sides(self, call: OnnxCall, kernel: Any, stride: Any, dilation: Any) -> Sides:
        """The padding, with `auto_pad` resolved for the size of the input."""
        rule = call("auto_pad", "NOTSET")
        if rule in ("SAME_UPPER", "SAME_LOWER"):
            height, width = call.input.shape[1:]
            return same(kernel, stride, (height, width), dilation=dilation, lower=rule == "SAME_LOWER")
        top, left, bottom, right = (0, 0, 0, 0) if rule == "VALID" else map(int, call("pads", (0, 0, 0, 0)))
        if min(top, left, bottom, right) < 0:
            raise call.refused("negative padding")
        return (top, bottom), (left, right)

    def _pool(self, call: OnnxCall) -> tuple[Any, Any, Any, bool]:
        """Kernel, stride and padding in their short forms, and whether the number of windows is rounded up."""
        kernel, stride, dilation = self._window(call)
        sides = self._sides(call, kernel, stride, dilation)
        ceil = bool(call("ceil_mode", 0)) and call("auto_pad", "NOTSET") == "NOTSET"
        return short_pair(kernel), short_pair(stride), short_padding(sides), ceil

    def on_MaxPool(self, call: OnnxCall) -> Value:
        given = call.inputs[0]
        if isinstance(given, Edged):
            return self._edged_maximum(OnnxCall(call.node, call.attributes, [given.of], call.opset), given)
        kernel, stride, padding, ceil = self._pool(call)
        dilation = short_pair(call("dilations", (1, 1)))
        return self._add(call, MaxPool(self._path(call), kernel, stride, padding, ceil=ceil, dilation=dilation))

    def _edged_maximum(self, call: OnnxCall, given: Edged) -> Value:
        """Each window that has repeated edges has the edges, too, if it is larger than they are wide."""
        kernel, stride, dilation = self._window(call)
        inside = all(max(around) < size for around, size in zip(given.sides, kernel))
        own = self._sides(call, kernel, stride, dilation)
        if not inside or own != ((0, 0), (0, 0)) or dilation != (1, 1) or call("ceil_mode", 0):
            raise given.error
        layer = MaxPool(self._path(call), short_pair(kernel), short_pair(stride), short_padding(given.sides))
        return self._add(call, layer)

    def on_AveragePool(self, call: OnnxCall) -> Value:
        kernel, stride, padding, ceil = self._pool(call)
        if short_pair(call("dilations", (1, 1))) != 1:
            raise call.refused("dilations")
        if tuple(call("kernel_shape")) == call.input.shape[1:] and padding == 0:
            return self._add(call, GlobalAvgPool(self._path(call)))
        counts = bool(call("count_include_pad", 0)) or (padding == 0 and not ceil)
        layer = AvgPool(self._path(call), kernel, stride, padding, count_padding=counts, ceil=ceil)
        return self._add(call, layer)

    def on_GlobalAveragePool(self, call: OnnxCall) -> Value:
        return self._add(call, GlobalAvgPool(self._path(call)))

    def on_GlobalMaxPool(self, call: OnnxCall) -> Value:
        return self._add(call, MaxPool(self._path(call), short_pair(call.input.shape[1:]), 1))

    def _reduced(self, call: OnnxCall, layer: Callable[[Shape], Layer]) -> Value:
        axes = call.constant(1, "axes")
        if axes is None:
            raise call.refused("over all axes")
        dims = [call.axis(axis) for axis in np.ravel(axes).tolist()]
        return self.builder.over_pixels(call.input, dims, bool(call("keepdims", 1)), layer, call.where, call.output)

    def on_ReduceMean(self, call: OnnxCall) -> Value:
        return self._reduced(call, lambda of: GlobalAvgPool())

    def on_ReduceMax(self, call: OnnxCall) -> Value:
        return self._reduced(call, lambda of: MaxPool("", short_pair(of[1:]), 1))

    def on_Pad(self, call: OnnxCall) -> Value | Edged:
        mode = call("mode", "constant")
        if mode not in ("constant", "edge"):
            raise call.refused(f"mode {mode}")
        rank, pads, given = len(call.input.shape) + 1, call.constant(1, "pads"), call.constant(2, "value")
        if pads is None:
            raise call.refused("no pads")
        axes = call.constant(3)
        around = np.zeros((rank, 2), int)
        around[range(rank) if axes is None else axes] = np.reshape(pads, (2, -1)).T
        value = 0.0 if given is None else float(given.ravel()[0])
        if around[0].any() or around.min() < 0 or (rank != 4 and around.any()):
            raise call.refused(f"pads of {around.T.ravel().tolist()}")
        result, channel = call.input, 3 if call.input.is_last else 1
        rows, columns = ((int(a), int(b)) for axis, (a, b) in enumerate(around) if axis not in (0, channel))
        if mode == "edge":
            error = call.refused("mode edge; only before a maximum in larger windows")
            if around[channel].any():
                raise error
            return Edged(result, (rows, columns), error)
        if around[channel].any():
            if value:
                raise call.refused(f"channels of {value}")
            alone = [tuple(each) if axis == channel else (0, 0) for axis, each in enumerate(around)][1:]
            result = result.moved(lambda index: np.pad(index, alone, constant_values=ZERO))
        if any(rows) or any(columns):
            result = self._add(
                call, Pad(self._path(call), short_padding((rows, columns)), shortest(value)), input=result
            )
        return result

    def on_LRN(self, call: OnnxCall) -> Value:
        size = int(call("size"))
        if size % 2 == 0:
            raise call.refused("an even number of channels: ONNX has more of them after the channel")
        options = (shortest(call(name, default)) for name, default in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0)))
        return self._add(call, LocalResponseNorm(self._path(call), size, *options))

    # --- interpolation ------------------------------------------------------------------------------------------------

    def on_Resize(self, call: OnnxCall) -> Value:
        """`Resize` and the `Upsample` of opset 9, by the matrices that they multiply rows and columns with."""
        last = call.inputs[-1]
        if not isinstance(last, np.ndarray) and call("scales") is None:
            raise call.refused("a size that is computed from the image")
        rank, before = len(call.input.shape) + 1, (self.batch, *call.input.shape)
        roi_free = call.operator == "Upsample" or call.opset < 11
        scales = call.constant(1 if roi_free else 2, "scales")
        sizes = None if roi_free else call.constant(3)
        axes = call("axes", range(rank))
        if call("antialias", 0) or call("keep_aspect_ratio_policy", "stretch") != "stretch":
            raise call.refused("antialias or keep_aspect_ratio_policy")
        to, factor = list(before), [1.0] * rank
        for place, axis in enumerate(axes):
            if sizes is not None and sizes.size:
                to[axis] = int(sizes[place])
                factor[axis] = to[axis] / before[axis]
            elif scales is not None and scales.size:
                factor[axis] = float(scales[place])
                to[axis] = int(np.floor(before[axis] * factor[axis]))
        first = 1 if call.input.is_last and not call.input.is_whole else 2
        if rank != 4 or any(to[axis] != before[axis] for axis in range(4) if axis not in (first, first + 1)):
            raise call.refused(f"from {times(before)} to {times(tuple(to))}")
        matrices = [_resize_matrix(call, before[axis], to[axis], factor[axis]) for axis in (first, first + 1)]
        if all(np.array_equal(matrix, np.eye(len(matrix))) for matrix in matrices):
            return call.input
        return self._add(call, self._layer_of(call, call.input.of, matrices[0], matrices[1]))

    on_Upsample = on_Resize

    def _layer_of(self, call: OnnxCall, of: Shape, rows: Array, columns: Array) -> Layer:
        """The layer that multiplies rows and columns with these matrices."""
        found = interpolation(self._path(call), of, rows, columns)
        if found is None:
            raise call.refused("no interpolation of the spec gives these pixels")
        return found

    # --- activations --------------------------------------------------------------------------------------------------

    def on_Clip(self, call: OnnxCall) -> Value:
        least, most = (call.constant(place, name) for place, name in ((1, "min"), (2, "max")))
        low = -np.inf if least is None else float(least.ravel()[0])
        high = np.inf if most is None else float(most.ravel()[0])
        if low != 0 or (high != 6 and high < 3.4e38):
            raise call.refused(f"from {low:g} to {high:g}; only from 0, or from 0 to 6")
        return self._add(call, ReLU6() if high == 6 else ReLU())

    def on_HardSigmoid(self, call: OnnxCall) -> Value:
        if abs(call("beta", 0.5) - 0.5) > 1e-7:
            raise call.refused(f"beta={call('beta'):g}")
        return self._add(call, HardSigmoid(slope=shortest(call("alpha", 0.2))))

    def on_LeakyRelu(self, call: OnnxCall) -> Value:
        return self._add(call, LeakyReLU(slope=shortest(call("alpha", 0.01))))

    def on_Elu(self, call: OnnxCall) -> Value:
        return self._add(call, ELU(alpha=shortest(call("alpha", 1.0))))

    def on_Celu(self, call: OnnxCall) -> Value:
        if call("alpha", 1.0) != 1:
            raise call.refused(f"alpha={call('alpha'):g}")
        return self._add(call, ELU())

    def on_Selu(self, call: OnnxCall) -> Value:
        given = call("alpha", SELU_ALPHA), call("gamma", SELU_SCALE)
        if not np.allclose(given, (SELU_ALPHA, SELU_SCALE), rtol=1e-6):
            raise call.refused(f"alpha and gamma of {given[0]:g} and {given[1]:g}")
        return self._add(call, SELU())

    def on_Gelu(self, call: OnnxCall) -> Value:
        return self._add(call, GELU(approximate=call("approximate", "none") == "tanh"))

    def on_Swish(self, call: OnnxCall) -> Value:
        if call("alpha", 1.0) != 1:
            raise call.refused(f"alpha={call('alpha'):g}")
        return self._add(call, SiLU())

    def on_Softmax(self, call: OnnxCall) -> Probabilities:
        axis = call("axis", -1 if call.opset >= 13 else 1)
        if len(call.input.shape) != 1 or axis not in (1, -1):
            raise call.refused()
        return Probabilities(call.input, call.operator, call.node.input[0])

    on_LogSoftmax = on_Softmax

    def on_Dropout(self, call: OnnxCall) -> Value:
        active = call.constant(2)
        if active is not None and active.any():
            raise call.refused("it drops values in evaluation")
        ratio = call.constant(1, "ratio")
        rate = 0.5 if ratio is None else shortest(float(ratio.ravel()[0]))
        return self._add(call, *([Dropout(rate=rate)] if rate else []))

    # --- arithmetic ---------------------------------------------------------------------------------------------------

    def _lone(self, call: OnnxCall, value: Value) -> bool:
        """Whether no other operator takes the tensor that this one takes."""
        return all(self.uses[name] == 1 for name in call.node.input if self.values.get(name) is value)

    def _constants(self, call: OnnxCall, value: Value, array: Array) -> Array:
        found = self.builder.by_channel(value, array)
        if found is None:
            raise call.refused(f"an array of {times(array.shape)} for {times(value.shape)}; only by channel")
        return found

    def _stated(self, call: OnnxCall) -> str:
        """The name that an array of a sum or product states for its layer; empty if it states none, or a taken one."""
        place = next(place for place in range(len(call.inputs)) if place not in call.tensors)
        array = self.sources.get(call.node.input[place], call.node.input[place])
        name = _stated(array) if self.uses[call.node.input[place]] == 1 >= self.uses[array] else ""
        return "" if name in self.builder.names else name

    def _array_name(self, call: OnnxCall) -> str:
        return self._name(call, next(place for place in range(len(call.inputs)) if place not in call.tensors))

    def on_Add(self, call: OnnxCall) -> Value:
        other = call.operand
        if other is not None:
            value = call.value(call.tensors[0])
            added = self._constants(call, value, other)
            size = value.shape[-1 if value.is_last and not value.is_whole else 0]
            if self._lone(call, value) and (len(added) == size or other.ndim):
                full = np.broadcast_to(added, (size,)).copy()
                for role in ("bias", "beta"):
                    done = self.builder.absorbed(value, role, self._stated(call), full, call.output)
                    if done:
                        return done
            return self.builder.normalized(value, call.where, call.output, mean=-added)
        return self._joined(call, Add)

    def _joined(self, call: OnnxCall, kind: type[Join]) -> Value:
        """Two tensors, which may be parts of one layer."""
        values = [call.value(0), call.value(1)]
        return self._written(call) or self.builder.join(kind, values, call.where, call.output)

    def on_Sum(self, call: OnnxCall) -> Value:
        values = [call.value(place) for place in range(len(call.inputs))]
        return self.builder.join(Add, values, call.where, call.output) if len(values) > 1 else values[0]

    def on_Sub(self, call: OnnxCall) -> Value:
        constant = call.operand
        if constant is None:
            one, other = call.value(0), call.value(1)
            return self._written(call) or self.builder.difference(one, other, call.where, call.output)
        value = call.value(call.tensors[0])
        numbers = self._constants(call, value, constant)
        if constant is call.inputs[1]:
            return self.builder.normalized(value, call.where, call.output, mean=numbers)
        return self.builder.subtracted_from(numbers, value, call.where, call.output)

    def on_Mul(self, call: OnnxCall) -> Value:
        other = call.operand
        if other is None:
            return self._joined(call, Multiply)
        value = call.value(call.tensors[0])
        if other.size == 1 and not self._is_affine(value, other):
            return self._add(call, Scale(factor=float(other.ravel()[0])), input=value)
        factors = self._constants(call, value, other)
        if is_of_input(value) and min(factors) > 0:
            return self.builder.normalized(value, call.where, call.output, std=1 / factors)
        size = value.shape[-1 if value.is_last and not value.is_whole else 0]
        factors = np.broadcast_to(factors, (size,)).copy()
        name = self._array_name(call)
        if self._lone(call, value):
            done = self.builder.absorbed(value, "gamma", name, factors, call.output)
            if done:
                return done
        layer = Affine(name, beta=False)
        return self.builder.weighted(value, layer, {"gamma": factors}, call.where, call.output)

    def _is_affine(self, value: Value, array: Array) -> bool:
        """Whether a factor is one of the channels', where there is one channel."""
        return array.ndim > 1 and value.shape[0] == 1 and not is_of_input(value)

    def on_Div(self, call: OnnxCall) -> Value:
        if not isinstance(call.inputs[1], np.ndarray):
            raise call.refused("a quotient by a tensor")
        std = self._constants(call, call.input, call.inputs[1])
        if len(std) == 1:
            return self._add(call, Scale(factor=1 / float(std[0])))
        if min(std) <= 0:
            raise call.refused("constants that are not positive")
        return self.builder.normalized(call.input, call.where, call.output, std=std)

    def on_Neg(self, call: OnnxCall) -> Value:
        return self._add(call, Scale(factor=-1.0))

    def on_Concat(self, call: OnnxCall) -> Value:
        values = [call.value(place) for place in range(len(call.inputs))]
        axis = call.axis(call("axis", 1), len(values[0].shape) + 1)
        return self.builder.concatenated(values, axis, call.where, call.output)

    # --- values in another order --------------------------------------------------------------------------------------

    def on_Shape(self, call: OnnxCall) -> Array:
        shape = np.array((self.batch, *call.input.shape), np.int64)
        return shape[slice(call("start", 0), call("end", None))]

    def on_Size(self, call: OnnxCall) -> Array:
        return np.array(self.batch * prod(call.input.shape), np.int64)

    def on_Reshape(self, call: OnnxCall) -> Value | Pixels:
        wanted, given = call.constant(1, "shape"), call.inputs[0]
        value = given.of if isinstance(given, Pixels) else call.input
        before = (self.batch, *value.shape)
        if isinstance(given, Pixels):
            before = (prod(before[:-1]), before[-1])
        keep = not call("allowzero", 0)
        if wanted is None or (keep and any(not to and i >= len(before) for i, to in enumerate(wanted.tolist()))):
            raise call.refused("no shape")
        shape = [before[place] if to == 0 and keep else to for place, to in enumerate(wanted.tolist())]
        known = prod(size for size in shape if size >= 0)
        shape = [prod(before) // known if size < 0 and known else size for size in shape]
        if prod(shape) != prod(before):
            raise call.refused(f"{times(before)} to {wanted.tolist()}")
        if shape and shape[0] == self.batch:
            return value.moved(lambda index: index.reshape(shape[1:]))
        if len(value.shape) == 3 and shape == [self.batch * prod(value.shape[:-1]), value.shape[-1]]:
            return Pixels(value)
        raise call.refused(f"{times(before)} to {times(tuple(shape))}: it mixes the images of a batch")

    def on_Expand(self, call: OnnxCall) -> Value:
        """C x 1 x 1 as an image: a product with an image does the same."""
        users = {node.op_type for node in self.proto.node if call.output in node.input}
        shape = np.broadcast_shapes((self.batch, *call.input.shape), tuple(call.array(1).tolist()))
        if shape != (self.batch, *call.input.shape) and users != {"Mul"}:
            raise call.refused()
        return call.input

    def on_Flatten(self, call: OnnxCall) -> Value | Pixels:
        axis = call("axis", 1) % (len(call.input.shape) + 1)
        if axis == len(call.input.shape) == 3:
            return Pixels(call.input)
        if axis != 1:
            raise call.refused(f"axis={call('axis')}: it mixes the images of a batch")
        return call.input.moved(np.ravel)

    def on_Transpose(self, call: OnnxCall) -> Value:
        rank = len(call.input.shape) + 1
        order = list(call("perm", range(rank)[::-1]))
        if order[0] != 0:
            raise call.refused("it mixes the images of a batch")
        return call.input.moved(lambda index: index.transpose([axis - 1 for axis in order[1:]]))

    def on_Squeeze(self, call: OnnxCall) -> Value:
        axes = call.constant(1, "axes")
        if axes is None:
            return call.input.moved(np.squeeze)
        dims = tuple(call.axis(axis) for axis in axes.tolist())
        return call.input.moved(lambda index: index.squeeze(dims))

    def on_Unsqueeze(self, call: OnnxCall) -> Value:
        axes = call.constant(1, "axes")
        if axes is None:
            raise call.refused("no axes")
        dims = tuple(call.axis(axis, len(call.input.shape) + 1 + axes.size) for axis in axes.tolist())
        return call.input.moved(lambda index: np.expand_dims(index, dims))

    def on_Split(self, call: OnnxCall) -> list[Value]:
        axis, sizes = call.axis(call("axis", 0)), call.constant(1, "split")
        count = len(call.node.output)
        if sizes is None:
            step = -(-call.input.shape[axis] // count)
            ends = np.arange(1, count) * step
        else:
            ends = np.cumsum(sizes)[:-1]
        whole = self.builder.settled(call.input, call.where)
        return [whole.moved(lambda _, part=part: part) for part in np.split(whole.index, ends, axis)]  # type: ignore[misc]

    def on_Slice(self, call: OnnxCall) -> Value:
        starts, ends = call.constant(1, "starts"), call.constant(2, "ends")
        if starts is None or ends is None:
            raise call.refused("no starts or ends")
        axes, steps = call.constant(3, "axes"), call.constant(4)
        numbers = range(len(starts)) if axes is None else axes.tolist()
        strides = [1] * len(starts) if steps is None else steps.tolist()
        keys = [slice(None)] * len(call.input.shape)
        for axis, start, end, step in zip(numbers, starts.tolist(), ends.tolist(), strides):
            size = call.input.shape[call.axis(axis)]
            stop = None if step < 0 and end < -size else end
            keys[call.axis(axis)] = slice(start, stop, step)
        return self.builder.settled(call.input, call.where).moved(lambda index: index[tuple(keys)])

    def on_Gather(self, call: OnnxCall) -> Value:
        axis, chosen = call.axis(call("axis", 0)), call.array(1)
        return self.builder.settled(call.input, call.where).moved(lambda index: index.take(chosen.astype(int), axis))


def _stated(array: str) -> str:
    """The layer that an array's name states; empty if it states none."""
    found = _ROLE.fullmatch(array)
    return _clean(found["stem"]) if found and not _MADE_UP.fullmatch(array) else ""


def _clean(name: str) -> str:
    """A name as one of the spec's: parts with dots between them, of letters, digits, _ and -."""
    dotted = re.sub(r"[^\w.-]+", ".", name.removesuffix(":0"))
    return re.sub(r"\.{2,}", ".", dotted).strip("._-")


def _resize_matrix(call: OnnxCall, size: int, to: int, factor: float) -> Array:
    """The matrix that ONNX' Resize multiplies the pixels of one axis with, from its own definition."""
    mode, kind = call("mode", "nearest"), call("coordinate_transformation_mode")
    if kind is None:
        kind = "asymmetric" if call.operator == "Upsample" or call.opset < 11 else "half_pixel"
    if mode not in ("nearest", "linear", "bilinear"):
        raise call.refused(f"mode {mode}")
    pixels = np.arange(to)
    match kind:
        case "half_pixel" | "half_pixel_symmetric":
            adjusted = to / (factor * size) if kind == "half_pixel_symmetric" else 1.0
            offset = size / 2 * (1 - adjusted)
            places = offset + (pixels + 0.5) / factor - 0.5
        case "pytorch_half_pixel":
            places = (pixels + 0.5) / factor - 0.5 if to > 1 else np.zeros(1)
        case "align_corners":
            places = pixels * (size - 1) / (to - 1) if to > 1 else np.zeros(1)
        case "asymmetric":
            places = pixels / factor
        case _:
            raise call.refused(f"coordinate_transformation_mode {kind}")
    matrix = np.zeros((to, size))
    if mode == "nearest":
        rule = call("nearest_mode", "floor" if call.opset < 11 else "round_prefer_floor")
        places = np.round(places, 9)
        chosen = {
            "round_prefer_floor": lambda: np.ceil(places - 0.5),
            "round_prefer_ceil": lambda: np.floor(places + 0.5),
            "floor": lambda: np.floor(places),
            "ceil": lambda: np.ceil(places),
        }[rule]()
        matrix[pixels, np.clip(chosen, 0, size - 1).astype(int)] = 1
        return matrix
    places = np.clip(places, 0, size - 1)
    below = np.minimum(np.floor(places).astype(int), max(size - 2, 0))
    np.add.at(matrix, (pixels, below), 1 - (places - below))
    np.add.at(matrix, (pixels, np.minimum(below + 1, size - 1)), places - below)
    return matrix

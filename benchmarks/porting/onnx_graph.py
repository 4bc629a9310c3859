"""An ONNX file as layers of the spec, read with the `onnx` package in the running interpreter.

The file is evaluated once by onnx' reference evaluator. So every shape is known, and what does not depend on the image
(shapes, sizes, folded constants) is a constant. Arrays have the names of the initializers where these end in `.weight`,
else those of the nodes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.porting.graphs import ZERO, Builder, Graph, Value, refused
from benchmarks.runtime.errors import BadInput
from frameworks.arrays import Array, Weights
from frameworks.errors import Unavailable
from frameworks.spec import (
    ELU,
    GELU,
    SELU,
    Add,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dense,
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
    Normalize,
    Pad,
    PReLU,
    ReLU,
    ReLU6,
    Resize,
    Scale,
    Shape,
    Sides,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
    same,
)
from frameworks.spec.joins import Join

IMAGE_CHANNELS = (1, 3, 4)  # by which an input with its channels last is recognized
_PLAIN: dict[str, Callable[[], Layer]] = {
    "Relu": ReLU,
    "Selu": SELU,
    "Sigmoid": Sigmoid,
    "Tanh": Tanh,
    "HardSwish": HardSwish,
    "Swish": SiLU,
    "Softplus": Softplus,
    "Mish": Mish,
}
_RESHAPES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")
_SAME = ("Identity", "Cast")


def read(path: Path) -> Any:
    """The model of a file. Raises BadInput, and Unavailable without onnx."""
    try:
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    except ImportError:
        raise Unavailable(f"{path}: needs onnx: pip install onnx") from None
    if not path.is_file():
        raise BadInput(f"{path}: no such file")
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except (DecodeError, OSError, ValueError, onnx.checker.ValidationError) as error:
        raise BadInput(f"{path}: not an ONNX file that can be read: {' '.join(str(error).split())[:200]}") from None
    return model


class OnnxGraph:
    """The layers and arrays of a model.

    weights: by canonical name. start: the file's own order of the axes of an image. output: the tensor that gives the
    logits.
    """

    def __init__(self, model: Any, input: Shape | None) -> None:
        import onnx
        from onnx import numpy_helper

        self.onnx, self.model = onnx, model
        constants = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
        self.input_name, self.batch, self.input, self.last = _input(model, constants, input)
        self.builder = Builder(self.input)
        self.weights: Weights = {}
        self.constants: dict[str, Array] = constants
        self.values: dict[str, Value] = {self.input_name: replace(self.builder.start, last=self.last)}
        self.softmax: dict[str, str] = {}  # the tensor before a softmax, by the tensor after it
        images = np.random.default_rng(0).uniform(0, 255, (self.batch, *self.input))
        self.results = evaluated(model, ordered(images, self.last))
        self.shapes = {name: array.shape for name, array in self.results.items()}
        self.uses = Counter(name for node in model.graph.node for name in node.input)
        self.graph, self.output = self._converted()

    def _converted(self) -> tuple[Graph, str]:
        for node in self.model.graph.node:
            self._node(node)
        outputs = [each.name for each in self.model.graph.output]
        if len(outputs) > 1:
            self.builder.notes.append(f"the file has several outputs: {outputs[0]} is the network's")
        name = outputs[0]
        if name in self.softmax:
            self.builder.notes.append("the final softmax is cut off: the network gives logits")
            name = self.softmax[name]
        if name not in self.values:
            raise BadInput(f"its output {outputs[0]} does not depend on the image")
        kinds = {node.op_type for node in self.model.graph.node}
        if "Conv" in kinds and "BatchNormalization" not in kinds:
            self.builder.notes.append("no batch normalization: exporters fold it into the convolutions before it")
        return self.builder.graph(self.values[name]), name

    def _node(self, node: Any) -> None:
        if not any(name in self.values for name in node.input):
            for name in node.output:
                if name:
                    self.constants[name] = self.results[name]
            return
        if node.op_type == "Shape":
            self.constants[node.output[0]] = self.results[node.output[0]]
            return
        call = _Call(self, node)
        if any(name in self.softmax for name in node.input):
            raise call.refused("a softmax is only cut off at the end")
        result = self._layers(call)
        for name, value in zip(node.output, result if isinstance(result, list) else [result]):
            if value.shape != tuple(self.shapes[name][1:]) or self.shapes[name][0] != self.batch:
                raise call.refused(f"it gives {self.shapes[name]}, the layer {value.shape} for each image")
            self.values[name] = value

    def _layers(self, call: _Call) -> Value | list[Value]:
        kind = call.node.op_type
        if kind in _PLAIN:
            return call.add(_PLAIN[kind]())
        if kind in _RESHAPES:
            shape = call.shape
            return call.value.moved(lambda index: index.reshape(shape))
        if kind in _SAME:
            return call.value
        method = getattr(self, f"on_{kind}", None)
        if call.node.domain not in ("", "ai.onnx") or method is None:
            raise call.refused()
        result: Value | list[Value] = method(call)
        return result

    # --- layers with arrays -------------------------------------------------------------------------------------------

    def on_Conv(self, call: _Call) -> Value:
        weight, bias = call.constant(1), call.constant(2)
        kernel = _short(weight.shape[2:])
        stride, dilation = _short(call.get("strides", [1, 1])), _short(call.get("dilations", [1, 1]))
        if weight.ndim != 4:
            raise call.refused(f"a window of {weight.ndim - 2} axes")
        padding = call.padding(kernel, stride, dilation)
        name = call.named(weight=weight, bias=bias)
        options = {"groups": call.get("group", 1), "bias": bias is not None, "dilation": dilation}
        return call.add(Conv(name, weight.shape[0], kernel, stride, padding, **options))

    def on_Gemm(self, call: _Call) -> Value:
        weight, bias = call.constant(1), call.constant(2)
        weight = call.get("alpha", 1.0) * (weight if call.get("transB", 0) else weight.T)
        if call.get("transA", 0):
            raise call.refused("transA")
        bias = None if bias is None else call.get("beta", 1.0) * np.broadcast_to(bias, weight.shape[:1])
        return self._dense(call, weight, bias)

    def on_MatMul(self, call: _Call) -> Value:
        """The bias is an Add after it: see `on_Add`."""
        return self._dense(call, call.constant(1).T, None)

    def _dense(self, call: _Call, weight: Array, bias: Array | None) -> Value:
        value = call.value
        if weight.ndim != 2 or call.node.input[0] not in self.values:
            raise call.refused("only an image's values times a matrix")
        if len(value.shape) == 3:
            value = self.builder.channels_last(value, call.where)
            name = call.named(weight=weight[..., None, None], bias=bias)
            return call.add(Conv(name, len(weight), 1, bias=bias is not None), value=value)
        order = value.index
        if not value.is_whole and sorted(order.ravel().tolist()) == list(range(prod(value.of))):
            weight = weight[:, np.argsort(order)]  # the file flattens an image with its channels last
            value = self.builder.whole(value.source).moved(np.ravel)
        return call.add(Dense(call.named(weight=weight, bias=bias), len(weight), bias=bias is not None), value=value)

    def on_BatchNormalization(self, call: _Call) -> Value:
        if call.get("training_mode", 0):
            raise call.refused("training_mode")
        gamma, beta, mean, variance = (call.constant(n) for n in range(1, 5))
        name = call.named(gamma=gamma, beta=beta, running_mean=mean, running_var=variance)
        return call.add(BatchNorm(name, call.number("epsilon", 1e-5), _tidy(1 - call.get("momentum", 0.9))))

    def on_InstanceNormalization(self, call: _Call) -> Value:
        name = call.named(gamma=call.constant(1), beta=call.constant(2))
        return call.add(InstanceNorm(name, call.number("epsilon", 1e-5)))

    def on_GroupNormalization(self, call: _Call) -> Value:
        gamma, beta, groups = call.constant(1), call.constant(2), call.get("num_groups")
        if gamma.shape != call.value.shape[:1]:
            raise call.refused("a factor for each group (opset 18)")
        return call.add(GroupNorm(call.named(gamma=gamma, beta=beta), groups, call.number("epsilon", 1e-5)))

    def on_LayerNormalization(self, call: _Call) -> Value:
        value, gamma, beta = call.value, call.constant(1), call.constant(2)
        if gamma.ndim != 1 or call.get("axis", -1) not in (-1, len(value.shape)):
            raise call.refused("only over the last axis, the channels")
        value = self.builder.channels_last(value, call.where) if len(value.shape) == 3 else value
        arrays = {"gamma": gamma} if beta is None else {"gamma": gamma, "beta": beta}
        layer = LayerNorm(call.named(**arrays), call.number("epsilon", 1e-5), beta=beta is not None)
        return call.add(layer, value=value)

    def on_PRelu(self, call: _Call) -> Value:
        slope = call.constant(1)
        if slope.size != call.value.shape[0]:
            raise call.refused("one slope for all channels")
        return call.add(PReLU(call.named(slope=slope.ravel())))

    # --- windows ------------------------------------------------------------------------------------------------------

    def on_MaxPool(self, call: _Call) -> Value:
        kernel, stride = _short(call.get("kernel_shape")), _short(call.get("strides", [1, 1]))
        dilation, ceil = _short(call.get("dilations", [1, 1])), bool(call.get("ceil_mode", 0))
        return call.add(
            MaxPool("", kernel, stride, call.padding(kernel, stride, dilation), ceil=ceil, dilation=dilation)
        )

    def on_AveragePool(self, call: _Call) -> Value:
        kernel, stride = _short(call.get("kernel_shape")), _short(call.get("strides", [1, 1]))
        if _short(call.get("dilations", [1, 1])) != 1:
            raise call.refused("dilations")
        counts, ceil = bool(call.get("count_include_pad", 0)), bool(call.get("ceil_mode", 0))
        padding = call.padding(kernel, stride, 1)
        counts = counts or padding == 0
        return call.add(AvgPool("", kernel, stride, padding, count_padding=counts, ceil=ceil))

    def on_GlobalAveragePool(self, call: _Call) -> Value:
        return call.add(GlobalAvgPool())

    def on_GlobalMaxPool(self, call: _Call) -> Value:
        size = _short(call.value.shape[1:])
        return call.add(MaxPool("", size, size))

    def on_ReduceMean(self, call: _Call) -> Value:
        given = call.get("axes") if call.constant(1) is None else call.constant(1).tolist()
        rank = len(call.value.shape)
        axes = sorted((axis % (rank + 1)) - 1 for axis in given or ())
        expected = ([0, 1], [1, 2]) if rank == 3 else ()
        value = call.value
        if axes not in expected or (axes == [0, 1]) == (not value.is_last and not value.is_whole):
            raise call.refused(f"over axes {given}")
        if axes == [0, 1]:
            value = self.builder.channels_last(value, call.where)
        pooled = call.add(GlobalAvgPool(), value=self.builder.whole(value.source))
        return pooled.moved(lambda index: index.reshape(call.shape))

    def on_LRN(self, call: _Call) -> Value:
        alpha, beta, k = call.number("alpha", 1e-4), call.number("beta", 0.75), call.number("bias", 1.0)
        return call.add(LocalResponseNorm("", call.get("size"), alpha, beta, k))

    def on_Pad(self, call: _Call) -> Value:
        if call.get("mode", b"constant") != b"constant":
            raise call.refused(f"mode {call.get('mode').decode()}")
        pads = call.get("pads") if call.constant(1) is None else call.constant(1).tolist()
        if call.constant(3) is not None or len(pads) != 8 or min(pads) < 0:
            raise call.refused(f"pads {pads}")
        value = 0.0 if call.constant(2) is None else float(call.constant(2))
        sides = [(pads[axis], pads[axis + 4]) for axis in range(4)]
        batch, *image = (sides[0], sides[3], sides[1], sides[2]) if call.value.is_last else sides
        maps, rows, columns = image
        if batch != (0, 0) or (maps != (0, 0) and (value or call.value.is_last)):
            raise call.refused(f"pads {pads}")
        padded = call.value
        if maps != (0, 0):
            padded = padded.moved(lambda index: np.pad(index, (maps, (0, 0), (0, 0)), constant_values=ZERO))
        if (rows, columns) == ((0, 0), (0, 0)):
            return padded
        return call.add(Pad("", _sides((rows, columns)), value), value=padded)

    def on_Resize(self, call: _Call) -> Value:
        mode = call.get("mode", b"nearest").decode()
        kind = call.get("coordinate_transformation_mode", b"half_pixel").decode()
        positions = {"half_pixel": "half_pixel", "align_corners": "aligned_corners", "asymmetric": "asymmetric"}
        positions["pytorch_half_pixel"] = "half_pixel"
        rounding = call.get("nearest_mode", b"round_prefer_floor").decode()
        fits = mode == "linear" or (kind == "asymmetric" and rounding == "floor")
        if mode not in ("linear", "nearest") or kind not in positions or not fits or call.get("antialias", 0):
            raise call.refused(f"{mode}, {kind}, {rounding}")
        _, height, width = call.shape
        return call.add(Resize("", height, width, mode, positions[kind]))

    # --- values -------------------------------------------------------------------------------------------------------

    def on_Dropout(self, call: _Call) -> Value:
        rate = call.get("ratio", 0.5) if call.constant(1) is None else float(call.constant(1))
        return call.add(Dropout(rate=_tidy(rate))) if rate else call.value

    def on_LeakyRelu(self, call: _Call) -> Value:
        return call.add(LeakyReLU(slope=call.number("alpha", 0.01)))

    def on_Elu(self, call: _Call) -> Value:
        return call.add(ELU(alpha=call.number("alpha", 1.0)))

    def on_Gelu(self, call: _Call) -> Value:
        return call.add(GELU(approximate=call.get("approximate", b"none") == b"tanh"))

    def on_HardSigmoid(self, call: _Call) -> Value:
        slope, shift = call.number("alpha", 0.2), call.number("beta", 0.5)
        if shift != 0.5:
            raise call.refused(f"beta={shift}")
        return call.add(HardSigmoid(slope=1 / 6 if abs(slope - 1 / 6) < 1e-7 else slope))

    def on_Clip(self, call: _Call) -> Value:
        low = call.get("min") if len(call.node.input) < 2 else call.constant(1)
        high = call.get("max") if len(call.node.input) < 3 else call.constant(2)
        if low is None or float(low) != 0 or (high is not None and float(high) != 6):
            raise call.refused("only from 0, or from 0 to 6")
        return call.add(ReLU() if high is None else ReLU6())

    def on_Softmax(self, call: _Call) -> Value:
        if len(call.value.shape) != 1:
            raise call.refused()
        self.softmax[call.node.output[0]] = call.node.input[0]
        return call.value

    on_LogSoftmax = on_Softmax

    def on_Add(self, call: _Call) -> Value:
        constant = call.only_constant()
        if constant is None:
            return call.join(Add)
        once = all(self.uses[name] == 1 for name in call.node.input if name in self.values)
        before = self.builder.operators.get(call.value.source) if once else None
        if before and before.layers and isinstance(before.layers[-1], (Dense, Conv)) and not before.layers[-1].bias:
            layer = before.layers[-1]
            if constant.size == call.value.shape[-1 if call.value.is_last else 0]:
                self.weights[f"{layer.name}.bias"] = constant.ravel()
                changed = (*before.layers[:-1], replace(layer, bias=True))
                self.builder.operators[before.name] = replace(before, layers=changed, node=call.node.output[0])
                return call.value
        return call.add(Normalize(mean=tuple(-number for number in call.numbers(constant))))

    on_Sum = on_Add

    def on_Sub(self, call: _Call) -> Value:
        constant = call.only_constant()
        if constant is None or call.node.input[0] not in self.values:
            raise call.refused("a difference of two tensors")
        return call.add(Normalize(mean=tuple(call.numbers(constant))))

    def on_Mul(self, call: _Call) -> Value:
        constant = call.only_constant()
        if constant is None:
            return call.join(Multiply)
        numbers = call.numbers(constant)
        if len(numbers) > 1 and min(numbers) <= 0:
            raise call.refused("constants that are not positive")
        return call.add(Scale(factor=numbers[0]) if len(numbers) == 1 else Normalize(std=tuple(1 / n for n in numbers)))

    def on_Div(self, call: _Call) -> Value:
        constant = call.only_constant()
        if constant is None or call.node.input[0] not in self.values:
            raise call.refused("a quotient of two tensors")
        numbers = call.numbers(constant)
        if len(numbers) > 1 and min(numbers) <= 0:
            raise call.refused("constants that are not positive")
        return call.add(Scale(factor=1 / numbers[0]) if len(numbers) == 1 else Normalize(std=tuple(numbers)))

    def on_Concat(self, call: _Call) -> Value:
        values = [self.values.get(name) for name in call.node.input]
        given = [value for value in values if value is not None]
        rank = len(given[0].shape)
        axis = call.get("axis") % (rank + 1) - 1
        if len(given) < len(values) or axis != (rank - 1 if given[0].is_last else 0):
            raise call.refused(f"along axis {call.get('axis')}, or with constants")
        return call.join(Concat)

    def on_Split(self, call: _Call) -> list[Value]:
        axis = call.axis(call.get("axis", 0))
        ends = np.cumsum([self.shapes[name][axis + 1] for name in call.node.output])[:-1]
        whole = self.builder.settled(call.value, call.where)
        return [replace(whole, places=part, last=False) for part in np.split(whole.index, ends, axis)]

    def on_Slice(self, call: _Call) -> Value:
        starts, ends, axes, steps = (call.constant(n) for n in range(1, 5))
        if starts is None:
            starts, ends, axes = (call.get(name) for name in ("starts", "ends", "axes"))
        keys = [slice(None)] * len(call.value.shape)
        numbers = range(len(starts)) if axes is None else np.ravel(axes).tolist()
        for number, axis in enumerate(numbers):
            step = 1 if steps is None else int(np.ravel(steps)[number])
            keys[call.axis(axis)] = slice(int(np.ravel(starts)[number]), int(np.ravel(ends)[number]), step)
        return self.builder.settled(call.value, call.where).moved(lambda index: index[tuple(keys)])

    def on_Transpose(self, call: _Call) -> Value:
        order = call.get("perm")
        if not order or order[0] != 0:
            raise call.refused("it mixes the images of a batch")
        return call.value.moved(lambda index: index.transpose([axis - 1 for axis in order[1:]]))


class _Call:
    """A node with its attributes and constants."""

    def __init__(self, owner: OnnxGraph, node: Any) -> None:
        self.owner, self.node = owner, node
        self.attributes = {each.name: owner.onnx.helper.get_attribute_value(each) for each in node.attribute}
        self.where = node.name or (node.output[0] if node.output else "")

    @property
    def value(self) -> Value:
        return next(self.owner.values[name] for name in self.node.input if name in self.owner.values)

    @property
    def shape(self) -> Shape:
        return tuple(self.owner.shapes[self.node.output[0]][1:])

    def refused(self, why: str = "") -> BadInput:
        return refused(f"ONNX {self.node.op_type}", self.where, why)

    def get(self, name: str, default: Any = None) -> Any:
        return self.attributes.get(name, default)

    def number(self, name: str, default: float) -> float:
        """A float32 attribute as the number that was meant: 0.001, not 0.0010000000474974513."""
        return _tidy(self.get(name, default))

    def constant(self, number: int) -> Any:
        """A constant input; None if it is left out."""
        if number >= len(self.node.input) or not self.node.input[number]:
            return None
        name = self.node.input[number]
        if name not in self.owner.constants:
            raise self.refused(f"its input {name} is computed from the image")
        return self.owner.constants[name]

    def only_constant(self) -> Array | None:
        """The constant operand; None if both depend on the image."""
        found = [name for name in self.node.input if name not in self.owner.values]
        return self.owner.constants[found[0]] if found else None

    def numbers(self, constant: Array) -> list[float]:
        """A constant as one number, or one for each channel."""
        numbers: list[float] = constant.ravel().tolist()
        value = self.value
        axis = len(value.shape) if value.is_last else 1
        aligned = (1,) * (len(value.shape) + 1 - constant.ndim) + constant.shape
        if len(set(numbers)) == 1:
            return numbers[:1]
        if constant.size != value.shape[axis - 1] or aligned[axis] != constant.size:
            raise self.refused(f"a constant of {constant.shape} for {value.shape}")
        return numbers

    def axis(self, number: int) -> int:
        axis = number % (len(self.value.shape) + 1) - 1
        if axis < 0:
            raise self.refused("it mixes the images of a batch")
        return axis

    def padding(self, kernel: Any, stride: Any, dilation: Any) -> Any:
        automatic = self.get("auto_pad", b"NOTSET").decode()
        if automatic in ("SAME_UPPER", "SAME_LOWER"):
            size: Any = self.value.shape[1:]
            return _sides(same(kernel, stride, size, dilation=dilation, lower=automatic == "SAME_LOWER"))
        top, left, bottom, right = self.get("pads", [0, 0, 0, 0])
        return _sides(((top, bottom), (left, right)))

    def named(self, **arrays: Array | None) -> str:
        """The name of a layer with these arrays, by role, which are stored."""
        weight = next((name for name in self.node.input[1:] if name), "")
        name = weight.rpartition(".")[0] if weight.endswith((".weight", ".gamma")) else self.where.strip("/")
        name = name.replace("/", ".") or self.node.op_type
        stem, number = name, 2
        while name in self.owner.builder.names:
            name, number = f"{stem}_{number}", number + 1
        for role, array in arrays.items():
            if array is not None:
                self.owner.weights[f"{name}.{role}"] = np.asarray(array)
        return name

    def add(self, *layers: Layer, value: Value | None = None) -> Value:
        node = self.node.output[0]
        return self.owner.builder.layer(value or self.value, *layers, where=self.where, node=node)

    def join(self, kind: type[Join]) -> Value:
        values: Sequence[Value] = [self.owner.values[name] for name in self.node.input]
        return self.owner.builder.join(kind, values, self.where, self.node.output[0])


def evaluated(model: Any, images: Array) -> Mapping[str, Array]:
    """Every tensor of the model for these images, in float64.

    Two defects of onnx 1.22's evaluator are avoided: it pads by `auto_pad` from the wrong axes, so the padding is made
    explicit; its LRN leaves out channels beyond the number of images, so this module has its own.
    """
    from onnx.reference import ReferenceEvaluator
    from onnx.reference.op_run import OpRun

    class LRN(OpRun):  # type: ignore[misc]
        op_domain = ""

        def _run(self, x: Array, alpha: float, beta: float, bias: float, size: int) -> tuple[Array]:
            before, after = (size - 1) // 2, size - 1 - (size - 1) // 2
            squares = [(x[:, max(0, c - before) : c + after + 1] ** 2).sum(1) for c in range(x.shape[1])]
            return (x / (bias + alpha / size * np.stack(squares, 1)) ** beta,)

    constants = {each.name for each in model.graph.initializer}
    name = next(each.name for each in model.graph.input if each.name not in constants)
    evaluator = ReferenceEvaluator(_padded(_double(model, name, images.shape)), new_ops=[LRN])
    results: Any = evaluator.run(None, {name: images}, intermediate=True)
    return {key: np.asarray(value) for key, value in results.items() if key and value is not None}


def _padded(model: Any) -> Any:
    """The model with explicit padding in place of `auto_pad`."""
    from onnx import helper, shape_inference

    inferred = shape_inference.infer_shapes(model).graph
    sizes = {
        e.name: [d.dim_value for d in e.type.tensor_type.shape.dim] for e in (*inferred.input, *inferred.value_info)
    }
    arrays = {each.name: list(each.dims) for each in model.graph.initializer}
    for node in model.graph.node:
        given = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        automatic = given.get("auto_pad", b"NOTSET")
        if automatic not in (b"SAME_UPPER", b"SAME_LOWER"):
            continue
        size = sizes.get(node.input[0], [])[2:]
        if len(size) != 2 or not all(size):
            raise refused(f"ONNX {node.op_type}", node.name, "auto_pad of an image whose size the file does not say")
        kernel = given.get("kernel_shape") or arrays[node.input[1]][2:]
        stride, dilation = given.get("strides", [1, 1]), given.get("dilations", [1, 1])
        lower = automatic == b"SAME_LOWER"
        rows, columns = same(tuple(kernel), tuple(stride), tuple(size), dilation=tuple(dilation), lower=lower)
        kept = [each for each in node.attribute if each.name not in ("auto_pad", "pads")]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute("pads", [rows[0], columns[0], rows[1], columns[1]])])
    return model


def ordered(images: Array, last: bool) -> Array:
    """Images N x C x H x W in the order of the file."""
    return np.ascontiguousarray(np.moveaxis(images, 1, -1)) if last else images


def _double(model: Any, image: str, shape: Sequence[int]) -> Any:
    """The model with float64 in place of float32, to compare it beyond rounding, for images of this shape."""
    import onnx
    from onnx import numpy_helper

    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    single, double = onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE
    tensors = list(changed.graph.initializer)
    tensors += [attribute.t for node in changed.graph.node for attribute in node.attribute if attribute.HasField("t")]
    for tensor in tensors:
        if tensor.data_type == single:
            array = numpy_helper.to_array(tensor).astype(np.float64)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    for node in changed.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == single:
                attribute.i = double
    del changed.graph.value_info[:]
    for each in changed.graph.input:
        if each.name == image:
            dims = each.type.tensor_type.shape
            dims.CopyFrom(onnx.TensorShapeProto(dim=[onnx.TensorShapeProto.Dimension(dim_value=n) for n in shape]))
    for each in (*changed.graph.input, *changed.graph.output):
        if each.type.tensor_type.elem_type == single:
            each.type.tensor_type.elem_type = double
    return changed


def _input(model: Any, constants: Mapping[str, Array], given: Shape | None) -> tuple[str, int, Shape, bool]:
    """Name, batch size, channels x height x width, and whether the channels are last in the file."""
    inputs = [each for each in model.graph.input if each.name not in constants]
    if len(inputs) != 1:
        raise BadInput(f"it has {len(inputs)} inputs; a network of the spec has one image")
    sizes = [each.dim_value for each in inputs[0].type.tensor_type.shape.dim]
    if len(sizes) != 4:
        raise BadInput(f"its input has {len(sizes)} axes; an image in a batch has 4")
    last = sizes[3] in IMAGE_CHANNELS and sizes[1] not in IMAGE_CHANNELS
    own = (sizes[3], sizes[1], sizes[2]) if last else (sizes[1], sizes[2], sizes[3])
    shape = tuple(given) if given else own
    if min(shape) < 1 or any(size and size != wanted for size, wanted in zip(own, shape)):
        raise BadInput(f"its input is {'x'.join(str(size or '?') for size in own)}; give --input C,H,W that fits")
    return inputs[0].name, sizes[0] or 2, shape, last


def _tidy(value: float) -> float:
    """The shortest number that float32 rounds to this."""
    return float(str(np.float32(value)))


def _short(values: Any) -> Any:
    one, *others = (int(value) for value in values)
    return one if all(each == one for each in others) else (one, *others)


def _sides(sides: Sides) -> Any:
    """A padding in its shortest form."""
    vertical, horizontal = (_short(each) for each in sides)
    return vertical if vertical == horizontal and isinstance(vertical, int) else (vertical, horizontal)

"""Reads ONNX files, converts them to float64, and computes them with onnx.reference.

Everything runs in the process of the command, which needs the package onnx. A file is data: an array outside of the
file is read from the folder of the file only, and operators of other domains are never loaded.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import erf, pi, sqrt
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.porting.graphs import refused
from benchmarks.porting.numbers import shortest
from benchmarks.porting.onnx_graph import BATCH, Model
from benchmarks.runtime.errors import BadInput, ShapeMissing
from frameworks.arrays import Array, Weights
from frameworks.errors import Unavailable
from frameworks.spec import Shape, times

_ARITHMETIC = ("Add", "Sub", "Mul", "Div", "Clip", "Min", "Max")
_BY_VALUE = ("Identity", "Cast", "Add", "Sub", "Mul", "Div", "Neg", "Clip")
_FEW = 4096  # values of constants that are mean and deviation of channels


def read(path: Path, text: str, input: Shape | None) -> Model:
    """The model of a file, in float64, for images of this shape: channels, height, width.

    input: may be None where the file has a size. Raises BadInput, and Unavailable without the package onnx.
    """
    try:
        import onnx
        import onnx.inliner
        import onnx.reference
    except ImportError:
        raise Unavailable(f"{text}: needs the package onnx: pip install -e '.[onnx]'") from None
    from google.protobuf.message import DecodeError

    try:
        proto = onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise BadInput(f"{text}: {error.strerror or error}") from None
    except (DecodeError, ValueError) as error:
        raise BadInput(f"{text}: no ONNX model: {_one_line(error)}") from None
    _load_outside(onnx, proto, path, text)
    for node in proto.graph.node:
        if node.domain in ("", "ai.onnx") and not onnx.defs.has(node.op_type):
            why = "ONNX has no such operator, its exporter kept it"
            raise BadInput(f"{text}: {refused(node.op_type, f'node {node.name or node.output[0]}', why)}")
    try:
        onnx.checker.check_model(proto)
        if proto.functions:
            proto = onnx.inliner.inline_local_functions(proto)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise BadInput(f"{text}: no ONNX model: {_one_line(error)}") from None
    opset = next((each.version for each in proto.opset_import if each.domain in ("", "ai.onnx")), 1)
    proto = _in_float64(onnx, proto, opset)
    shape, last, batch = _images(proto, text, input)
    return Model(proto, shape, last, batch, opset, lambda node, inputs: _computed(onnx, proto, node, inputs))


def _one_line(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]


def _load_outside(onnx: Any, proto: Any, path: Path, text: str) -> None:
    """Read the arrays that lie in other files. Raises BadInput for a file that is not in the folder of the model."""
    folder = path.absolute().parent
    for tensor in proto.graph.initializer:
        if not onnx.external_data_helper.uses_external_data(tensor):
            continue
        location = next((each.value for each in tensor.external_data if each.key == "location"), "")
        file = (folder / location).resolve()
        if Path(location).is_absolute() or not file.is_relative_to(folder.resolve()):
            raise BadInput(
                f"{text}: the array {tensor.name} lies in {location}, which is not in the folder of the model"
            )
        if not file.is_file():
            raise BadInput(
                f"{text}: the array {tensor.name} lies in {location}, and there is no such file beside the model"
            )
        onnx.external_data_helper.load_external_data_for_tensor(tensor, str(folder))
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]


def _in_float64(onnx: Any, proto: Any, opset: int) -> Any:
    """The model with all floating numbers in float64, and few of them as people write them (`shortest`)."""
    kinds = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}
    uses: dict[str, Counter[str]] = {}
    for node in proto.graph.node:
        for name in node.input:
            uses.setdefault(name, Counter())[node.op_type] += 1

    def converted(tensor: Any, name: str) -> Any:
        if tensor.data_type not in kinds:
            return tensor
        array = onnx.numpy_helper.to_array(tensor).astype(np.float64)
        users = set(uses.get(name, ()))
        scalar = array.size == 1 and users <= (set(_ARITHMETIC) if array.ndim <= 1 else {"Add"})
        if scalar or (users and users <= {"Sub", "Div"} and array.size <= _FEW):
            array = np.vectorize(shortest, otypes=[np.float64])(array).reshape(array.shape)
        return onnx.numpy_helper.from_array(array, tensor.name)

    made = onnx.ModelProto()
    made.CopyFrom(proto)
    arrays = [converted(tensor, tensor.name) for tensor in proto.graph.initializer]
    del made.graph.initializer[:], made.graph.value_info[:]
    made.graph.initializer.extend(arrays)
    for value in (*made.graph.input, *made.graph.output):
        if value.type.tensor_type.elem_type in kinds:
            value.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    for node in made.graph.node:
        if node.op_type == "GroupNormalization" and opset >= 21:  # its statistics are in float32 else
            kept = [each for each in node.attribute if each.name != "stash_type"]
            del node.attribute[:]
            node.attribute.extend([*kept, onnx.helper.make_attribute("stash_type", onnx.TensorProto.DOUBLE)])
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i in kinds:
                attribute.i = onnx.TensorProto.DOUBLE
            if node.op_type in ("Constant", "ConstantOfShape") and attribute.name == "value":
                attribute.t.CopyFrom(converted(attribute.t, node.output[0]))
            elif node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
                numbers = attribute.f if attribute.name == "value_float" else list(attribute.floats)
                array = onnx.numpy_helper.from_array(np.array(numbers, np.float32))
                attribute.CopyFrom(onnx.helper.make_attribute("value", converted(array, node.output[0])))
    return made


def _images(proto: Any, text: str, input: Shape | None) -> tuple[Shape, bool, int]:
    """The shape of one image, channels first, whether the file has them last, and the batch; 0 where it is free."""
    arrays = {tensor.name for tensor in proto.graph.initializer}
    inputs = [each for each in proto.graph.input if each.name not in arrays]
    if len(inputs) != 1:
        raise BadInput(f"{text}: the model has {len(inputs)} inputs; a network has one")
    (image,) = inputs
    sizes = [dim.dim_value for dim in image.type.tensor_type.shape.dim]
    if len(sizes) != 4:
        raise BadInput(f"{text}: its input {image.name} has {len(sizes)} dimensions; a batch of images has 4")
    batch, *size = sizes
    last = _is_last(proto.graph, image.name, size)
    shape = (size[2], size[0], size[1]) if last else tuple(size)
    if input is not None:
        if any(own not in (0, given) for own, given in zip(shape, input)):
            raise BadInput(f"{text}: an input of {times(input)}: the model takes {_sizes(shape)}")
        shape = input
    if min(shape) < 1:
        raise ShapeMissing(f"{text}: the model takes images of {_sizes(shape)}")
    return shape, last, batch


def _is_last(graph: Any, image: str, size: Sequence[int]) -> bool:
    """Whether channels are last: all that takes the images, or what is computed from them by value, moves these first.

    tf2onnx moves the one channel of gray images by a Reshape.
    """
    images, moves = {image}, []
    for node in graph.node:
        if images.isdisjoint(node.input):
            continue
        if node.op_type in _BY_VALUE:
            images.update(node.output)
        else:
            perm = next((list(each.ints) for each in node.attribute if each.name == "perm"), [])
            moves.append(perm == [0, 3, 1, 2] or (node.op_type == "Reshape" and size[2] == 1 < size[1]))
    return bool(moves) and all(moves)


def _sizes(shape: Shape) -> str:
    return "x".join(str(size or "any") for size in shape)


# --- computing --------------------------------------------------------------------------------------------------------


def _computed(onnx: Any, proto: Any, node: Any, inputs: Mapping[str, Array]) -> Sequence[Array]:
    """The outputs of one operator that depends on no image."""
    helper = onnx.helper
    given = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in inputs.items()
    ]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output]
    graph = helper.make_graph([node], "constant", given, outputs)
    model = helper.make_model(graph, opset_imports=proto.opset_import, ir_version=proto.ir_version)
    return list(_run(_evaluator(onnx, model, node.op_type), node.op_type, inputs))


def values(model: Model, images: Array, names: Sequence[str] | None) -> Weights:
    """The tensors of a model by name, in float64; all that have a row for each image for None.

    images: N x C x H x W. Raises BadInput where onnx.reference lacks an operator.
    """
    import onnx.reference

    proto = model.proto
    feed = np.moveaxis(images, 1, -1) if model.last else images
    step = model.batch or BATCH
    evaluator = _evaluator(onnx, proto, "the model")
    arrays = {tensor.name for tensor in proto.graph.initializer}
    (image,) = (each.name for each in proto.graph.input if each.name not in arrays)
    parts: dict[str, list[Array]] = {}
    for start in range(0, len(feed), step):
        batch = feed[start : start + step]
        full = np.concatenate([batch, np.repeat(batch[-1:], step - len(batch), 0)])
        found = _run(evaluator, "the model", {image: np.ascontiguousarray(full, np.float64)}, intermediate=True)
        for name, array in found.items():
            wanted = name in names if names is not None else isinstance(array, np.ndarray) and array.ndim
            if wanted and len(array) == step and array.dtype == np.float64:
                parts.setdefault(name, []).append(array[: len(batch)])
    return {name: np.concatenate(each) for name, each in parts.items()}


def _evaluator(onnx: Any, proto: Any, what: str) -> Any:
    """onnx.reference with attributes as people write them, as in the spec, and with a fast convolution."""
    with _refused(what):
        evaluator = onnx.reference.ReferenceEvaluator(proto, new_ops=_operators(onnx))
    for operator in evaluator.rt_nodes_:
        for name, value in vars(operator).items():
            if isinstance(value, np.float32):
                setattr(operator, name, np.float64(shortest(float(value))))
    return evaluator


def _run(evaluator: Any, what: str, inputs: Mapping[str, Array], **options: Any) -> Any:
    """What an evaluator computes from tensors by name. It notices only here which attributes it cannot handle."""
    with _refused(what), np.errstate(all="ignore"):  # where it takes one of two values, it computes both
        return evaluator.run(None, dict(inputs), **options)


@contextlib.contextmanager
def _refused(what: str) -> Iterator[None]:
    """Raise BadInput where onnx.reference lacks what it needs."""
    try:
        yield
    except (NotImplementedError, RuntimeError) as error:
        raise BadInput(f"onnx.reference cannot compute {what}: {_one_line(error)}") from None


def _operators(onnx: Any) -> list[Any]:
    """Operators that onnx.reference 1.22 computes slowly, in float32 (erf), wrongly, or not in float64.

    Its convolution pads where `auto_pad` is VALID, its maximum in windows of stride 1 takes the padding of one side for
    both, its batch normalization of opsets 9 to 13 takes statistics of the batch, its LRN computes as many channels as
    there are images, and its Softplus and Mish are infinite from 710 on.
    """

    class Conv(onnx.reference.op_run.OpRun):
        """A convolution by one product of matrices for each group."""

        def _run(self, x, weight, bias=None, *, auto_pad, dilations, group, kernel_shape, pads, strides):  # type: ignore[no-untyped-def]
            places = _windows(x, weight.shape[2:], strides, dilations, pads, auto_pad)
            parts = zip(np.split(places, group, 1), np.split(weight, group))
            y = np.concatenate([np.tensordot(part, w, ((1, 4, 5), (1, 2, 3))) for part, w in parts], -1)
            y = np.moveaxis(y if bias is None else y + bias, -1, 1)
            return (np.ascontiguousarray(y),)

    class MaxPool(onnx.reference.op_run.OpRun):
        def _run(  # type: ignore[no-untyped-def]
            self, x, *, auto_pad, kernel_shape, pads, strides, ceil_mode=0, dilations=None, storage_order=0
        ):
            window = kernel_shape, strides, dilations, pads, auto_pad, ceil_mode
            return (_windows(x, *window, fill=-np.inf, beyond=-np.inf).max((4, 5)),)

    class AveragePool(onnx.reference.op_run.OpRun):
        """What `ceil_mode` adds beyond the padding never counts."""

        def _run(  # type: ignore[no-untyped-def]
            self, x, *, auto_pad, kernel_shape, pads, strides, ceil_mode=0, count_include_pad=0, dilations=None
        ):
            window = kernel_shape, strides, dilations, pads, auto_pad, ceil_mode
            counts = _windows(np.ones((1, 1, *x.shape[2:])), *window, fill=float(count_include_pad))
            axes = tuple(range(x.ndim, counts.ndim))
            return (_windows(x, *window).sum(axes) / counts.sum(axes),)

    class BatchNormalization(onnx.reference.op_run.OpRun):
        def _run(self, x, gamma, beta, mean, variance, epsilon=1e-5, **_):  # type: ignore[no-untyped-def]
            by_channel = (-1, *[1] * (x.ndim - 2))
            gamma, beta, mean, variance = (each.reshape(by_channel) for each in (gamma, beta, mean, variance))
            return (gamma * (x - mean) / np.sqrt(variance + epsilon) + beta,)

    class Erf(onnx.reference.op_run.OpRun):
        def _run(self, x):  # type: ignore[no-untyped-def]
            return (np.vectorize(erf, otypes=[np.float64])(x),)

    class Gelu(onnx.reference.op_run.OpRun):
        def _run(self, x, approximate="none"):  # type: ignore[no-untyped-def]
            if approximate == "tanh":
                return (x * (1 + np.tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2,)
            return (x * (1 + np.vectorize(erf, otypes=[np.float64])(x / sqrt(2))) / 2,)

    class Softplus(onnx.reference.op_run.OpRun):
        def _run(self, x):  # type: ignore[no-untyped-def]
            return (np.logaddexp(0, x),)

    class Mish(onnx.reference.op_run.OpRun):
        def _run(self, x):  # type: ignore[no-untyped-def]
            return (x * np.tanh(np.logaddexp(0, x)),)

    class HardSwish(onnx.reference.op_run.OpRun):
        """With 1/6 in float64; as a function of ONNX, it has an attribute in float32."""

        def _run(self, x):  # type: ignore[no-untyped-def]
            return (x * np.clip(x / 6 + 0.5, 0, 1),)

    class LRN(onnx.reference.op_run.OpRun):
        def _run(self, x, alpha, beta, bias, size):  # type: ignore[no-untyped-def]
            squares = np.pad(x**2, [(0, 0), ((size - 1) // 2, size // 2), *[(0, 0)] * (x.ndim - 2)])
            sums = np.lib.stride_tricks.sliding_window_view(squares, size, 1).sum(-1)
            return (x / (bias + alpha / size * sums) ** beta,)

    class LayerNormalization(onnx.reference.op_run.OpRun):
        """In the type of its input, whatever `stash_type` is: onnx.reference has only float32 there."""

        def _run(self, x, gamma, beta=None, axis=-1, epsilon=1e-5, stash_type=1):  # type: ignore[no-untyped-def]
            axes = tuple(range(axis % x.ndim, x.ndim))
            mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
            scale = 1 / np.sqrt(variance + epsilon)
            y = (x - mean) * scale * gamma
            return (y if beta is None else y + beta, mean, scale)

    norms = [BatchNormalization, LayerNormalization, LRN]
    return [Conv, MaxPool, AveragePool, *norms, Softplus, Mish, HardSwish, Erf, Gelu]


def _windows(
    x: Array,
    window: Sequence[int],
    strides: Sequence[int] | None,
    dilations: Sequence[int] | None,
    pads: Sequence[int] | None,
    auto_pad: str,
    ceil: int = 0,
    *,
    fill: float = 0.0,
    beyond: float = 0.0,
) -> Array:
    """The values in each window: N x C x places x window. fill: of the padding. beyond: after it, for ceil."""
    ones = [1] * len(window)
    stride, gap, pads = strides or ones, dilations or ones, pads or [0] * 2 * len(window)
    extents = [step * (size - 1) + 1 for size, step in zip(window, gap)]
    ways = list(zip(x.shape[2:], stride, extents))
    around = list(zip(pads[: len(window)], pads[len(window) :]))
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        totals = [max(0, (-(-size // step) - 1) * step + extent - size) for size, step, extent in ways]
        around = [
            (each - each // 2, each // 2) if auto_pad == "SAME_LOWER" else (each // 2, each - each // 2)
            for each in totals
        ]
    x = np.pad(x, [(0, 0), (0, 0), *around], constant_values=fill)
    if ceil and auto_pad == "NOTSET":
        lacking = []
        for (size, step, extent), (before, after) in zip(ways, around):
            count = -(-(size + before + after - extent) // step)  # of the steps to the last window
            count -= count * step >= size + before  # it starts inside the image or the padding before it
            lacking.append((0, max(0, count * step + extent - size - before - after)))
        x = np.pad(x, [(0, 0), (0, 0), *lacking], constant_values=beyond)
    places = np.lib.stride_tricks.sliding_window_view(x, extents, tuple(range(2, x.ndim)))
    steps = tuple(slice(None, None, step) for step in (1, 1, *stride, *gap))
    return places[steps]

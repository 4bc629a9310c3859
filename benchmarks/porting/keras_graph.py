"""The layers of a Keras model as layers of the spec: the graph that `frameworks/network_files/keras_model.py` writes.

Keras has the channels last, and so have the values here, until a flatten: `ArrayBuilder` reorders the arrays behind it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from benchmarks.porting.array_builder import ArrayBuilder, short_padding, short_pair
from benchmarks.porting.graphs import ZERO, Graph, Probabilities, Value, refused
from benchmarks.porting.interpolation import interpolation
from benchmarks.porting.keras_arithmetic import Part, Response, Whole, after, erf_of
from benchmarks.porting.keras_windows import Larger, Maximum, chosen, larger, pool
from benchmarks.reporting.number_formats import first_names
from benchmarks.runtime.errors import BadInput, ShapeMissing
from frameworks.arrays import Array, Weights
from frameworks.spec import (
    ELU,
    GELU,
    SELU,
    AdaptiveAvgPool,
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
    MaxPool,
    Mish,
    Multiply,
    Pad,
    Padding,
    Pair,
    PReLU,
    ReLU,
    ReLU6,
    Resize,
    Scale,
    Shape,
    Sigmoid,
    SiLU,
    Softplus,
    StochasticDepth,
    Tanh,
    pair,
    same,
    sides,
    times,
)

Description: TypeAlias = Mapping[str, Any]  # of the graph or a node, as the script writes it
LINEAR = ":linear"
FIRST = "channels_first"
_ACTIVATIONS: dict[str, Callable[[], Layer]] = {
    "relu": ReLU,
    "relu6": ReLU6,
    "leaky_relu": lambda: LeakyReLU(slope=0.2),
    "elu": ELU,
    "selu": SELU,
    "gelu": GELU,
    "sigmoid": Sigmoid,
    "hard_sigmoid": HardSigmoid,
    "silu": SiLU,
    "swish": SiLU,
    "hard_silu": HardSwish,
    "hard_swish": HardSwish,
    "tanh": Tanh,
    "softplus": Softplus,
    "mish": Mish,
}
_SOFTMAX = ("softmax", "log_softmax")
_ARITHMETIC = ("Add", "Subtract", "Multiply", "Divide", "TrueDivide")
_IDENTITY = ("Identity", "ActivityRegularization")
# Layers beside Random... that change images in training alone.
_AUGMENTING = ("AugMix", "CutMix", "MixUp", "RandAugment", "Solarization")
# Layers that interpolate. TensorFlow's operators for it (ResizeBilinear) give float32, whatever their input is.
_RESIZES = ("Resizing", "UpSampling2D")
_OF_WINDOWS = ("Greater", "Where")
_NORMALIZER = 1e-7  # the least deviation of keras.layers.Normalization


Result: TypeAlias = "Value | Probabilities | Part | Larger | Maximum"


class LayerCall:
    """A layer or operation with its config and its inputs."""

    def __init__(self, node: Description, values: Mapping[str, Result]) -> None:
        self.node, self.config, self.name = node, node["config"], str(node["name"])
        self.kind: str = node["class"]
        self.where = f"layer {self.name}" if node["layer"] else f"operation {self.name}"
        self.output: str = node["outputs"][0]
        self.others: list[Any] = []  # arguments that are no tensors
        self.inputs: list[Value] = []
        self.parts: list[Part | Larger | Maximum] = []
        for argument in [*node["args"], *node["kwargs"].values()]:
            for each in argument if isinstance(argument, list) else [argument]:
                if not (isinstance(each, dict) and "tensor" in each):
                    self.others.append(each)
                    continue
                value = values[each["tensor"]]
                if isinstance(value, Probabilities):
                    raise refused(value.operator, value.node, "a softmax is only cut off at the end")
                if isinstance(value, Value):
                    self.inputs.append(value)
                else:
                    self.parts.append(value)

    def __call__(self, name: str, default: Any = None) -> Any:
        value = self.config.get(name)
        return default if value is None else value

    @property
    def input(self) -> Value:
        return self.inputs[0]

    def refused(self, why: str = "") -> BadInput:
        return refused(self.kind, self.where, why)


def _numbers(value: Any) -> Array:
    """A number or several, as a config has them, in float64."""
    if isinstance(value, dict):  # an array
        value = value["config"]["value"] if isinstance(value.get("config"), dict) else value["value"]
    return np.asarray(value, np.float64).ravel()


def input_of(graph: Description, given: Shape | None) -> Shape:
    """The shape of one image, channels first. Raises ShapeMissing where the model leaves it free and none is given."""
    size = graph["input"]
    if len(size) != 3:
        raise BadInput(f"its input has {len(size)} dimensions beside the batch; an image has 3")
    own = tuple(size) if is_first(graph) else (size[2], size[0], size[1])
    if given is not None:
        if any(one not in (None, other) for one, other in zip(own, given)):
            raise BadInput(f"an input of {times(given)}: the model takes {_images(own)}")
        return given
    if None in own:
        raise ShapeMissing(f"the model takes {_images(own)}")
    return own


def _images(shape: tuple[int | None, ...]) -> str:
    """The images that a model takes, in words: 3x32x32, or what it leaves free."""
    channels, *size = shape
    named = "any number of channels" if channels is None else f"{channels} channel{'s' * (channels != 1)}"
    if None not in shape:
        return f"images of {'x'.join(map(str, shape))}"
    if size == [None, None]:
        return f"images of any size with {named}"
    rows, columns = (f"{each or 'any number of'} {of}" for each, of in zip(size, ("rows", "columns")))
    return f"images with {named}, {rows} and {columns}"


def is_first(graph: Description) -> bool:
    """Whether the model has its channels first."""
    return any(node["config"].get("data_format") == FIRST for node in graph["nodes"])


def in_float32(graph: Description) -> list[str]:
    """The kinds of layers of a model that compute in float32 though the model is in float64."""
    of = {node["class"] for node in graph["nodes"] if node["config"].get("interpolation", "nearest") != "nearest"}
    return sorted(of & set(_RESIZES))


def converted(graph: Description, arrays: Weights, input: Shape) -> tuple[Graph, str, Weights]:
    """The graph of a model, the tensor that gives the logits, and the arrays by canonical name."""
    return _KerasConverter(graph, arrays, input).run()


class _KerasConverter:
    def __init__(self, graph: Description, arrays: Weights, input: Shape) -> None:
        self.graph, self.arrays, self.builder = graph, arrays, ArrayBuilder(input)
        self.last = not is_first(graph)
        used = [
            each["tensor"] for node in graph["nodes"] for each in _tensors([node["args"], *node["kwargs"].values()])
        ]
        self.uses = Counter([*used, *graph["outputs"]])
        self.values: dict[str, Result] = {"input": self.builder.whole("input", last=self.last)}

    def run(self) -> tuple[Graph, str, Weights]:
        for node in self.graph["nodes"]:
            if node["class"] not in _OF_WINDOWS:
                self._end_maxima(each["tensor"] for each in _tensors([node["args"], *node["kwargs"].values()]))
            call = LayerCall(node, self.values)
            if not node["own"]:
                raise call.refused("only Keras' own layers are imported")
            try:
                results = self._results(call)
            except BadInput:
                raise
            except (ValueError, IndexError) as error:  # of NumPy, for axes or sizes that do not exist
                raise call.refused(str(error)) from None
            if len(node["outputs"]) != len(results):
                raise call.refused(f"it gives {len(node['outputs'])} tensors")
            self.values |= zip(node["outputs"], results)
        if frozen := self.graph["frozen"]:
            named = first_names(frozen)
            self.builder.notes.append(f"not trained in the original (trainable=False), trained in the port: {named}")
        name, *others = self.graph["outputs"]
        self._end_maxima([name])
        value = self.values[name]
        if others:
            self.builder.notes.append(f"the output {name} is the network's; left out: {', '.join(others)}")
        if isinstance(value, Probabilities):
            self.builder.notes.append(f"the final {value.operator} is cut off: the network gives logits")
            name, value = value.node, value.logits
        if not isinstance(value, Value):
            raise BadInput(f"its output {name} is a part of a layer")
        return self.builder.graph(value), name, self.builder.arrays

    def _results(self, call: LayerCall) -> list[Result]:
        """The outputs of a layer or operation. Raises BadInput for what has no layer."""
        if call.kind in _OF_WINDOWS:
            return [self._of_windows(call)]
        if call.parts:
            return [self._of_part(call, call.parts[0])]
        if not call.inputs:
            raise call.refused("it has no input")
        if call.kind in _IDENTITY:
            return [call.input]
        if call.kind.startswith("Random") or call.kind in _AUGMENTING:
            self.builder.notes.append(f"{call.kind} ({call.name}) augments images in training: left out")
            return [call.input]
        if (name := _snake(call.kind)) in (*_ACTIVATIONS, *_SOFTMAX) and not call.node["layer"]:
            return [self._activated(call, call.input, name)]
        if call.kind in _ARITHMETIC and len(call.inputs) == 1:  # what stands beside the tensor is by channel
            call.inputs = [self.builder.settled(call.input, call.where)]
        method = getattr(self, f"on_{call.kind}", None)
        if method is None:
            raise call.refused()
        result: Result | list[Result] = method(call)
        return result if isinstance(result, list) else [result]

    # --- values -------------------------------------------------------------------------------------------------------

    def _image(self, call: LayerCall) -> Value:
        """The input as an image, with the channels where the layer has them."""
        if len(call.input.shape) != 3:
            raise call.refused(f"its input is {times(call.input.shape)}")
        if (call("data_format") == FIRST) == self.last:
            raise call.refused(f"{call('data_format')} in a model with other layers")
        return self.builder.channels_last(call.input, call.where) if self.last else call.input

    def _size(self, value: Value) -> tuple[int, int]:
        height, width = value.shape[:2] if self.last else value.shape[1:]
        return height, width

    def _axis(self, call: LayerCall, number: int) -> int:
        """An axis of a batch as one of an image."""
        axis = number % (len(call.input.shape) + 1) - 1
        if axis < 0:
            raise call.refused("it mixes the images of a batch")
        return axis

    def _is_channel(self, call: LayerCall, number: int) -> bool:
        return self._axis(call, number) == (len(call.input.shape) - 1 if self.last else 0)

    def _add(self, call: LayerCall, *layers: Layer, input: Value | None = None) -> Value:
        return self.builder.layer(input or call.input, *layers, where=call.where, node=call.output)

    def _weighted(self, call: LayerCall, value: Value, layer: Layer, arrays: Mapping[str, Array], node: str) -> Value:
        return self.builder.weighted(value, layer, arrays, call.where, node)

    def _array(self, call: LayerCall, *names: str) -> Array | None:
        for name in names:
            if name in call.node["arrays"]:
                return self.arrays[call.node["arrays"][name]]
        return None

    def _arrays(self, call: LayerCall, **roles: str) -> dict[str, Array]:
        """The arrays that a layer has, by the spec's role."""
        found = {role: self._array(call, name) for role, name in roles.items()}
        return {role: array.ravel() for role, array in found.items() if array is not None}

    def _activated(
        self, call: LayerCall, value: Value, activation: Any, options: Mapping[str, Any] | None = None
    ) -> Result:
        """A value after an activation, which Keras names by its function."""
        if activation in (None, "linear"):
            return value
        if isinstance(activation, Mapping):  # an object: its class is that of a layer
            raise call.refused(f"activation {activation.get('class_name', activation)}")
        if activation in _SOFTMAX:
            if len(value.shape) != 1:
                raise call.refused(f"{activation} of {times(value.shape)}")
            before = call.inputs and call.kind not in ("Activation", "Softmax", "LogSoftmax")
            node = call.output + LINEAR if before and call.node["layer"] else call.node["args"][0]["tensor"]
            return Probabilities(value, str(activation), node)
        if activation not in _ACTIVATIONS:
            raise call.refused(f"activation {activation}")
        return self._add(call, _ACTIVATIONS[activation](), input=value)

    def _with_activation(self, call: LayerCall, value: Value) -> Result:
        return self._activated(call, value, call("activation"))

    # --- layers with arrays -------------------------------------------------------------------------------------------

    def _window(self, call: LayerCall, kernel: Any, dilation: Any = 1) -> tuple[Pair, Pair, Padding]:
        """Kernel, stride and padding; "same" is resolved for the size of the input."""
        window, stride = short_pair(pair(_tuple(kernel))), short_pair(pair(_tuple(call("strides") or kernel)))
        rule = call("padding", "valid")
        if rule not in ("valid", "same"):
            raise call.refused(f"padding {rule}")
        if rule == "valid":
            return window, stride, 0
        return window, stride, short_padding(same(window, stride, self._size(call.input), dilation=dilation))

    def on_Conv2D(self, call: LayerCall) -> Result:
        value, name, dilation = self._image(call), _clean(call.name), short_pair(call("dilation_rate", (1, 1)))
        kernel, arrays = self._array(call, "kernel"), self._arrays(call, bias="bias")
        assert kernel is not None
        window = self._window(call, call("kernel_size"), dilation)
        options: Any = {"groups": call("groups", 1), "bias": "bias" in arrays, "dilation": dilation}
        arrays["weight"] = kernel.transpose(3, 2, 0, 1)
        layer = Conv(name, kernel.shape[3], *window, **options)
        return self._with_activation(call, self._weighted(call, value, layer, arrays, self._linear(call)))

    def _linear(self, call: LayerCall) -> str:
        """The node of a layer's output before its activation."""
        return call.output + LINEAR if "activation" in call.config else call.output

    def on_DepthwiseConv2D(self, call: LayerCall) -> Result:
        arrays = self._arrays(call, bias="bias")
        value = self._depthwise(call, _clean(call.name), ("kernel", "depthwise_kernel"), arrays, self._linear(call))
        return self._with_activation(call, value)

    def _depthwise(
        self, call: LayerCall, name: str, roles: tuple[str, ...], arrays: dict[str, Array], node: str
    ) -> Value:
        kernel, dilation = self._array(call, *roles), short_pair(call("dilation_rate", (1, 1)))
        assert kernel is not None
        height, width, maps, multiplier = kernel.shape
        window = self._window(call, call("kernel_size"), dilation)
        options: Any = {"groups": maps, "bias": "bias" in arrays, "dilation": dilation}
        arrays["weight"] = kernel.transpose(2, 3, 0, 1).reshape(maps * multiplier, 1, height, width)
        layer = Conv(name, maps * multiplier, *window, **options)
        return self._weighted(call, self._image(call), layer, arrays, node)

    def on_SeparableConv2D(self, call: LayerCall) -> Result:
        name, pointwise = _clean(call.name), self._array(call, "pointwise_kernel")
        assert pointwise is not None
        value = self._depthwise(call, f"{name}.depthwise", ("depthwise_kernel",), {}, "")
        arrays = self._arrays(call, bias="bias") | {"weight": pointwise.transpose(3, 2, 0, 1)}
        layer = Conv(f"{name}.pointwise", pointwise.shape[3], 1, bias="bias" in arrays)
        return self._with_activation(call, self._weighted(call, value, layer, arrays, self._linear(call)))

    def on_Dense(self, call: LayerCall) -> Result:
        kernel, arrays = self._array(call, "kernel"), self._arrays(call, bias="bias")
        assert kernel is not None
        arrays["weight"] = kernel.T
        value = self.builder.dense(call.input, _clean(call.name), arrays, call.where, self._linear(call))
        return self._with_activation(call, value)

    def on_BatchNormalization(self, call: LayerCall) -> Value:
        axis = call("axis", -1)
        if not self._is_channel(call, int(axis[0] if isinstance(axis, list) else axis)):
            raise call.refused(f"axis={axis} of {times(call.input.shape)}")
        arrays = self._arrays(
            call, gamma="gamma", beta="beta", running_mean="moving_mean", running_var="moving_variance"
        )
        eps, momentum = call("epsilon", 1e-3), round(1 - call("momentum", 0.99), 12)
        layer = BatchNorm(_clean(call.name), eps, momentum, gamma="gamma" in arrays, beta="beta" in arrays)
        return self._weighted(call, call.input, layer, arrays, call.output)

    def on_LayerNormalization(self, call: LayerCall) -> Value:
        axis = call("axis", -1)
        axes = [int(each) for each in (axis if isinstance(axis, list) else [axis])]
        if call("rms_scaling") or len(axes) != 1 or not self._is_channel(call, axes[0]):
            raise call.refused(f"axis={axis} of {times(call.input.shape)}")
        arrays = self._arrays(call, gamma="gamma", beta="beta")
        options: Any = {"gamma": "gamma" in arrays, "beta": "beta" in arrays}
        layer = LayerNorm(_clean(call.name), call("epsilon", 1e-3), **options)
        return self._weighted(call, call.input, layer, arrays, call.output)

    def on_GroupNormalization(self, call: LayerCall) -> Value:
        arrays, groups = self._arrays(call, gamma="gamma", beta="beta"), call("groups", 32)
        if len(call.input.shape) != 3 or not self._is_channel(call, int(call("axis", -1))):
            raise call.refused(f"axis={call('axis')} of {times(call.input.shape)}")
        name, eps = _clean(call.name), call("epsilon", 1e-3)
        options: Any = {"gamma": "gamma" in arrays, "beta": "beta" in arrays}
        layer = InstanceNorm(name, eps, **options) if groups == -1 else GroupNorm(name, groups, eps, **options)
        return self._weighted(call, call.input, layer, arrays, call.output)

    def on_PReLU(self, call: LayerCall) -> Value:
        slope = self._array(call, "alpha")
        assert slope is not None
        if len(call.input.shape) == 3 and slope.size != call.input.shape[-1 if self.last else 0]:
            raise call.refused("a slope for each pixel; shared_axes=[1, 2] has one for each channel")
        return self._weighted(call, call.input, PReLU(_clean(call.name)), {"slope": slope.ravel()}, call.output)

    def on_LayerScale(self, call: LayerCall) -> Value:
        """A layer of Keras' ConvNeXt."""
        layer = Affine(_clean(call.name), beta=False)
        return self._weighted(call, call.input, layer, self._arrays(call, gamma="0"), call.output)

    def on_Normalization(self, call: LayerCall) -> Value:
        mean, variance = self._array(call, "mean"), self._array(call, "variance")
        if call("invert"):
            raise call.refused("invert")
        if mean is None or variance is None:
            mean, variance = np.array(call("mean", [0.0])), np.array(call("variance", [1.0]))
        std = np.maximum(np.sqrt(np.ravel(variance).astype(np.float64)), _NORMALIZER)
        center = np.ravel(mean).astype(np.float64)
        return self.builder.normalized(call.input, call.where, call.output, mean=center, std=std)

    # --- windows ------------------------------------------------------------------------------------------------------

    def _name(self, call: LayerCall) -> str:
        """The name of a layer without arrays, if a person gave it."""
        return "" if re.fullmatch(rf"{_snake(call.kind)}(_\d+)?", call.name.rpartition(".")[2]) else _clean(call.name)

    def on_MaxPooling2D(self, call: LayerCall) -> Value:
        value = self._image(call)
        kernel, stride, padding = self._window(call, call("pool_size"))
        return self._add(call, MaxPool(self._name(call), kernel, stride, padding), input=value)

    def on_AveragePooling2D(self, call: LayerCall) -> Value:
        value = self._image(call)
        kernel, stride, padding = self._window(call, call("pool_size"))
        if pair(kernel) == self._size(value) and padding == 0:
            return self._add(call, GlobalAvgPool(self._name(call)), input=value)
        counts = padding == 0
        return self._add(call, AvgPool(self._name(call), kernel, stride, padding, count_padding=counts), input=value)

    def _over_pixels(self, call: LayerCall, layer: Callable[[Shape], Layer]) -> Value:
        value = self._image(call)
        axes = (0, 1) if self.last else (1, 2)
        return self.builder.over_pixels(value, axes, bool(call("keepdims")), layer, call.where, call.output)

    def on_GlobalAveragePooling2D(self, call: LayerCall) -> Value:
        return self._over_pixels(call, lambda of: GlobalAvgPool(self._name(call)))

    def on_Mean(self, call: LayerCall) -> Value:
        """`keras.ops.mean`"""
        axes = call("axis")
        if axes is None:
            raise call.refused("it mixes the images of a batch")
        over = [self._axis(call, int(each)) for each in (axes if isinstance(axes, list) else [axes])]
        keep = bool(call("keepdims"))
        return self.builder.over_pixels(
            call.input, over, keep, lambda of: GlobalAvgPool(self._name(call)), call.where, call.output
        )

    def on_GlobalMaxPooling2D(self, call: LayerCall) -> Value:
        return self._over_pixels(call, lambda of: MaxPool(self._name(call), short_pair(of[1:]), 1))

    def on_AdaptiveAveragePooling2D(self, call: LayerCall) -> Value:
        size = pair(_tuple(call("output_size")))
        layer = GlobalAvgPool(self._name(call)) if size == (1, 1) else AdaptiveAvgPool(self._name(call), *size)
        return self._add(call, layer, input=self._image(call))

    def on_ZeroPadding2D(self, call: LayerCall) -> Value:
        around = sides(_tuple(call("padding", 1)))
        return self._add(call, Pad(self._name(call), short_padding(around)), input=self._image(call))

    def on_Pad(self, call: LayerCall) -> Value:
        """`keras.ops.pad`, of rows and columns, or zeros of channels."""
        number = float(next((each for each in call.others if isinstance(each, (int, float))), 0.0))
        batch, *widths = (tuple(each) for each in call("pad_width"))
        if call("mode", "constant") != "constant" or batch != (0, 0) or len(widths) != len(call.input.shape):
            raise call.refused(f"pad_width={call('pad_width')}")
        channel = len(widths) - 1 if self.last else 0
        around, value = [each for axis, each in enumerate(widths) if axis != channel], call.input
        if widths[channel] != (0, 0):
            if number:
                raise call.refused(f"channels of {number:g}")
            added = [each if axis == channel else (0, 0) for axis, each in enumerate(widths)]
            value = value.moved(lambda index: np.pad(index, added, constant_values=ZERO))
        if all(each == (0, 0) for each in around):
            return value
        vertical, horizontal = around
        return self._add(call, Pad("", short_padding((vertical, horizontal)), number), input=value)

    def on_Resizing(self, call: LayerCall) -> Value:
        if call("crop_to_aspect_ratio") or call("pad_to_aspect_ratio") or call("antialias"):
            raise call.refused("only a plain resize is a layer")
        return self._resized(call, call("height"), call("width"))

    def on_UpSampling2D(self, call: LayerCall) -> Value:
        height, width = self._size(self._image(call))
        vertical, horizontal = pair(_tuple(call("size", 2)))
        return self._resized(call, height * vertical, width * horizontal)

    def _resized(self, call: LayerCall, height: int, width: int) -> Value:
        method = {"bilinear": "linear", "nearest": "nearest"}.get(call("interpolation", "bilinear"))
        if method is None:
            raise call.refused(f"interpolation {call('interpolation')}")
        return self._add(call, Resize(self._name(call), height, width, method), input=self._image(call))

    # --- values without arrays ----------------------------------------------------------------------------------------

    def on_Activation(self, call: LayerCall) -> Result:
        return self._with_activation(call, call.input)

    def on_Softmax(self, call: LayerCall) -> Result:
        if call("axis", -1) not in (-1, len(call.input.shape)):
            raise call.refused(f"axis={call('axis')}")
        return self._activated(call, call.input, "softmax")

    def on_ReLU(self, call: LayerCall) -> Value:
        limits = call("max_value"), call("negative_slope", 0.0), call("threshold", 0.0)
        if limits[2] or limits[0] not in (None, 6) or (limits[0] and limits[1]):
            raise call.refused(f"max_value={limits[0]}, negative_slope={limits[1]}, threshold={limits[2]}")
        return self._add(call, ReLU6() if limits[0] else LeakyReLU(slope=limits[1]) if limits[1] else ReLU())

    def on_LeakyReLU(self, call: LayerCall) -> Value:
        return self._add(call, LeakyReLU(slope=call("negative_slope", 0.3)))

    def on_ELU(self, call: LayerCall) -> Value:
        return self._add(call, ELU(alpha=call("alpha", 1.0)))

    def on_Dropout(self, call: LayerCall) -> Value:
        rate, shape = call("rate", 0.5), call("noise_shape")
        if not rate:
            return call.input
        if shape is None:
            return self._add(call, Dropout(rate=rate))
        if any(each != 1 for each in shape[1:]):
            raise call.refused(f"noise_shape={tuple(shape)}")
        return self._add(call, StochasticDepth(rate=rate))

    def on_Rescaling(self, call: LayerCall) -> Value:
        scale, offset = (_numbers(call(name, default)) for name, default in (("scale", 1.0), ("offset", 0.0)))
        if scale.size > 1 or offset.size > 1:  # of each channel
            scale, offset = np.broadcast_arrays(scale, offset)
            mean, std = -offset / scale, 1 / scale
            return self.builder.normalized(call.input, call.where, call.output, mean=mean, std=std)
        layer = Scale(factor=float(scale[0]))
        if not offset[0]:
            return self._add(call, layer)
        value = self.builder.layer(call.input, layer, where=call.where)  # no node of the model has its output
        return self.builder.normalized(value, call.where, call.output, mean=-offset)

    def _operand(self, call: LayerCall) -> Any:
        """What a tensor is added to or multiplied with, if that is no tensor."""
        (given,) = (each for each in call.node["args"] if not (isinstance(each, dict) and "tensor" in each))
        return given

    def _constant(self, call: LayerCall) -> Array | None:
        """What a tensor is added to or multiplied with, one number or one by channel; None for several tensors."""
        if len(call.inputs) > 1 or call.node["layer"]:
            return None
        given = self._operand(call)
        found = None if isinstance(given, dict) else self.builder.by_channel(call.input, np.asarray(given, np.float64))
        if found is None:
            raise call.refused("its arguments are neither tensors nor constants by channel")
        return found

    def on_Erf(self, call: LayerCall) -> Part:
        if gate := erf_of(self.builder, call.input):
            return gate
        raise call.refused("it is no part of a GELU")

    def on_Einsum(self, call: LayerCall) -> Value:
        """The product of rows and columns with matrices, which `port --to keras` writes for a resize."""
        matrices = [np.array(each, np.float64) for each in call.node["args"] if isinstance(each, list)]
        if call("subscripts") != "nhwc,ih,jw->nijc" or len(matrices) != 2 or len(call.inputs) != 1:
            raise call.refused(f"{call('subscripts')}")
        value = self._image(call)
        if [each.shape[1:] for each in matrices] != [(size,) for size in value.of[1:]]:
            raise call.refused(f"{call('subscripts')} of {times(value.shape)}")
        layer = interpolation(self._name(call), value.of, matrices[0], matrices[1], tolerance=1e-6)  # of float32
        if layer is None:
            raise call.refused("its matrices interpolate in no way of the spec")
        return self._add(call, layer, input=value)

    def on_Square(self, call: LayerCall) -> Part:
        return Response(call.input)

    def _of_windows(self, call: LayerCall) -> Result:
        """A part of the maximum over dilated windows."""
        operands = [self.values[each["tensor"]] for each in _tensors(call.node["args"])]
        result: Result | None = None
        match call.kind, operands:
            case "Greater", [one, other]:
                result = larger(one, other)
            case "Where", [condition, one, other]:
                result = chosen(condition, one, other)
        if result is None:
            raise call.refused("it is no part of a maximum over windows")
        return result

    def _end_maxima(self, names: Iterable[str]) -> None:
        """Have the maxima of these names end: what takes them takes the output of a layer."""
        for name in names:
            maximum = self.values[name]
            if not isinstance(maximum, Maximum):
                continue
            whole = self.builder.whole(maximum.slices[0].source, last=self.last)
            layer, where = pool(maximum, whole), f"operation {name}"
            if layer is None:
                raise refused("Where", where, "a maximum of values that are no windows")
            self.values[name] = self.builder.layer(whole, layer, where=where, node=name)

    def _of_part(self, call: LayerCall, part: Part | Larger | Maximum) -> Result:
        """An operation on a part of GELU or of local response normalization."""
        if isinstance(part, (Larger, Maximum)):
            raise call.refused("it takes a part of a maximum over windows")
        first = call.node["args"][0]
        divides = isinstance(first, dict) and "tensor" in first and self.values[first["tensor"]] is not part
        result = after(self.builder, part, call.kind, call.others, call.inputs, part_divides=divides)
        if result is None:
            raise call.refused("it is no part of GELU or of local response normalization")
        return self._add(call, result.layer, input=result.of) if isinstance(result, Whole) else result

    def _variable(self, call: LayerCall) -> tuple[str, Array] | None:
        """The variable of a user's layer that a tensor is added to or multiplied with: the layer's name and the array.

        None where there is no variable. Raises BadInput if it has not one value for each channel.
        """
        if len(call.inputs) > 1 or call.node["layer"]:
            return None
        given = self._operand(call)
        if not isinstance(given, dict) or "variable" not in given:
            return None
        owner, _, role = given["variable"].rpartition("/")
        array = np.asarray(self.arrays[given["variable"]])
        values = self.builder.by_channel(call.input, array)
        if values is None or len(values) != call.input.shape[-1 if self.last else 0]:
            raise call.refused(
                f"the variable {role} of {owner} is {times(array.shape)}, not one value for each channel"
            )
        name = _clean(owner)
        return (name if name not in self.builder.names else f"{name}.{role}"), values

    def on_Add(self, call: LayerCall) -> Value:
        if variable := self._variable(call):
            name, values = variable
            (taken,) = _tensors(call.node["args"])
            for role in ("bias", "beta") if self.uses[taken["tensor"]] == 1 else ():
                if done := self.builder.absorbed(call.input, role, "", values, call.output):
                    return done
            raise call.refused(f"the summand of {name} belongs to no layer; only after a factor or a layer without one")
        constant = self._constant(call)
        if constant is None:
            return self.builder.join(Add, call.inputs, call.where, call.output)
        return self.builder.normalized(call.input, call.where, call.output, mean=-constant)

    def on_Multiply(self, call: LayerCall) -> Value:
        if variable := self._variable(call):
            name, values = variable
            return self._weighted(call, call.input, Affine(name, beta=False), {"gamma": values}, call.output)
        constant = self._constant(call)
        if constant is None:
            return self.builder.join(Multiply, call.inputs, call.where, call.output)
        return self._scaled(call, constant)

    def on_Subtract(self, call: LayerCall) -> Value:
        constant = self._constant(call)
        if constant is None:
            one, other = call.inputs
            return self.builder.difference(one, other, call.where, call.output)
        if isinstance(call.node["args"][0], dict):
            return self.builder.normalized(call.input, call.where, call.output, mean=constant)
        return self.builder.subtracted_from(constant, call.input, call.where, call.output)

    def on_TrueDivide(self, call: LayerCall) -> Value:
        constant = self._constant(call)
        if constant is None or not isinstance(call.node["args"][0], dict):
            raise call.refused("a quotient by a tensor")
        return self._scaled(call, 1 / constant)

    on_Divide = on_TrueDivide

    def _scaled(self, call: LayerCall, factors: Array) -> Value:
        if len(factors) == 1:
            return self._add(call, Scale(factor=float(factors[0])))
        if min(factors) <= 0:
            raise call.refused("constants that are not positive")
        return self.builder.normalized(call.input, call.where, call.output, std=1 / factors)

    def on_Average(self, call: LayerCall) -> Value:
        total = self.builder.join(Add, call.inputs, call.where)
        return self._add(call, Scale(factor=1 / len(call.inputs)), input=total)

    def on_Concatenate(self, call: LayerCall) -> Value:
        axis = self._axis(call, int(call("axis", -1)))
        return self.builder.concatenated(call.inputs, axis, call.where, call.output)

    # --- values in another order --------------------------------------------------------------------------------------

    def on_GetItem(self, call: LayerCall) -> Value:
        """`x[..., 2:6]`"""
        given = call.node["args"][1]
        keys = [_key(each) for each in (given if isinstance(given, list) else [given])]
        if any(isinstance(each, dict) for each in keys):
            raise call.refused("an index that is a tensor")
        if keys[0] == slice(None):
            keys = keys[1:]
        elif keys[0] is not Ellipsis or len(keys) > len(call.input.shape) + 1:
            raise call.refused("it takes some of the images")
        return self._part(call, lambda index: index[tuple(keys)])

    def on_Split(self, call: LayerCall) -> list[Value]:
        axis, parts = self._axis(call, int(call("axis", 0))), call("indices_or_sections")
        whole = self.builder.settled(call.input, call.where)
        return [replace(whole, places=part, last=False) for part in np.split(whole.index, parts, axis)]

    def on_Take(self, call: LayerCall) -> Value:
        chosen = [*call.node["args"], *call.node["kwargs"].values()][1]
        if call("axis") is None or isinstance(chosen, dict):
            raise call.refused("no axis" if call("axis") is None else "an index that is a tensor")
        axis = self._axis(call, int(call("axis")))
        return self._part(call, lambda index: index.take(chosen, axis))

    def _part(self, call: LayerCall, change: Callable[[Array], Array]) -> Value:
        return self.builder.settled(call.input, call.where).moved(change)

    def on_Flatten(self, call: LayerCall) -> Value:
        return call.input.moved(np.ravel)

    def on_Reshape(self, call: LayerCall) -> Value:
        """The layer, or `keras.ops.reshape`, whose shape has the batch."""
        target = tuple(call("target_shape", call("newshape", (-1,))[1:]))
        return call.input.moved(lambda index: index.reshape(target))

    def on_Permute(self, call: LayerCall) -> Value:
        dims = [int(each) - 1 for each in call("dims")]
        return call.input.moved(lambda index: index.transpose(dims))

    def on_Transpose(self, call: LayerCall) -> Value:
        batch, *axes = call("axes") or range(len(call.input.shape) + 1)[::-1]
        if batch:
            raise call.refused("it mixes the images of a batch")
        dims = [self._axis(call, int(each)) for each in axes]
        return call.input.moved(lambda index: index.transpose(dims))

    def on_Swapaxes(self, call: LayerCall) -> Value:
        one, other = (self._axis(call, int(call(name))) for name in ("axis1", "axis2"))
        return call.input.moved(lambda index: index.swapaxes(one, other))


def _tensors(value: Any) -> Iterator[Mapping[str, str]]:
    """The tensors among the arguments of a call."""
    match value:
        case {"tensor": _}:
            yield value
        case list():
            for each in value:
                yield from _tensors(each)


def _key(value: Any) -> Any:
    """A part of an index, as Python has it."""
    match value:
        case {"slice": bounds}:
            return slice(*bounds) if all(isinstance(each, int) for each in bounds if each is not None) else value
        case {"other": "Ellipsis"}:
            return Ellipsis
    return value


def _tuple(value: Any) -> Any:
    """Lists of JSON as tuples."""
    return tuple(map(_tuple, value)) if isinstance(value, list) else value


def _snake(name: str) -> str:
    """What Keras calls a layer of a class: conv2d, max_pooling2d, re_lu."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)).lower()


def _clean(name: str) -> str:
    """A name as one of the spec's. A hyphen becomes a dot, as the writer has hyphens for the dots of the spec."""
    return re.sub(r"[^\w.]+", "_", name.replace("-", ".")).strip("._")

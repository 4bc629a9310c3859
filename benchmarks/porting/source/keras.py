"""Source for Keras: a functional model with functions for repeated blocks, or a sequential one; channels last."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from benchmarks.porting.source.blocks import DROP, SHORTCUT, SKIP, Block, Blocks, Key, Place, snake, title
from benchmarks.porting.source.code import (
    WIDTH,
    Call,
    Expression,
    Symbol,
    as_expression,
    call,
    listed,
    literal,
    statement,
)
from benchmarks.porting.source.flax import channels_last
from benchmarks.porting.source.forms import RESIZE_WEIGHTS, described, dilated, repetitions
from benchmarks.porting.source.modules import About, Values, definition
from benchmarks.porting.source.names import PYTHON, VARIABLES, bound, free
from benchmarks.porting.source.program import (
    Fork,
    Group,
    Item,
    Op,
    SourceTarget,
    collapsed,
    identifier,
    lacking,
    program,
)
from benchmarks.porting.source.pytorch import fraction, maps_text, number, slice_text
from benchmarks.porting.source.training import NAMES, training_source
from benchmarks.training.recipes import Recipe
from frameworks.spec import (
    Add,
    Auxiliary,
    AvgPool,
    Concat,
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
    Layer,
    MaxPool,
    Multiply,
    Network,
    Node,
    Residual,
    Tanh,
    pair,
    sides,
)
from frameworks.spec.windowed import extent, gaps, rounded_up

# Keras takes the product of a number and a symbolic tensor for a sparse one, with which JAX and TensorFlow cannot trace
# a layer. Each layer here therefore has compute_output_shape, so that building a model traces none.
HELPERS = {
    "Affine": '''
class Affine(layers.Layer):
    """A trained factor for each channel, and with `shift` a trained summand."""

    def __init__(self, shift=True, **options):
        super().__init__(**options)
        self.shift = shift

    def build(self, shape):
        self.gamma = self.add_weight(shape=shape[-1:], initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=shape[-1:], initializer="zeros", name="beta") if self.shift else None

    def compute_output_shape(self, shape):
        return shape

    def call(self, x):
        return self.gamma * x if self.beta is None else self.gamma * x + self.beta
''',
    "local_response_norm": '''
def local_response_norm(x, size, alpha=1e-4, beta=0.75, k=1.0):
    """alpha multiplies the mean of the squares in the window, as in PyTorch; in TensorFlow it multiplies the sum."""
    channels = np.arange(x.shape[-1])
    distance = channels[:, None] - channels
    window = (distance >= -(size // 2)) & (distance <= (size - 1) // 2)
    return x / (k + alpha / size * ops.matmul(ops.square(x), ops.cast(window, x.dtype))) ** beta
''',
    "gelu": '''
def gelu(x):
    """In full precision; TensorFlow's has constants in float32."""
    return 0.5 * x * (1 + ops.erf(x / 2**0.5))
''',
    "gelu_tanh": '''
def gelu_tanh(x):
    """In full precision; TensorFlow's has constants in float32."""
    return 0.5 * x * (1 + ops.tanh((x + 0.044715 * x**3) * (2 / np.pi) ** 0.5))
''',
    "leaky_relu": '''
def leaky_relu(x, slope):
    """In full precision; TensorFlow's has its slope in float32."""
    return ops.where(x > 0, x, slope * x)
''',
    "hard_sigmoid": """
def hard_sigmoid(x, slope):
    return ops.clip(slope * x + 0.5, 0, 1)
""",
    "insert_zeros": '''
def insert_zeros(x, begin, count):
    """Channels of zeros before the channel `begin`."""
    padding = ((0, 0),) * (len(x.shape) - 1)
    return ops.concatenate([ops.pad(x[..., :begin], (*padding, (0, count))), x[..., begin:]], axis=-1)
''',
    "DilatedMaxPooling2D": '''
class DilatedMaxPooling2D(layers.Layer):
    """The maximum over dilated windows, which Keras lacks; of equal values, the first takes the gradient."""

    def __init__(self, pool_size, strides=1, dilation_rate=1, **options):
        super().__init__(**options)
        self.window = [np.broadcast_to(each, 2).tolist() for each in (pool_size, strides, dilation_rate)]

    def compute_output_shape(self, shape):
        ways = zip(shape[1:3], *self.window)
        sizes = [-((count * gap - gap - size) // stride) for size, count, stride, gap in ways]
        return (shape[0], *sizes, shape[3])

    def call(self, x):
        rows, columns = (
            [slice(place * gap, size - (count - 1 - place) * gap, stride) for place in range(count)]
            for size, count, stride, gap in zip(x.shape[1:3], *self.window)
        )
        first, *others = (x[:, row, column] for row in rows for column in columns)
        for other in others:
            first = ops.where(other > first, other, first)
        return first
''',
    "Resize": RESIZE_WEIGHTS
    + '''

class Resize(layers.Layer):
    """A product with a matrix for each axis; TensorFlow's operator computes in float32."""

    def __init__(self, size, method, positions, **options):
        super().__init__(**options)
        self.size, self.method, self.positions = size, method, positions

    def compute_output_shape(self, shape):
        return (shape[0], *self.size, shape[3])

    def call(self, x):
        rows, columns = (
            ops.cast(resize_weights(before, to, self.method, self.positions), x.dtype)
            for before, to in zip(x.shape[1:3], self.size)
        )
        return ops.einsum("nhwc,ih,jw->nijc", x, rows, columns)
''',
    "channel_shuffle": """
def channel_shuffle(x, groups):
    height, width, channels = x.shape[1:]
    grouped = ops.reshape(x, (-1, height, width, groups, channels // groups))
    return ops.reshape(ops.swapaxes(grouped, 3, 4), (-1, height, width, channels))
""",
}

LOADER = '''
def load_weights(model, file):
    """Copy the arrays of an .npz file, whose names are `layer/variable`."""
    with np.load(file) as arrays:
        for layer in model.layers:
            for variable in layer.weights:
                variable.assign(arrays[f"{layer.name}/{variable.name}"].reshape(variable.shape))
'''

STANDARD = ("import sys", "from pathlib import Path")  # what a training imports
IMPORTS = ("import keras", "import numpy as np", "from keras import layers, ops")
# The names that no function, argument or variable of a network has.
RESERVED = bound(*STANDARD, *IMPORTS, *HELPERS.values(), LOADER) | PYTHON | VARIABLES | NAMES

ACTIVATIONS = {
    **{"ReLU": "relu", "ReLU6": "relu6", "SELU": "selu", "Sigmoid": "sigmoid", "SiLU": "silu", "Tanh": "tanh"},
    **{"HardSwish": "hard_silu", "HardSigmoid": "hard_sigmoid", "Softplus": "softplus", "Mish": "mish"},
    "ELU": "elu",
}
ROLES = {
    **{"weight": "kernel", "bias": "bias", "gamma": "gamma", "beta": "beta"},
    **{"running_mean": "moving_mean", "running_var": "moving_variance", "slope": "alpha"},
}
ROUNDED = "TensorFlow rounds a number of Python to float32"

Made: TypeAlias = "Expression | Callable[[str], Expression]"  # a layer, or an operation of its input


@dataclass
class Body:
    """The lines of a function or of the model, and what they use."""

    texts: Mapping[Key, str]
    prefix: str | None  # of the layers' names in a function, None in the model
    indent: int = 4
    lines: list[str] = field(default_factory=list)
    variables: set[str] = field(default_factory=lambda: {"x", "name", *RESERVED})
    heads: list[str] = field(default_factory=list)  # the variables of auxiliary classifiers

    def add(self, target: str, made: Made, x: str) -> None:
        """Append the call of a layer on x, or an operation of x."""
        if callable(made):
            self.lines += statement(f"{target} = ", made(x), self.indent)
            return
        whole = f"{' ' * self.indent}{target} = {made}("
        if len(whole) <= WIDTH < len(f"{whole}{x})"):
            comment = [f"{' ' * self.indent}# {made.comment}"] if isinstance(made, Call) and made.comment else []
            self.lines += [*comment, whole, f"{' ' * self.indent}    {x}", f"{' ' * self.indent})"]
        else:
            self.lines += statement(f"{target} = ", made, self.indent, f"({x})")

    def plain(self, text: str) -> None:
        self.lines.append(" " * self.indent + text)

    def fresh(self, stem: str) -> str:
        name, count = stem, 2
        while name in self.variables:
            name, count = f"{stem}{count}", count + 1
        self.variables.add(name)
        return name


class KerasWriter(SourceTarget):
    title = "keras"
    channels_last = True
    unused = frozenset(("inputs",))

    def __init__(self) -> None:
        self.entry = ""  # the name of the function that makes the model
        self.used: set[str] = set()
        self.noted: set[str] = set()
        self.blocks: Blocks

    def described(self, layer: Layer, node: Node) -> tuple[tuple[Any, ...], dict[str, Any]]:
        form, values = described(self, layer, node)
        if isinstance(layer, (Conv, MaxPool, AvgPool)):
            if isinstance(layer, AvgPool) and layer.ceil and form[0]:
                if layer.padding and layer.count_padding:
                    raise lacking(self, node, layer, "it counts some of the places outside")
                layer = replace(rounded_up(layer, node.input), ceil=False, count_padding=False)
                form = (False, False)
            whole = layer.resolved(node.input) if isinstance(layer, MaxPool) else layer
            values["padding"] = _padding(sides(whole.padding))  # type: ignore[attr-defined]
            values["_same"] = is_same(whole, node) and not dilated(layer)
            form = (*form, _depthwise(layer, node), dilated(layer))
            if isinstance(layer, AvgPool):
                form = (*form, layer.count_padding and values["padding"] != 0)
                if values["padding"] != 0 and not layer.count_padding and not values["_same"]:
                    raise lacking(self, node, layer, "Keras has no such padding that does not count")
            if _depthwise(layer, node):
                values.pop("outputs")
                values["multiplier"] = values.pop("groups") and layer.channels // node.input[0]  # type: ignore[union-attr]
        if layer.kind == "BatchNorm":
            values["momentum"] = round(1 - values["momentum"], 12)
        if repeats := repetitions(layer, node):
            form, values = ("repeated",), {"repetitions": collapsed(repeats)}
        values.pop("channels", None)
        return form, values

    # --- the file -----------------------------------------------------------------------------------------------------

    def source(self, network: Network, about: About, recipe: Recipe | None = None) -> str:
        """The file; with a recipe, it has the training loop. Raises `Lacking` and BadInput."""
        root = program(network, self)
        self.entry = free(identifier(network.name, "Network"), RESERVED)
        self.blocks = Blocks(
            root,
            lambda group: any(isinstance(item, Fork) for item in group.items),
            title(network.name),
            RESERVED | {self.entry},
        )
        self.root = self.blocks.root
        channels, *size = network.input
        inputs = call("keras.Input", (*size, channels))
        head = [f"def {self.entry}():"]
        joins = any(isinstance(item, Fork) for item in self.root.items)
        if not self.blocks.blocks and not joins and (made := self.sequential()):
            rows = [("", inputs), *(("", each) for each in made)]
            model = [*head, *statement("return ", call_of_list("keras.Sequential", rows, f'name="{network.name}"'), 4)]
            parts: list[list[str]] = []
        else:
            parts = [self.function(block) for block in self.blocks.blocks]
            body = Body({}, None)
            body.lines += statement("inputs = ", inputs, 4)
            body.variables |= {"inputs", self.entry, *self.names_of_functions()}
            result = self.run(self.root.items, (), "inputs", "x", body)
            outputs = f"[{', '.join([result, *body.heads])}]" if body.heads else result
            model = [*head, *body.lines, f'    return keras.Model(inputs, {outputs}, name="{network.name}")']
        body_text = "\n\n\n".join(
            part.strip("\n")
            for part in [
                *(source for helper, source in HELPERS.items() if helper in self.used),
                *("\n".join(lines) for lines in [*parts, model]),
                LOADER,
                *([training_source(self.title, self.entry, network, recipe)] if recipe is not None else []),
            ]
        )
        imported = [each for each in ("layers", "ops") if f"{each}." in body_text]
        standard = [] if recipe is None else [*STANDARD, ""]
        imports = [*standard, *IMPORTS[:2], f"from keras import {', '.join(imported)}"]
        docstring = "\n".join([f'"""{about.title}', "", *about.lines, '"""'])
        return f"{docstring}\n\n{chr(10).join(imports)}\n\n\n{body_text}\n"

    def sequential(self) -> list[Expression]:
        """The layers of a network without joins; none where an operation is no layer, for which the model must be
        functional."""
        body = Body({}, None)
        placed = self.rows(list(self.flat(self.root, ())))
        found = [made for op, place, activation in placed for made in self.made(op, place, activation, body)]
        layers = [made for made in found if not callable(made)]
        if len(layers) == len(found):
            return layers
        self.noted, self.used = set(), set()
        return []

    def flat(self, group: Group, at: Place) -> Iterator[tuple[Op, Place]]:
        for index, item in enumerate(group.items):
            if isinstance(item, Group):
                yield from self.flat(item, (*at, index))
            elif isinstance(item, Op):
                yield item, (*at, index)

    def function(self, block: Block) -> list[str]:
        body = Body(block.texts, block.template.path)
        body.variables |= self.names_of_functions()
        result = self.run(block.template.items, (), "x", "x", body)
        arguments = [a.name if a.default is None else f"{a.name}={literal(a.default)}" for a in block.arguments]
        required = [text for text in arguments if "=" not in text]
        named = self.has_names(block.template)
        head = ", ".join(["x", *required, *(["name"] if named else []), *(text for text in arguments if "=" in text)])
        return [*definition(f"def {snake(block.name)}({head}):", 0), *body.lines, f"    return {result}"]

    def names_of_functions(self) -> set[str]:
        return {snake(block.name) for block in self.blocks.blocks}

    def has_names(self, group: Group) -> bool:
        return any(item.node.parameters for item, _ in self.all_ops(group))

    def all_ops(self, item: Item) -> Iterator[tuple[Op, str]]:
        """The layers inside and their names in the model."""
        if isinstance(item, Op):
            yield item, keras_name(item.path)
        for inner in item.items if isinstance(item, Group) else sum(item.chains, ()) if isinstance(item, Fork) else ():
            yield from self.all_ops(inner)

    # --- statements ---------------------------------------------------------------------------------------------------

    def rows(self, items: Sequence[tuple[Any, Place]]) -> Iterator[tuple[Any, Place, str]]:
        """The items of a chain; an activation behind a convolution or dense layer is an argument of that."""
        index = 0
        while index < len(items):
            item, place = items[index]
            following = items[index + 1][0] if index + 1 < len(items) else None
            activation = ""
            if isinstance(item, Op) and isinstance(item.layer, (Conv, Dense)) and isinstance(following, Op):
                activation = "" if following.name else activation_word(following)
            if isinstance(item, Op) and isinstance(item.layer, GlobalAvgPool):
                flattens = isinstance(following, Op) and isinstance(following.layer, Flatten)
                activation = "flat" if flattens else ""
            yield item, place, activation
            index += 2 if activation else 1

    def run(self, items: Sequence[Item], at: Place, x: str, target: str, body: Body) -> str:
        """Append the statements of a chain; returns the variable of its result."""
        placed = [(item, (*at, index)) for index, item in enumerate(items)]
        for item, place, activation in self.rows(placed):
            if isinstance(item, Group):
                block = self.blocks.of(item)
                if block is None:
                    x = self.run(item.items, place, x, target, body)
                    continue
                x = self.block_call(block, item, place, x, target, body)
            elif isinstance(item, Fork):
                x = self.fork(item, place, x, target, body)
            else:
                for made in self.made(item, place, activation, body):
                    body.add(target, made, x)
                    x = target
        return x

    def block_call(self, block: Block, group: Group, place: Place, x: str, target: str, body: Body) -> str:
        given: list[tuple[str, Expression]] = [("", x)]
        own = block.values(group)
        optional: list[tuple[str, Expression]] = []
        for argument in block.arguments:
            text = body.texts.get((place, argument.name))
            value = own[argument.name] if text is None else Symbol(text)
            if argument.default is None:
                given.append(("", as_expression(value)))
            elif text is not None or value != argument.default:
                optional.append((f"{argument.name}=", as_expression(value)))
        if self.has_names(block.template):
            given.append(("name=" if optional or block.arguments else "", self.name(group.path, body)))
        body.lines += statement(f"{target} = ", Call(snake(block.name), (*given, *optional)), body.indent)
        return target

    def name(self, path: str, body: Body) -> str:
        """A layer's name: the path in the network, which in a function begins with the block's."""
        if body.prefix is None:
            return f'"{keras_name(path)}"'
        return f'f"{{name}}-{keras_name(path[len(body.prefix) + 1 :])}"'

    def fork(self, fork: Fork, place: Place, x: str, target: str, body: Body) -> str:
        match fork.layer:
            case Residual():
                return self.residual(fork, place, x, target, body)
            case Auxiliary() if body.prefix is None and len(place) == 1:
                name = body.fresh(identifier(fork.node.path, "Block"))
                body.heads.append(self.run(fork.chains[0], (*place, 0), x, name, body))
                return x
            case Concat() | Add() | Multiply():
                kind = {"Concat": "Concatenate", "Add": "Add", "Multiply": "Multiply"}[fork.layer.kind]
            case _:
                raise lacking(self, fork.node, fork.layer)
        stem = {"Concat": "branch", "Add": "y", "Multiply": "gate"}[fork.layer.kind]
        several = len([chain for chain in fork.chains if chain]) > 1
        ends = []
        for index, chain in enumerate(fork.chains):
            name = body.fresh(f"{stem}{index + 1}" if several else stem) if chain else x
            ends.append(self.run(chain, (*place, index), x, name, body))
        joined = Call("", tuple(("", end) for end in ends), brackets="[]")
        body.lines += statement(f"{target} = ", Call(f"layers.{kind}()", (("", joined),)), body.indent)
        return target

    def residual(self, fork: Fork, place: Place, x: str, target: str, body: Body) -> str:
        name = body.fresh("y")
        y = self.run(fork.chains[0], (*place, 0), x, name, body)
        if fork.drop or (place, DROP) in body.texts:
            rate = body.texts.get((place, DROP)) or literal(fork.drop.values["rate"] if fork.drop else 0.0)
            body.add(name, call("layers.Dropout", Symbol(rate), noise_shape=(None, 1, 1, 1)), y)
            y = name
        if skip := body.texts.get((place, SKIP)):
            body.plain(f"{target} = layers.Add()([{x}, {y}]) if {skip} else {y}")
            return target
        if not fork.skip:
            return y
        shortcut = x
        if fork.chains[1]:
            shortcut = body.fresh("shortcut")
            if condition := body.texts.get((place, SHORTCUT)):
                body.plain(f"{shortcut} = {x}")
                body.plain(f"if {condition}:")
                body.indent += 4
                self.run(fork.chains[1], (*place, 1), x, shortcut, body)
                body.indent -= 4
            else:
                shortcut = self.run(fork.chains[1], (*place, 1), x, shortcut, body)
        body.add(target, call("layers.Add"), f"[{shortcut}, {y}]")
        return target

    # --- layers -------------------------------------------------------------------------------------------------------

    def note(self, text: str) -> str:
        if text in self.noted:
            return ""
        self.noted.add(text)
        return text

    def uses(self, helper: str) -> str:
        self.used.add(helper)
        return helper

    def made(self, op: Op, place: Place, activation: str, body: Body) -> Iterator[Made]:
        """The layers and operations that stand for one layer."""
        v = Values(op, place, body.texts)
        kind, *form = op.form
        layer = op.layer
        named: dict[str, Any] = {}
        if op.node.parameters or (op.name and body.prefix is None):
            named["name"] = Symbol(self.name(op.path, body))
        fused = f'"{activation}"' if activation and activation != "flat" else None
        if isinstance(layer, (Conv, MaxPool, AvgPool)):
            word, pads = self.padding(op, v)
            yield from self.padded(op, v, pads)
        match kind:
            case "Conv":
                same = f'"{word}"' if word else None
                options = {"strides": v.unless("stride", 1), "padding": same, "dilation_rate": v.unless("dilation", 1)}
                bias = None if form[0] else False
                if form[1]:
                    options |= {"depth_multiplier": v.unless("multiplier", 1), "activation": fused, "use_bias": bias}
                    yield call("layers.DepthwiseConv2D", v["kernel"], **options, **named)
                else:
                    groups = v.unless("groups", 1)
                    note = self.note("TensorFlow computes groups on a GPU or with XLA only") if groups else ""
                    options |= {"groups": groups, "activation": fused, "use_bias": bias}
                    yield call("layers.Conv2D", v["outputs"], v["kernel"], **options, **named, comment=note)
            case "Dense":
                options = {"activation": fused, "use_bias": None if form[0] else False}
                yield call("layers.Dense", v["outputs"], **options, **named)
            case "MaxPool" if dilated(layer):
                options = {"strides": v.unless("stride", 1), "dilation_rate": v["dilation"]}
                yield call(self.uses("DilatedMaxPooling2D"), v["kernel"], **options, **named)
            case "MaxPool" | "AvgPool":
                head = "layers.MaxPooling2D" if kind == "MaxPool" else "layers.AveragePooling2D"
                stride = None if v["stride"] == v["kernel"] else v["stride"]
                options = {"strides": stride, "padding": f'"{word}"' if word else None}
                yield call(head, v["kernel"], **options, **named)
            case "AdaptiveAvgPool":
                yield call("layers.AdaptiveAveragePooling2D", v["size"])
            case "GlobalAvgPool":
                yield call("layers.GlobalAveragePooling2D", keepdims=None if activation else True, **named)
            case "BatchNorm":
                options = {"momentum": v.unless("momentum", 0.99), "epsilon": v.unless("eps", 1e-3)}
                options |= {"center": None if form[2] else False, "scale": None if form[1] else False}
                note = self.note("Keras' defaults are momentum 0.99, the fraction that is kept, and epsilon 1e-3")
                yield call("layers.BatchNormalization", **options, **named, comment=note)
            case "LayerNorm" | "GroupNorm" | "InstanceNorm":
                options = {"epsilon": v.unless("eps", 1e-3), "center": None if form[2] else False}
                options |= {"scale": None if form[1] else False}
                note = self.note("Keras' default epsilon is 1e-3")
                if kind == "LayerNorm":
                    yield call("layers.LayerNormalization", **options, **named, comment=note)
                else:
                    groups = v["groups"] if kind == "GroupNorm" else -1
                    yield call("layers.GroupNormalization", groups, **options, **named, comment=note)
            case "Affine":
                yield call(self.uses("Affine"), shift=None if form[1] else False, **named)
            case "PReLU":
                shared = (1, 2) if len(op.node.input) == 3 else None
                yield call("layers.PReLU", shared_axes=shared, **named)
            case "LocalResponseNorm":
                options = {"alpha": v.unless("alpha", 1e-4), "beta": v.unless("beta", 0.75), "k": v.unless("k", 1.0)}
                yield lambda x: call(self.uses("local_response_norm"), x, v["size"], **options)
            case "Resize" if form == ["repeated"]:
                yield call("layers.UpSampling2D", v["repetitions"], **named)
            case "Resize":
                method, positions = (f'"{each}"' for each in form)
                yield call(self.uses("Resize"), v["size"], method, positions, **named)
            case "Dropout":
                yield call("layers.Dropout", v["rate"])
            case "StochasticDepth":
                yield call("layers.Dropout", v["rate"], noise_shape=(None, 1, 1, 1))
            case "LeakyReLU":
                if isinstance(v["slope"], Symbol) or float(np.float32(v["slope"])) != v["slope"]:
                    yield lambda x: call(self.uses("leaky_relu"), x, v["slope"])
                else:
                    yield call(
                        "layers.LeakyReLU", negative_slope=v["slope"], comment=self.note("Keras' default is 0.3")
                    )
            case "Flatten":
                if not form[0]:
                    yield call("layers.Flatten")
            case "Scale":
                yield self.rescaling(v["factor"])
            case "Normalize":
                mean, std = np.broadcast_arrays(v["mean"], v["std"])
                scale, offset = [list(map(float, values)) for values in (1 / std, -mean / std)]
                rows = (Symbol(f"np.array({values})") for values in (scale, offset))
                yield call("layers.Rescaling", *rows, comment=self.note(ROUNDED))
            case "Pad":
                yield from self.padded(op, v, sides(form[0]), form[1])
            case "Tanh" if isinstance(layer, Tanh) and (layer.slope, layer.amplitude) != (1, 1):
                if layer.slope != 1:
                    yield self.rescaling(layer.slope)
                yield call("layers.Activation", '"tanh"')
                if layer.amplitude != 1:
                    yield self.rescaling(layer.amplitude)
            case "Select":
                if op.form[1] != "slice" or slice_text(v) != ":":
                    yield lambda x: self.selected(op, v, x)
            case "ReLU":
                yield call("layers.ReLU")
            case "HardSigmoid" if v["slope"] != 1 / 6:
                yield lambda x: call(self.uses("hard_sigmoid"), x, v["slope"])
            case "GELU":
                yield lambda x: call(self.uses("gelu_tanh" if form[0] else "gelu"), x)
            case "ELU" if v["alpha"] != 1:
                yield call("layers.ELU", v["alpha"])
            case _:
                word = activation_word(op)
                if not word:
                    raise lacking(self, op.node, layer)
                yield call("layers.Activation", f'"{word}"')

    def rescaling(self, factor: float) -> Call:
        if float(np.float32(factor)) == factor:
            return call("layers.Rescaling", factor)
        return call("layers.Rescaling", Symbol(f"np.float64({quotient(factor)})"), comment=self.note(ROUNDED))

    def padding(self, op: Op, v: Values) -> tuple[str, Any]:
        """Keras' word for a layer's padding, and the padding that a layer before it adds, or None."""
        if not isinstance(v["padding"], Symbol) and v["padding"] == 0:
            return "", None
        counted = op.layer.kind == "AvgPool" and op.form[-1]
        if v["_same"] is True and not counted:
            return "same", None
        return "", v["padding"]

    def padded(self, op: Op, v: Values, pads: Any, value: float | None = None) -> Iterator[Made]:
        if not pads:
            return
        value = (float("-inf") if op.layer.kind == "MaxPool" else 0.0) if value is None else value
        text = collapsed_sides(pads)
        if value == 0:
            yield call("layers.ZeroPadding2D", text)
            return
        if isinstance(text, Symbol):
            raise lacking(self, op.node, op.layer, "its padding differs in a repeated block")
        around = sides(pads)
        yield lambda x: call("ops.pad", x, ((0, 0), *around, (0, 0)), constant_values=Symbol(_infinite(value)))

    def selected(self, op: Op, v: Values, x: str) -> Expression:
        _, form, flat, *_ = op.form
        match form:
            case "slice":
                return f"{x}[..., {slice_text(v)}]"
            case "shuffle":
                return call(self.uses("channel_shuffle"), x, v["groups"])
            case "zeros":
                return self.with_zeros(x, flat, 0, v["count"])
            case "pad":
                part = x if slice_text(v) == ":" else f"{x}[..., {slice_text(v)}]"
                return self.with_zeros(part, flat, v["before"], v["after"])
            case "list":
                return f"ops.take({x}, {maps_text(v)}, axis=-1)"
            case "places":
                return f"ops.take({self.with_zeros(x, flat, 0, 1)}, {maps_text(v)}, axis=-1)"
            case "gap":
                return call(self.uses("insert_zeros"), x, v["begin"], v["count"])
        raise lacking(self, op.node, op.layer)

    @staticmethod
    def with_zeros(x: str, flat: bool, before: Any, after: Any) -> str:
        """With channels of zeros."""
        return f"ops.pad({x}, ({'(0, 0), ' * (1 if flat else 3)}({before}, {after})))"

    # --- arrays -------------------------------------------------------------------------------------------------------

    def constants(self) -> list[tuple[str, Any]]:
        return []

    def arrays(self) -> Iterator[tuple[str, str, Callable[[Any], Any]]]:
        for op, name in self.all_ops(self.root):
            for parameter in op.node.parameters:
                change = depthwise(op.node) if op.form[0] == "Conv" and op.form[2] else channels_last
                yield parameter.name, f"{name}/{ROLES[parameter.role]}", change


def forks(group: Group) -> bool:
    return any(isinstance(item, Fork) for item in group.items)


def call_of_list(head: str, rows: Sequence[tuple[str, Expression]], ending: str) -> Call:
    inner = Call("", tuple(rows), brackets="[]", exploded=True)
    return listed(head, [("", inner), ("", ending)], most=1)


def keras_name(path: str) -> str:
    """A path without what TensorFlow does not take in a name, and with hyphens for the dots that PyTorch refuses."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", path.replace("-", "_").replace(".", "-"))


def is_same(layer: Any, node: Node) -> bool:
    """Whether "same" is a layer's padding for its input."""
    spans = [extent(*way) for way in zip(pair(layer.kernel), pair(gaps(layer)))]
    ways = list(zip(node.input[1:], node.output[1:], spans, pair(layer.stride), sides(layer.padding)))
    used = [(before, max(0, (to - 1) * step + span - size - before)) for size, to, span, step, (before, _) in ways]
    same = [max(0, (-(-size // step) - 1) * step + span - size) for size, _, span, step, _ in ways]
    return used == [(total // 2, total - total // 2) for total in same]


def activation_word(op: Op) -> str:
    """Keras' word for an activation with Keras' defaults, or ""."""
    usual: dict[str, Any] = (
        {"slope": 1 / 6, "alpha": 1.0} if op.layer.kind != "Tanh" else {"amplitude": 1.0, "slope": 1.0}
    )
    if any(usual[name] != value for name, value in op.values.items() if name in usual):
        return ""
    return ACTIVATIONS.get(op.layer.kind, "")


def depthwise(node: Node) -> Callable[[Any], Any]:
    """Of a kernel with one input for each map: height, width, channels, maps of each channel."""

    def change(array: Any) -> Any:
        if array.ndim != 4:
            return array
        channels = node.input[0]
        return array.reshape(channels, -1, *array.shape[2:]).transpose(2, 3, 0, 1)

    return change


def quotient(factor: float) -> str:
    divisor = round(1 / factor) if factor else 0
    return f"1 / {divisor}" if divisor > 1 and 1 / divisor == factor else fraction(factor)


def collapsed_sides(padding: Any) -> Any:
    return padding if isinstance(padding, (Symbol, int)) else _padding(sides(padding))


def _padding(around: Any) -> Any:
    """A padding as ZeroPadding2D takes it: a number, (vertical, horizontal), or the sides."""
    (top, bottom), (left, right) = around
    if top == bottom and left == right:
        return top if top == left else (top, left)
    return around


def _depthwise(layer: Layer, node: Node) -> bool:
    equal = isinstance(layer, Conv) and pair(layer.stride)[0] == pair(layer.stride)[1]
    return isinstance(layer, Conv) and layer.groups == node.input[0] > 1 and equal


def _infinite(value: float) -> str:
    return "-np.inf" if value == float("-inf") else number(value)

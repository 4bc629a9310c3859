"""Imports a person's own network: a PyTorch module, an ONNX, Keras or Gluon model becomes a network.

The framework's interpreter runs a script of `frameworks/network_files`, which writes a graph and arrays; a file of ONNX
is read here. The graph becomes layers (`torch_graph`, `onnx_graph`, `structure`). After that both compute the same
images: `compared`.
"""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite, prod
from pathlib import Path
from typing import Any

import numpy as np

import frameworks
from benchmarks.porting import gluon_graph, keras_graph, onnx_file, onnx_graph, torch_graph
from benchmarks.porting.graphs import INPUT, Graph
from benchmarks.porting.scripts import run_script
from benchmarks.porting.structure import Structure
from benchmarks.porting.weight_import import PIXELS, not_finite
from benchmarks.runtime.environments import FrameworkRequest, environment
from benchmarks.runtime.errors import BadInput, ShapeMissing
from benchmarks.runtime.temporary_folders import TemporaryFolder
from benchmarks.training.checkpoints import read_npz
from benchmarks.verification.conditioning import ChangedReference
from frameworks.adapter import Setting
from frameworks.arrays import Array, Weights
from frameworks.numpy_reference import Reference
from frameworks.spec import (
    Auxiliary,
    Dropout,
    HardSigmoid,
    Layer,
    Network,
    Node,
    ReLU6,
    Shape,
    Sigmoid,
    SpecError,
    Tanh,
    times,
)
from frameworks.training import Training
from frameworks.weight_files.state_dict_names import canonical, state_dict_name

SCRIPT = Path(frameworks.__file__).parent / "network_files" / "torch_module.py"
TORCH, KERAS, GLUON = "torch", "keras", "mxnet"
# What a file holds, by its ending; the first that fits.
ENDINGS = {".onnx": "onnx", ".keras": KERAS, "-symbol.json": "gluon", ".json": KERAS}
CONFIG = "a config has no arrays: Keras has drawn them"
KERAS_SCRIPT = SCRIPT.with_name("keras_model.py")
GLUON_SCRIPT = SCRIPT.with_name("gluon_symbol.py")
IMAGES = 2  # that the original and the spec compute after an import
# The largest difference of float64 values that is rounding, relative to the largest value of the layer.
ROUNDING = 1e-10
SINGLE = 1e-6  # where a framework holds constants or values in float32 while it computes in float64
MOST_NAMES = 6  # of arrays in one note
# Logits of two images that differ by less show no difference between networks: weights as they are drawn may make the
# values of deep layers smaller than the last bias. Then all layers are compared.
VISIBLE = 1e-3
SATURATING = (Sigmoid, HardSigmoid, Tanh, ReLU6)
_TEXT = re.compile(r"(?P<file>.*\.py):(?P<name>\w+)(?:\((?P<call>.*)\))?", re.DOTALL)

Progress = Callable[[str], None]
# Images and names of nodes, None for all, to the values of these nodes.
Values = Callable[[Array, "Sequence[str] | None"], Weights]


@dataclass(frozen=True)
class Original:
    """The network in its own program: what `compared` needs to run it again."""

    values: Values  # computes images, N x C x H x W in float64
    arrays: Weights = field(repr=False)  # under their own names
    output: str  # the node that gives the logits
    evaluation: Network  # the spec without auxiliary classifiers
    nodes: Mapping[str, str]  # the node of the file that gives the output of a layer, by the layer's path
    rounding: float = ROUNDING


@dataclass(frozen=True)
class Imported:
    """A network and its arrays by canonical names. notes: what was stripped, ignored or assumed, one line each.

    untrained: those of the notes that say what the original trains otherwise than the network.
    """

    network: Network
    weights: Weights = field(repr=False)
    notes: tuple[str, ...]
    original: Original = field(repr=False)
    untrained: tuple[str, ...] = ()
    pixels: int = 0  # layers before the original's own, which bring pixels to the values that it expects


@dataclass(frozen=True)
class Comparison:
    """The original and the spec on the same images, in float64.

    difference: the largest of the logits. scale: the largest logit. parted: the first layer whose output differs by
    more than rounding explains, with its own difference; empty if the logits agree. hidden: the first layer from which
    on the network amplifies rounding so much that a difference would not be seen; empty if there is none. unbounded:
    the first layer whose output is not finite, in the original and in the spec. what: the values in place of logits.
    """

    difference: float
    scale: float
    parted: str = ""
    hidden: str = ""
    unbounded: str = ""
    what: str = "logits"

    @property
    def agrees(self) -> bool:
        return not self.parted

    @property
    def text(self) -> str:
        if self.unbounded:
            both = f"from {self.unbounded} on, the values of both are not finite"
            return f"{both}: there a difference would not be seen"
        found = f"the {self.what} differ by at most {self.difference:.1g}, the largest is {self.scale:.3g}"
        if not self.agrees:
            return f"{found}; beyond rounding from {self.parted}"
        if not self.hidden:
            return found
        return f"{found}; the network amplifies rounding, so from {self.hidden} on a difference would not be seen"

    def to_json(self) -> dict[str, object]:
        """The numbers, null for one that is not finite: JSON has none."""
        numbers = {"difference": self.difference, "largest_logit": self.scale}
        return {name: each if isfinite(each) else None for name, each in numbers.items()} | {"parted": self.parted}


def is_network_file(text: str) -> bool:
    """Whether a file's ending says that it holds a network and its arrays."""
    return text.endswith(tuple(ENDINGS)) and not is_config(text)


def is_config(text: str) -> bool:
    """Whether a file's ending says that it holds the config of a Keras model, which has no arrays."""
    return text.endswith(".json") and not text.endswith("-symbol.json")


def imported(
    text: str,
    input: Shape | None,
    pythons: Mapping[str, str],
    progress: Progress,
    *,
    pixels: str = "raw",
    source: str = TORCH,
) -> Imported:
    """The network of `model.py:Net`, `model.onnx`, `model.keras` or `model.json`, for images of this shape.

    input: channels, height, width; None where the file says it.

    The name in a Python file is a class without required arguments or a function that returns a module, or with the
    source `keras` a keras.Model; literal arguments may be given: `model.py:Net(num_classes=10)`. pixels: a key
    of `PIXELS`, layers that bring pixels from 0 to 255 to the values that the network expects. Data loaders do this for
    most networks, so they have no such layers, and none are added unless they are asked for. Raises BadInput, with the
    file and line or the operator of what cannot be expressed, and Unavailable without the program that reads it.
    """
    if input is not None and len(input) != 3:
        raise BadInput(f"--input {times(input)}: write channels, height and width: 3,32,32")
    try:
        match next((kind for ending, kind in ENDINGS.items() if text.endswith(ending)), source):
            case "onnx":
                result = _of_onnx(text, input)
            case "keras":
                result = _of_keras(text, input, pythons, progress)
            case "gluon":
                result = _of_gluon(text, input, pythons, progress)
            case _:
                result = _of_module(text, input, pythons, progress)
        notes = list(not_finite(result.weights, text))
        if isinstance(result.network.nodes[-1].layer, Sigmoid):
            notes.append("the final sigmoid is kept: the network gives its values in place of logits")
        result = replace(result, notes=(*result.notes, *notes))
        before = PIXELS[pixels]
        if not before:
            return result
        network = result.network.after(*before, input=result.network.input)
        return replace(result, network=network, pixels=len(before))
    except SpecError as error:
        raise BadInput(f"{text}: {error}") from None


def _existing(text: str, name: str) -> Path:
    file = Path(name)
    if not file.is_file():
        raise BadInput(f"{text}: no file {file}")
    return file


def _of_onnx(text: str, input: Shape | None) -> Imported:
    file = _existing(text, text)
    model = onnx_file.read(file, text, input)
    graph, output, arrays = _prefixed(text, lambda: onnx_graph.converted(model))
    return _assembled(
        text, file.stem, graph, arrays, output, lambda images, names: onnx_file.values(model, images, names)
    )


def _of_keras(text: str, input: Shape | None, pythons: Mapping[str, str], progress: Progress) -> Imported:
    parts = _TEXT.fullmatch(text)
    file = _existing(text, parts["file"] if parts else text)
    if not parts and file.suffix == ".py":
        raise BadInput(f"{text}: write FILE.py:NAME, the function that gives a keras.Model")
    task: dict[str, Any] = {"text": text, "file": str(file.resolve())}
    if parts:
        task |= {"name": parts["name"], "call": parts["call"] or ""}
    python = environment(FrameworkRequest(KERAS), pythons, device="cpu", progress=progress).python
    with TemporaryFolder("import") as folder:
        _run(python, "graph", folder, task, text, KERAS_SCRIPT)
        description = json.loads((folder / "graph.json").read_text(encoding="utf-8"))
        arrays = read_npz(folder / "arrays.npz", "file")
    shape = _prefixed(text, lambda: keras_graph.input_of(description, input))
    graph, output, named = _prefixed(text, lambda: keras_graph.converted(description, arrays, shape))
    last = not keras_graph.is_first(description)

    def values(images: Array, names: Sequence[str] | None) -> Weights:
        images = np.moveaxis(images, 1, -1) if last else images
        found = _values(python, task, arrays, images, names, KERAS_SCRIPT)
        return {name: np.moveaxis(each, -1, 1) if last and each.ndim == 4 else each for name, each in found.items()}

    if is_config(text):
        graph = replace(graph, notes=(*graph.notes, CONFIG))
    stem = parts["name"] if parts else file.stem
    result = _assembled(text, stem, graph, named, output, values, arrays)
    return _in_single(result, "Keras computes values of", keras_graph.in_float32(description))


def _of_gluon(text: str, input: Shape | None, pythons: Mapping[str, str], progress: Progress) -> Imported:
    file = _existing(text, text)
    stem = text.removesuffix("-symbol.json")
    params = sorted(file.parent.glob(f"{glob.escape(Path(stem).name)}-[0-9][0-9][0-9][0-9].params"))
    if not params:
        raise BadInput(f"{text}: no {Path(stem).name}-0000.params beside it")
    if input is None:
        raise ShapeMissing(f"{text}: the shape of the images is missing")
    try:
        symbol = json.loads(file.read_text(encoding="utf-8"))
        kinds = {node["op"] for node in symbol["nodes"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{text}: no symbol of MXNet: {type(error).__name__}: {error}") from None
    task: dict[str, Any] = {"text": text, "file": str(file.resolve()), "params": str(params[-1].resolve())}
    python = environment(FrameworkRequest(GLUON), pythons, device="cpu", progress=progress).python
    with TemporaryFolder("import") as folder:
        _run(python, "graph", folder, task, text, GLUON_SCRIPT)
        arrays = read_npz(folder / "arrays.npz", "file")
    try:
        task["input"] = _prefixed(text, lambda: gluon_graph.image_of(symbol, arrays))
        graph, output, named = _prefixed(text, lambda: gluon_graph.converted(symbol, arrays, input))
    except (KeyError, IndexError, TypeError) as error:  # a node without what its operator has
        raise BadInput(f"{text}: no symbol of MXNet: {type(error).__name__}: {error}") from None
    if len(params) > 1:
        graph = replace(graph, notes=(*graph.notes, f"the arrays are those of {params[-1].name}, the last epoch"))
    result = _assembled(
        text,
        Path(stem).name,
        graph,
        named,
        output,
        lambda images, names: _values(python, task, arrays, images, names, GLUON_SCRIPT),
        arrays,
    )
    return _in_single(result, "MXNet holds constants or values of", sorted(kinds & set(gluon_graph.SINGLE)))


def _in_single(result: Imported, what: str, kinds: Sequence[str]) -> Imported:
    """An import with a note, and with `SINGLE` as its rounding, if the framework uses float32 in these layers."""
    if not kinds:
        return result
    note = f"{what} {', '.join(kinds)} in float32: a difference of {SINGLE:g} is rounding"
    return replace(result, notes=(*result.notes, note), original=replace(result.original, rounding=SINGLE))


def _assembled(
    text: str, stem: str, graph: Graph, arrays: Weights, output: str, values: Values, own: Weights | None = None
) -> Imported:
    """A network of a graph whose arrays have canonical names. own: the arrays under the file's names."""
    structure = _prefixed(text, lambda: Structure(graph))
    network = _classifier(text, Network(_identifier(stem), graph.input, structure.layers))
    for each in network.parameters:
        if each.name not in arrays or arrays[each.name].size != prod(each.shape):
            found = times(arrays[each.name].shape) if each.name in arrays else "missing"
            raise BadInput(f"{text}: the array {each.name} is {found}; its layer has {times(each.shape)}")
    weights = {each.name: _single(arrays[each.name].reshape(each.shape)) for each in network.parameters}
    original = Original(values, arrays if own is None else own, output, network, _nodes(network, structure))
    return Imported(network, weights, graph.notes, original)


def _single(array: Array) -> Array:
    """An array in float32 where that holds its values."""
    with np.errstate(over="ignore"):
        single = array.astype(np.float32)
    return single if np.array_equal(single, array, equal_nan=True) else array.astype(np.float64)


def _of_module(text: str, input: Shape | None, pythons: Mapping[str, str], progress: Progress) -> Imported:
    parts = _TEXT.fullmatch(text)
    if not parts:
        raise BadInput(f"{text}: write FILE.py:NAME, the class or function that gives a torch.nn.Module")
    file = _existing(text, parts["file"])
    if input is None:
        raise ShapeMissing(f"{text}: the shape of the images is missing")
    task = {"text": text, "file": str(file.resolve()), "name": parts["name"], "call": parts["call"] or ""}
    task |= {"input": list(input)}
    python = environment(FrameworkRequest(TORCH), pythons, device="cpu", progress=progress).python
    with TemporaryFolder("import") as folder:
        _run(python, "graph", folder, task, text)
        description = json.loads((folder / "graph.json").read_text(encoding="utf-8"))
        arrays = read_npz(folder / "arrays.npz", "file")
    return _imported(text, _identifier(parts["name"]), input, description, arrays, python, task)


def _imported(
    text: str, name: str, input: Shape, description: Any, arrays: Weights, python: Path, task: Mapping[str, Any]
) -> Imported:
    for names in description["shared"]:
        raise BadInput(f"{text}: {' and '.join(names)} are one array; each layer of a spec has arrays of its own")
    evaluated = description["evaluation"]
    graph, output = _prefixed(text, lambda: torch_graph.converted(evaluated, input, training=False))
    if len(evaluated["outputs"]) > 1:
        several = "in evaluation forward gives several tensors: the first is the network's output"
        graph = replace(graph, notes=(*graph.notes, several))
    structure = _prefixed(text, lambda: Structure(graph))
    evaluation = Network(name, input, structure.layers)
    trained = _prefixed(text, lambda: _in_training(description, input, structure))
    network = _classifier(text, Network(name, input, trained.layers))
    weights, unused = _weights(network, arrays)
    untrained = [*_frozen(network, description), *trained.untrained]
    types = [f"its arrays are of {each}: those of the port have float32" for each in description["types"]]
    left = [each for each in unused if each not in description["read"]]
    notes = [*graph.notes, *trained.notes, *types, *untrained]
    notes += [f"{each} is {_use(each, description)}: left out" for each in left]

    def values(images: Array, names: Sequence[str] | None) -> Weights:
        found = _values(python, task, arrays, images, names)
        return {each: array.reshape(len(array), -1) if array.ndim == 1 else array for each, array in found.items()}

    original = Original(values, arrays, output, evaluation, _nodes(evaluation, structure))
    return Imported(network, weights, tuple(dict.fromkeys(notes)), original, tuple(untrained))


def _use(name: str, description: Any) -> str:
    """What forward does with an array that no layer has."""
    nodes = [node for kind in ("evaluation", "training") for node in description[kind]["nodes"]]
    owner = name.rpartition(".")[0]
    uses = any(node["target"] == name or (node["op"] == "module" and node["path"] == owner) for node in nodes)
    return "used for no logits" if uses else "not used in forward"


def _frozen(network: Network, description: Any) -> list[str]:
    """Notes on arrays that the original does not train, and on hooks that may change gradients."""
    own = set(own_names(network).values())
    frozen = [each for each in description["frozen"] if each in own]
    hooks = [f"{each} has a hook of its gradient: the port has none" for each in description["gradient_hooks"]]
    if not frozen:
        return hooks
    have, them = ("have", "them") if len(frozen) > 1 else ("has", "it")
    return [f"{_listed(frozen, own)} {have} requires_grad=False: the port trains {them}", *hooks]


def _listed(chosen: Sequence[str], names: Iterable[str]) -> str:
    """Names of arrays; many by the largest modules all of whose trained arrays are among them."""
    if len(chosen) <= MOST_NAMES:
        return ", ".join(chosen)
    statistics = ("running_mean", "running_var")
    others = [each for each in names if each not in chosen and not each.endswith(statistics)]
    if not others:
        return "all arrays"
    groups: dict[str, int] = {}
    for name in chosen:
        parts = name.split(".")
        starts = (".".join(parts[:end]) + "." for end in range(1, len(parts)))
        whole = next((start for start in starts if not any(each.startswith(start) for each in others)), name)
        groups[whole] = groups.get(whole, 0) + 1
    return ", ".join(f"{name}* ({number} arrays)" if name.endswith(".") else name for name, number in groups.items())


def _classifier(text: str, network: Network) -> Network:
    if len(network.output) != 1:
        raise BadInput(f"{text}: its output is {times(network.output)}; a classifier gives one row of logits")
    return network


def _nodes(network: Network, structure: Structure) -> dict[str, str]:
    """The node of the file that gives the output of a layer, by the layer's path."""
    placed = _pairs(network.layers, network.nodes)
    return {node.path: structure.origins[id(layer)][1] for layer, node in placed if id(layer) in structure.origins}


def _prefixed(text: str, work: Callable[[], Any]) -> Any:
    try:
        return work()
    except ShapeMissing as error:
        raise ShapeMissing(f"{text}: {error.problem}") from None
    except BadInput as error:
        raise BadInput(f"{text}: {error}") from None


@dataclass(frozen=True)
class _TrainingTrace:
    """The layers in training, with dropout and auxiliary classifiers. untrained: as `Imported` has it."""

    layers: list[Layer]
    notes: list[str]
    untrained: list[str]


def _in_training(description: Any, input: Shape, evaluated: Structure) -> _TrainingTrace:
    """Raises BadInput if something else than dropout and auxiliary classifiers differs from evaluation."""
    nodes = description["training"]
    graph, _ = torch_graph.converted(nodes, input, training=True)
    ends = dict(zip(torch_graph.rows(nodes), (graph.output, *graph.heads)))  # of the nodes that forward returns
    expected = _without_dropout(evaluated.layers)
    for row, main in ends.items():
        alone = Structure(replace(graph, output=main, heads=()))
        if _without_dropout(alone.layers) != expected:
            continue
        classes = input[0] if main == INPUT else graph.operators[main].channels
        heads, notes = {}, list(graph.notes)
        for place, name in enumerate(nodes["outputs"], start=1):
            end = ends.get(name)
            if end == main:
                continue
            if end is None or end == INPUT or graph.operators[end].channels != classes:
                notes.append(f"output {place} of forward is no row of {classes} logits: left out")
            elif not alone.has_arrays_before(end):
                notes.append(f"output {place} of forward has no arrays of its own: left out")
            else:
                heads[name] = end
        layers = alone.layers
        if heads:
            layers = Structure(replace(graph, output=main, heads=tuple(dict.fromkeys(heads.values())))).layers
            weighted = f"{len(heads)} with weight {Auxiliary.weight} in the loss: the file does not say its own"
            notes.append(f"auxiliary classifiers: {weighted}")
        return _TrainingTrace(layers, notes, torch_graph.training_notes(nodes, [row, *heads]))
    differs = torch_graph.difference(description["evaluation"], nodes)
    raise BadInput(
        "in training it computes something else than in evaluation, dropout and auxiliary classifiers aside"
        + (f": {differs}" if differs else "")
    )


def _without_dropout(layers: Iterable[Layer]) -> list[Layer]:
    """Layers without those that are the identity in evaluation, to compare two forms of a network."""
    kept = [layer for layer in layers if not isinstance(layer, Dropout)]
    return [_with_chains(layer, [_without_dropout(chain) for chain in layer.branches()]) for layer in kept]


def _with_chains(layer: Layer, chains: Sequence[Sequence[Layer]]) -> Layer:
    if not chains:
        return layer
    if hasattr(layer, "chains"):
        return replace(layer, chains=chains)  # type: ignore[call-arg]
    return replace(layer, body=chains[0], shortcut=chains[1])  # type: ignore[call-arg]


def _weights(network: Network, arrays: Weights) -> tuple[Weights, list[str]]:
    """The arrays by canonical names, and the names of those that no layer has."""
    named = canonical(network, arrays)
    wanted = {parameter.name: parameter.shape for parameter in network.parameters}
    missing = [name for name in wanted if name not in named]
    if missing:
        raise BadInput(f"{network.name} has no array for {', '.join(missing)}")
    weights = {name: named[name].reshape(shape) for name, shape in wanted.items()}
    return weights, [name for name in named if name not in wanted]


def own_names(network: Network) -> dict[str, str]:
    """The names that the arrays have in a state_dict, by canonical name."""
    pairs = [(node, each) for _, node in network.walk() for each in node.parameters]
    return {parameter.name: state_dict_name(node, parameter) for node, parameter in pairs}


def _pairs(layers: Iterable[Layer], nodes: Iterable[Node]) -> Iterator[tuple[Layer, Node]]:
    """Every layer with its node, in reading order."""
    for layer, node in zip(layers, nodes):
        for branch, inside in zip(layer.branches(), node.branches):
            yield from _pairs(branch, inside)
        yield layer, node


def _identifier(name: str) -> str:
    """The name of a class or file in the form of a network's name: ResNet18 is resnet18."""
    name = re.sub(r"\W+", "_", name.lower()).strip("_") or "network"
    return f"net_{name}" if name[0].isdigit() else name


def _run(python: Path, work: str, folder: Path, task: Mapping[str, Any], text: str, script: Path = SCRIPT) -> None:
    (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")
    written = {"values": ["values.npz"], "graph": ["arrays.npz"] + ["graph.json"] * (script != GLUON_SCRIPT)}[work]
    run_script(python, script, [work, str(folder)], [folder / name for name in written], text)


# --- the original and the spec on the same images ---------------------------------------------------------------------


def compared(result: Imported, *, seed: int = 0) -> Comparison:
    """Runs the original in its framework and the spec in the NumPy reference, both in float64, on random images.

    The logits decide; where they are beyond `ROUNDING`, or too small to show anything, all layers are compared.
    """
    with np.errstate(all="ignore"):  # values that are not finite are part of the result
        return _compared(result, seed)


def _compared(result: Imported, seed: int) -> Comparison:
    network, original = result.network, result.original
    images = np.random.default_rng(seed).uniform(0, 255, (IMAGES, *network.input))
    outputs = _activations(network, result.weights, images)
    seen = outputs[network.nodes[result.pixels - 1].path] if result.pixels else images
    expected = original.values(seen, [original.output])[original.output]
    last = network.nodes[-1].path
    difference, scale = _apart(outputs[last], expected)
    agree = difference <= original.rounding * max(scale, 1.0)
    saturates = isinstance(network.nodes[-1].layer, SATURATING)
    if agree and not saturates and np.ptp(expected, axis=0).max() > VISIBLE * scale:
        return Comparison(difference, scale)
    layers = list(_compared_layers(result, seen))
    comparison = Comparison(difference, scale)
    if saturates:  # its values may be 0 or 1 whatever it takes, so those before it are what shows a difference
        before = [node.path for node in original.evaluation.nodes[-2:-1]]
        for each in (each for each in layers if each.path in before):
            comparison = Comparison(each.difference, each.scale, what=f"values before {last}")
    if agree and all(each.difference <= original.rounding * max(each.scale, 1.0) for each in layers):
        return comparison
    limits = _explained(original.evaluation, _evaluated_weights(result), seen)
    for each in layers:
        if each.unbounded:
            return replace(comparison, unbounded=each.path)  # what follows shows nothing
        if limits[each.path] > VISIBLE * max(each.scale, 1.0):
            return replace(comparison, hidden=each.path)
        if not each.difference <= max(original.rounding * max(each.scale, 1.0), limits[each.path]):
            return replace(comparison, parted=f"{each.path}, by {each.difference:.2g} of {each.scale:.2g}")
    if not np.isfinite(expected).all() and not np.isfinite(outputs[last]).all():
        return replace(comparison, unbounded=last)
    agree = difference <= max(original.rounding * max(scale, 1.0), limits[original.evaluation.nodes[-1].path])
    return replace(comparison, parted="" if agree else last)


@dataclass(frozen=True)
class _ComparedLayer:
    """The largest difference of a layer's output, and the largest value that is expected.

    unbounded: neither the output nor what is expected is finite.
    """

    path: str
    difference: float
    scale: float
    unbounded: bool


def _compared_layers(result: Imported, images: Array) -> Iterator[_ComparedLayer]:
    """In reading order, the layers inside a join before it."""
    original = result.original
    theirs = original.values(images, None)
    ours = _activations(original.evaluation, _evaluated_weights(result), images)
    for _, node in _pairs(original.evaluation.layers, original.evaluation.nodes):
        name = original.nodes.get(node.path)
        if name in theirs and theirs[name].size == ours[node.path].size:
            unbounded = not any(np.isfinite(each).all() for each in (ours[node.path], theirs[name]))
            yield _ComparedLayer(node.path, *_apart(ours[node.path], theirs[name]), unbounded)


def _evaluated_weights(result: Imported) -> Weights:
    """The arrays without those of auxiliary classifiers."""
    wanted = {parameter.name for parameter in result.original.evaluation.parameters}
    return {name: array for name, array in result.weights.items() if name in wanted}


def _explained(network: Network, weights: Weights, images: Array) -> dict[str, float]:
    """The largest difference of each layer's output that rounding explains, by path.

    It is what a random change of all weights by 2^-44 (`conditioning.CHANGE`) gives, 256 times the rounding of float64.
    It is not scaled: a gate that the change turns from 0 to 1 is turned by rounding, too.
    """
    exact, changed = (_activations(network, weights, images, kind) for kind in (Reference, ChangedReference))
    return {path: float(np.abs(changed[path] - output).max()) for path, output in exact.items()}


def _activations(network: Network, weights: Weights, images: Array, kind: type[Reference] = Reference) -> Weights:
    """The outputs of all layers in evaluation, by path."""
    reference = kind(network, Training(), Setting(precision="float64"))
    reference.set_weights(weights)
    return reference.activations(images, training=False)


def _apart(given: Array, expected: Array) -> tuple[float, float]:
    """The largest difference and the largest expected value. Channels may be last in what is expected."""
    if given.shape != expected.shape and np.moveaxis(expected, -1, 1).shape == given.shape:
        expected = np.moveaxis(expected, -1, 1)
    expected = expected.reshape(given.shape)
    return float(np.abs(given - expected).max()), float(np.abs(expected).max())


def _values(
    python: Path,
    task: Mapping[str, Any],
    arrays: Weights,
    images: Array,
    names: Sequence[str] | None,
    script: Path = SCRIPT,
) -> Weights:
    """Values of a module's nodes, in float64; of all nodes for None."""
    with TemporaryFolder("import") as folder:
        np.savez(folder / "arrays.npz", **arrays)  # type: ignore[arg-type]
        np.save(folder / "images.npy", images)
        _run(python, "values", folder, {**task, "values": names}, task["text"], script)
        return read_npz(folder / "values.npz", "file")

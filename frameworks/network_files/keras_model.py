"""A Keras model of a file, or of a function of a user's file, as a graph, and what it computes.

    python keras_model.py graph FOLDER     FOLDER/task.json gives graph.json and arrays.npz
    python keras_model.py values FOLDER    task.json and images.npy give values.npz, in float64

task.json has `file` (.keras, .json of `to_json`, or .py with `name` and `call`, literal arguments as text) and `values`
(names of the tensors that are wanted; null for all). A .keras or .json file is data: classes outside of Keras and
lambdas are refused before it is loaded, and it is loaded in Keras' safe mode. A .json file holds no arrays, so Keras
draws them. A .py file is code, so the user's own layers are traced in it. A failure ends the script with its reason in
one line.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import inspect
import json
import os
import re
import sys
import zipfile
from collections.abc import Callable, Iterator
from math import pi, sqrt
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

# Modules with classes of layers and of what layers hold. Others of Keras load files or run code.
_HELD = "layers|models|ops|initializers|regularizers|constraints|dtype_policies|activations|applications|random"
PLAIN = re.compile(rf"keras(?:\.(?:src\.)?(?:{_HELD})(?:\.\w+)*)?")
LINEAR = ":linear"  # after the name of a layer: its output before its activation


def one_line(error: BaseException, most: int = 300) -> str:
    """The class of an error and what it says, without the list of arguments that Keras adds to it."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))  # Keras has colours in its messages
    text = re.split(r"^\s*(?:Arguments received by|\u2022)", text, maxsplit=1, flags=re.MULTILINE)[0]
    return f"{type(error).__name__}: {' '.join(text.split())[:most]}"


def fail(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """In place of a traceback, whose last line may be any line of a message: the script's reason is one line."""
    print(one_line(error), file=sys.stderr)


# --- the model --------------------------------------------------------------------------------------------------------


def check_config(config: Any, name: str = "") -> None:
    """End the script for a class that Keras does not have, or for code in a config."""
    if isinstance(config, list):
        for each in config:
            check_config(each, name)
    if not isinstance(config, dict):
        return
    kind, inner = config.get("class_name"), config.get("config")
    if isinstance(inner, dict):
        name = str(inner.get("name", name))
    if kind == "function" and isinstance(inner, str) and hasattr(keras.activations, inner):
        return  # an activation by its name
    if kind in ("Lambda", "__lambda__", "function"):
        sys.exit(f"no layer for {'a function' if kind == 'function' else 'Lambda'} ({name}): it is code")
    if isinstance(kind, str) and "module" in config:
        module = str(config["module"] or "")
        if not PLAIN.fullmatch(module):
            own = f"{module}.{kind}" if module else config.get("registered_name") or kind
            sys.exit(f"no layer for {own} ({name}): only Keras' own classes are imported")
    for each in config.values():
        check_config(each, name)


def loaded(file: Path) -> Any:
    try:
        with zipfile.ZipFile(file) as archive:
            config = json.loads(archive.read("config.json"))
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        sys.exit(f"no file of Keras 3: {one_line(error)}")
    config.pop("compile_config", None)
    check_config(config)
    return read(lambda: keras.saving.load_model(file, compile=False, safe_mode=True))


def configured(file: Path) -> Any:
    """The model of a config, with the arrays that Keras draws."""
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        sys.exit(f"no JSON: {one_line(error)}")
    if not isinstance(config, dict) or not isinstance(config.get("config"), dict) or "class_name" not in config:
        sys.exit("no config of Keras: write model.to_json() to the file")
    config.pop("compile_config", None)
    check_config(config)
    keras.utils.set_random_seed(0)
    return read(lambda: keras.saving.deserialize_keras_object(config, safe_mode=True))


def read(load: Callable[[], Any]) -> Any:
    try:
        return load()
    except Exception as error:  # Keras raises many kinds for a damaged file
        sys.exit(f"Keras cannot read it: {one_line(error, 120)}")


def made(task: dict[str, Any], file: Path) -> Any:
    """What the user's function gives."""
    sys.path.insert(0, str(file.parent))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec and spec.loader, "a file whose name ends in .py has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
        function = getattr(module, task["name"], None)
        if not callable(function):
            sys.exit(f"it has no function {task['name']!r}")
        call = ast.parse(f"f({task['call']})", mode="eval").body
        assert isinstance(call, ast.Call)
        keywords = {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}
        keras.utils.set_random_seed(0)
        return function(*map(ast.literal_eval, call.args), **keywords)
    except Exception as error:  # whatever the user's code raises
        line = next((f"{file.name}:{number}: " for number in reversed(lines_of(error, file))), "")
        sys.exit(f"{line}{one_line(error)}")


def lines_of(error: BaseException, file: Path) -> list[int]:
    found, trace = [], error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == str(file):
            found.append(trace.tb_lineno)
        trace = trace.tb_next
    return found


def model_of(task: dict[str, Any]) -> Any:
    file = Path(task["file"])
    match file.suffix:
        case ".py":
            model, giver = made(task, file), f"{task['name']}()"
        case ".json":
            model, giver = configured(file), "the config"
        case _:
            model, giver = loaded(file), "the file"
    if not isinstance(model, keras.Model):
        sys.exit(f"{giver} gives {type(model).__name__} and no keras.Model")
    functional(model, "")
    return model


def functional(model: Any, path: str) -> Any:
    """The model as a graph of layers."""
    if type(model) is keras.Function:  # a layer that was traced
        return model
    if isinstance(model, keras.Sequential):
        if not model.built or model._functional is None:
            sys.exit(f"the model {path or model.name} has no input; start it with keras.Input(shape)")
        return model._functional
    if not isinstance(model, keras.src.models.Functional):
        sys.exit(
            f"the model {path or model.name} is a subclass of keras.Model; only functional and sequential models are "
            "imported"
        )
    return model


# --- a user's own layers ----------------------------------------------------------------------------------------------

OPERATORS = {"add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide", "matmul": "matmul"}


def is_own(operation: Any) -> bool:
    """Whether a layer is of the user's own class, or a function."""
    own = not type(operation).__module__.startswith("keras.") or type(operation).__name__ == "Lambda"
    return own and isinstance(operation, keras.Layer) and not isinstance(operation, keras.Model)


def is_traced(operation: Any) -> bool:
    """Whether the operations inside of a layer are the graph's: it is the user's own, or of one of Keras' networks."""
    return is_own(operation) or type(operation).__module__.startswith("keras.src.applications.")


def traced(layer: Any, node: Any, path: str) -> Any:
    """What a layer of the user's computes, as a graph of Keras' layers and operations."""
    takes_training = "training" in inspect.signature(layer.call).parameters
    graphs = [_traced(layer, node, path, {"training": each} if takes_training else {}) for each in (False, True)]
    forms = [[form_of(each) for each in nodes_of(graph) if not each.is_input] for graph in graphs]
    if forms[0] != forms[1]:
        refuse(layer, path, "in training its call computes something else than in evaluation")
    return graphs[0]


def _traced(layer: Any, node: Any, path: str, options: dict[str, Any]) -> Any:
    tensors = keras.tree.flatten(node.input_tensors)
    inputs = [keras.Input(batch_shape=each.shape, dtype=each.dtype) for each in tensors]
    args, kwargs = node.arguments.fill_in({id(one): other for one, other in zip(tensors, inputs)})
    try:
        with variables_as_operands():
            graph = keras.Function(inputs, layer.call(*args, **kwargs | options))
    except Exception as error:  # whatever the user's code raises
        refuse(layer, path, f"its call is not traced: {one_line(error)}")
    used = {
        id(each)
        for node in nodes_of(graph)
        for each in keras.tree.flatten((node.arguments.args, node.arguments.kwargs))
    }
    if unused := [role for role, each in own_roles_of(layer).items() if id(each) not in used]:
        refuse(layer, path, f"its variable {unused[0]} is no operand of an operation")
    return graph


def nodes_of(graph: Any) -> list[Any]:
    return [each for depth in sorted(graph._nodes_by_depth, reverse=True) for each in graph._nodes_by_depth[depth]]


def form_of(node: Any) -> tuple[str, str]:
    """The class of an operation and its settings, without the name that Keras gives it anew."""
    config = settings(node.operation, isinstance(node.operation, keras.Layer))
    return type(node.operation).__name__, str({key: each for key, each in config.items() if key != "name"})


def refuse(layer: Any, path: str, why: str) -> None:
    sys.exit(f"no layer for {type(layer).__name__} (layer {path}): {why}")


@contextlib.contextmanager
def variables_as_operands() -> Iterator[None]:
    """A variable with a tensor of a graph is an operation of the graph; Keras computes the variable's part at once."""
    kept = {}

    def operator(name: str, swapped: bool) -> Callable[[Any, Any], Any]:
        function = getattr(keras.ops, name)
        return lambda self, other: function(other, self) if swapped else function(self, other)

    for short, name in OPERATORS.items():
        for swapped in (False, True):
            method = f"__{'r' * swapped}{short}__"
            kept[method] = getattr(keras.Variable, method)
            setattr(keras.Variable, method, operator(name, swapped))
    try:
        yield
    finally:
        for method, function in kept.items():
            setattr(keras.Variable, method, function)


def own_roles_of(layer: Any) -> dict[str, Any]:
    """The variables of a layer without those of layers in it, by name."""
    inside = {id(each) for sublayer in layer._flatten_layers(include_self=False) for each in sublayer.weights}
    return {role: each for role, each in roles_of(layer).items() if id(each) not in inside}


# --- walking ----------------------------------------------------------------------------------------------------------

Visit = Callable[[Any, str, tuple[Any, ...], dict[str, Any], int], list[Any]]
Enter = Callable[[Any, str], None]  # called with a layer of the user's before the operations in it


def walked(model: Any, inputs: list[Any], visit: Visit, enter: Enter, path: str = "") -> list[Any]:
    """Visit the operations in order, those of nested models and of the user's layers inside; returns the outputs."""
    graph = functional(model, path)
    values = {id(tensor): value for tensor, value in zip(keras.tree.flatten(graph.inputs), inputs)}
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            if node.is_input or any(id(each) not in values for each in node.input_tensors):
                continue
            args, kwargs = node.arguments.fill_in(values)
            operation = node.operation
            if isinstance(operation, keras.Model):
                given = keras.tree.flatten(args)
                results = walked(operation, given, visit, enter, f"{path}{operation.name}.")
            elif is_traced(operation):
                name = path + operation.name
                enter(operation, name)
                inside = traced(operation, node, name)
                results = walked(inside, [values[id(each)] for each in node.input_tensors], visit, enter, f"{name}.")
            else:
                results = visit(operation, path + operation.name, args, kwargs, len(node.outputs))
            values |= {id(tensor): value for tensor, value in zip(node.outputs, results)}
    return [values[id(tensor)] for tensor in keras.tree.flatten(graph.outputs)]


class Name(str):
    """A tensor in a graph that is written."""


def encoded(value: Any, variables: dict[int, str]) -> Any:
    """An argument of a call as JSON: a tensor or variable of the graph by its name, a constant by its values."""
    match value:
        case Name():
            return {"tensor": str(value)}
        case keras.Variable() if id(value) in variables:
            return {"variable": variables[id(value)]}
        case list() | tuple():
            return [encoded(each, variables) for each in value]
        case slice():
            return {"slice": encoded([value.start, value.stop, value.step], variables)}
        case np.ndarray() | np.generic():
            return value.tolist()
        case None | bool() | int() | float() | str():
            return value
    if keras.ops.is_tensor(value):
        return keras.ops.convert_to_numpy(value).tolist()
    return {"other": "Ellipsis" if value is Ellipsis else type(value).__name__}


def name_of(path: str, times: int, number: int) -> str:
    """The name of an output: of the layer, with the number of its call and of the output where there are several."""
    return path + (f"#{times}" if times else "") + (f"/{number}" if number else "")


def roles_of(layer: Any) -> dict[str, Any]:
    """The variables of a layer by name; one that Keras has named (variable_12) by its place."""
    named = (
        (str(place) if re.fullmatch(r"variable(_\d+)?", each.name) else each.name, each)
        for place, each in enumerate(layer.weights)
    )
    return dict(named)


def graph(model: Any, folder: Path) -> None:
    nodes: list[dict[str, Any]] = []
    arrays: dict[str, Any] = {}  # variables by name
    calls: dict[str, int] = {}
    operands: dict[int, str] = {}  # names of the arrays of the user's layers
    frozen: list[str] = []  # layers with arrays that are not trained

    def enter(layer: Any, path: str) -> None:
        own = own_roles_of(layer)
        if own and not layer.trainable:
            frozen.append(path)
        for role, variable in own.items():
            operands[id(variable)] = f"{path}/{role}"
            arrays[f"{path}/{role}"] = variable

    def visit(operation: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any], count: int) -> list[Any]:
        outputs = [Name(name_of(path, calls.get(path, 0), number)) for number in range(count)]
        calls[path] = calls.get(path, 0) + 1
        is_layer = isinstance(operation, keras.Layer)
        own = type(operation).__module__.startswith("keras.")
        node = {"name": path, "class": type(operation).__name__, "own": own, "layer": is_layer}
        variables = roles_of(operation) if is_layer else {}
        if variables and not operation.trainable and type(operation).__name__ != "Normalization":  # has constants alone
            frozen.append(path)
        for role, variable in variables.items():
            arrays[f"{path}/{role}"] = variable
        config = settings(operation, is_layer) if own else {}
        node |= {"config": plain(config), "arrays": {role: f"{path}/{role}" for role in variables}}
        named = {key: encoded(each, operands) for key, each in kwargs.items()}
        node |= {"args": encoded(args, operands), "kwargs": named}
        nodes.append(node | {"outputs": outputs})
        return list(outputs)

    shapes = [each.shape for each in keras.tree.flatten(functional(model, "").inputs)]
    if len(shapes) != 1:
        sys.exit(f"the model has {len(shapes)} inputs; a network has one")
    outputs = walked(model, [Name("input")], visit, enter)
    answer = {"name": model.name, "input": list(shapes[0])[1:], "nodes": nodes, "outputs": outputs}
    answer["frozen"] = frozen
    (folder / "graph.json").write_text(json.dumps(answer))
    save(folder / "arrays.npz", arrays)


def save(path: Path, variables: dict[str, Any]) -> None:
    """Write variables as `np.savez` does, but one after the other: all at once are a second model in memory."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, variable in variables.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array_of(variable), allow_pickle=False)


def array_of(variable: Any) -> Any:
    """A variable as an array. `convert_to_numpy` copies it twice; but NumPy has no bfloat16."""
    single = variable.dtype in ("float32", "float64")
    return np.asarray(variable.value) if single else keras.ops.convert_to_numpy(variable)


def settings(operation: Any, is_layer: bool) -> dict[str, Any]:
    """The config of a layer, or what an operation of keras.ops was made with: `axis`, `pad_width`."""
    if is_layer:
        return dict(operation.get_config())
    return {key: value for key, value in vars(operation).items() if not key.startswith("_")}


def plain(config: Any) -> Any:
    """A config as JSON; other objects by the names of their classes."""
    return json.loads(json.dumps(config, default=lambda each: type(each).__name__))


# --- values in float64 ------------------------------------------------------------------------------------------------


def gelu(x: Any, approximate: bool = False) -> Any:
    if approximate:
        return x * (1 + keras.ops.tanh(sqrt(2 / pi) * (x + 0.044715 * x * x * x))) / 2
    return x * (1 + keras.ops.erf(x / sqrt(2))) / 2


def leaky_relu(x: Any, negative_slope: float = 0.2) -> Any:
    return keras.ops.where(x > 0, x, negative_slope * x)


# Functions whose constants TensorFlow rounds to float32.
EXACT = {"gelu": gelu, "leaky_relu": leaky_relu}


def in_evaluation(operation: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments by name, as `predict` has them: whatever the graph says of training, Keras passes False.

    The graph has the default of the layer, which is True for those that augment.
    """
    takes = isinstance(operation, keras.Layer) and "training" in inspect.signature(operation.call).parameters
    return kwargs | {"training": False} if takes else kwargs


def computed(operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The output of an operation, of a layer without its activation, with constants in float64."""
    match type(operation).__name__:
        case "Activation":
            return exact(operation.activation)(*args)
        case "LeakyReLU":
            return leaky_relu(args[0], operation.negative_slope)
        case "ReLU" if operation.negative_slope and operation.max_value is None and not operation.threshold:
            return leaky_relu(args[0], operation.negative_slope)
        case "Gelu":
            return gelu(args[0], operation.approximate)
        case "Normalization" if operation.input_mean is not None:
            for name, given in (("mean", operation.input_mean), ("variance", operation.input_variance)):
                shape = getattr(operation, name).shape
                setattr(operation, name, np.broadcast_to(np.asarray(given, np.float64), shape))
        case "Rescaling":
            operation.scale, operation.offset = np.float64(operation.scale), np.float64(operation.offset)
    return operation(*args, **kwargs)


def exact(activation: Any) -> Any:
    return EXACT.get(getattr(activation, "__name__", ""), activation)


def in_float64(config: Any) -> Any:
    if isinstance(config, (list, tuple)):
        return type(config)(in_float64(each) for each in config)
    if not isinstance(config, dict):
        return config
    return {key: "float64" if key == "dtype" else in_float64(each) for key, each in config.items()}


def doubled(model: Any, task: dict[str, Any]) -> Any:
    """The model in float64: made from its config, or where that names layers of the user's, by the function again."""
    keras.backend.set_floatx("float64")
    if not any(map(is_own, model._flatten_layers(include_self=False))):
        return type(model).from_config(in_float64(model.get_config()))
    keras.utils.clear_session()  # names that Keras counts are the same again
    keras.config.set_dtype_policy("float64")
    double = model_of(task)
    if single := [each.path for each in double.weights if each.dtype != "float64"]:
        sys.exit(f"the variable {single[0]} has a data type of its own, so the model does not compute in float64")
    return double


def values(model: Any, task: dict[str, Any], folder: Path) -> None:
    double, wanted = doubled(model, task), task["values"]
    with np.load(folder / "arrays.npz") as arrays:
        given = {name: arrays[name] for name in arrays.files}
    kept: dict[str, Any] = {}
    calls: dict[str, int] = {}

    def keep(name: str, value: Any) -> None:
        array = keras.ops.convert_to_numpy(value)
        if (wanted is None or name in wanted) and array.ndim:
            kept[name] = array

    def enter(layer: Any, path: str) -> None:
        for role, variable in own_roles_of(layer).items():
            variable.assign(given[f"{path}/{role}"])

    def visit(operation: Any, path: str, args: tuple[Any, ...], kwargs: dict[str, Any], count: int) -> list[Any]:
        times = calls.get(path, 0)
        calls[path] = times + 1
        if isinstance(operation, keras.Layer):
            for role, variable in roles_of(operation).items():
                variable.assign(given[f"{path}/{role}"])
        kwargs = in_evaluation(operation, kwargs)
        activation = getattr(operation, "activation", None)
        if activation is None or type(operation).__name__ == "Activation":
            outputs = keras.tree.flatten(computed(operation, args, kwargs))
        else:
            operation.activation = keras.activations.linear
            outputs = keras.tree.flatten(operation(*args, **kwargs))
            operation.activation = activation
            keep(name_of(path, times, 0) + LINEAR, outputs[0])
            outputs[0] = exact(activation)(outputs[0])
        for number, output in enumerate(outputs):
            keep(name_of(path, times, number), output)
        return outputs

    images = keras.ops.convert_to_tensor(np.load(folder / "images.npy"), "float64")
    walked(double, [images], visit, enter)
    np.savez(folder / "values.npz", **kept)


def main(work: str, folder: Path) -> None:
    sys.excepthook = fail
    task = json.loads((folder / "task.json").read_text())
    model = model_of(task)
    if work == "graph":
        graph(model, folder)
    else:
        values(model, task, folder)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

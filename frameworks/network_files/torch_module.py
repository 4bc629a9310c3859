"""A PyTorch module of a user's file as a graph, and what it computes.

    python torch_module.py graph FOLDER     FOLDER/task.json gives graph.json and arrays.npz
    python torch_module.py values FOLDER    task.json, arrays.npz and images.npy give values.npz, in float64

task.json has `file`, `name`, `call` (literal arguments as text), `input` (channels, height, width) and `values` (names
of the graph's nodes whose values are wanted; null for all).

The module is traced with torch.fx, layer modules as leaves, and computes at the same time: so sizes are numbers,
control flow on sizes works, and an error has the line of the user's code. A failure ends the script with its reason in
one line.

The graph holds only what forward computes. Which parts are not trained, or are trained otherwise, is in `frozen`,
`cuts` and `gradient_hooks`.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import operator
import os
import sys
import traceback
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import numpy as np
import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn

os.environ["TORCHDYNAMO_DISABLE"] = "1"  # torch.compile gives what it is given: it would hide what forward computes

BATCH = 2
LIBRARY = str(Path(torch.__file__).parent)
PROPERTIES = ("shape", "ndim", "dtype", "device", "requires_grad", "is_cuda", "layout")  # of a tensor, known in a trace
# Modules of libraries that draw random numbers in training and are the identity in evaluation.
DROP_PATHS = ("StochasticDepth", "DropPath")
SHORT = (torch.float16, torch.bfloat16)
MOST_CONSTANTS = 4096  # values of a constant tensor that the graph holds
_NAMES = {id(getattr(F, name)): name for name in dir(F) if not name.startswith("_")}
# Python's operators as they are written.
_SIGNS = {
    **{"add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**", "matmul": "@"},
    **{"neg": "-", "pos": "+", "invert": "~", "and_": "&", "or_": "|", "xor": "^", "getitem": "[]"},
    **{"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "lshift": "<<", "rshift": ">>"},
    **{"iadd": "+=", "isub": "-=", "imul": "*=", "itruediv": "/="},
}


def kind_of(module: nn.Module) -> str | None:
    """The class of torch.nn that computes a module; None for one with a forward of its own, which is traced."""
    definer = next(each for each in type(module).__mro__ if "forward" in vars(each))
    if type(module).__name__ in DROP_PATHS:
        return type(module).__name__
    if definer in (nn.Module, nn.Sequential) or not definer.__module__.startswith("torch.nn.modules."):
        return None
    return next(each.__name__ for each in type(module).__mro__ if each.__module__.startswith("torch.nn.modules."))


def in_place(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """An operator that torch.fx lacks: to it, x += y is x = x + y, and other names of the tensor keep their value."""
    return lambda x, y: x.tracer.create_proxy("call_function", function, (x, y), {})


class SizedProxy(torch.fx.Proxy):  # type: ignore[misc]
    """A proxy whose sizes are numbers."""

    __iadd__, __isub__, __imul__ = map(in_place, (operator.iadd, operator.isub, operator.imul))
    __itruediv__ = in_place(operator.itruediv)

    def __getattr__(self, name: str) -> Any:
        if name in PROPERTIES:
            return getattr(self.tracer.values[self.node], name)
        if name == "data":
            return self.tracer.create_proxy("call_method", "detach", (self,), {})
        return super().__getattr__(name)

    def __len__(self) -> int:
        return len(self.tracer.values[self.node])


class ComputingTracer(torch.fx.Tracer):  # type: ignore[misc]
    """A tracer that computes every node on images, so what is no tensor is a plain value for the user's code.

    The values of a tensor are kept while a proxy of it or of a view of it lives, which is as long as the user's code
    can take them. After that only shape and type remain, so a trace takes little more memory than the module itself.
    """

    def __init__(self, images: Tensor, folder: Path, keep: Iterable[str] | None = ()) -> None:
        super().__init__()
        self.images, self.folder, self.keep = images.clone(), folder, keep  # forward may change its input
        self.values: dict[torch.fx.Node, Any] = {}
        self.kept: dict[str, Any] = {}
        self.where: dict[torch.fx.Node, tuple[str, str]] = {}  # qualified name of the module, and line
        # Of a node whose value was changed in place: the node that gives it since; None where only a part was changed.
        self.changed: dict[torch.fx.Node, torch.fx.Node | None] = {}
        # Where the gradient of trained arrays ends or is the user's own, by the node whose gradient it is.
        self.cuts: dict[torch.fx.Node, str] = {}
        self.trained: set[torch.fx.Node] = set()  # nodes that depend on arrays that are trained
        self.modes: dict[torch.fx.Node, bool] = {}  # of a layer's node: whether the layer is in training
        self.read: set[int] = set()  # arrays that the user's code reads, by identity
        self.inside = [""]
        self.computing = False
        # By the place of a tensor's values in memory: the nodes whose values they are, and the number of their proxies.
        self.owners: dict[int, list[torch.fx.Node]] = {}
        self.proxies: Counter[int] = Counter()
        self.unused: deque[int] = deque()  # places of which a proxy has ended

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return kind_of(module) is not None

    def proxy(self, node: torch.fx.Node) -> torch.fx.Proxy:
        return SizedProxy(node, self)

    def getattr(self, attr: str, value: Any, cache: dict[str, Any]) -> Any:
        if self.computing:
            return value
        if isinstance(value, Tensor):
            self.read.add(id(value))
        return super().getattr(attr, value, cache)

    def call_module(self, module: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if self.computing:
            return forward(*args, **kwargs)
        if module not in self.submodule_paths:  # nn.ReLU()(x)
            if module.state_dict():
                kind = type(module).__name__
                raise TypeError(f"{kind} has arrays and is no submodule: it is made in forward, or a list holds it")
            return forward(*args, **kwargs)
        self.inside.append(self.path_of_module(module))
        try:
            return super().call_module(module, forward, args, kwargs)
        finally:
            self.inside.pop()

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any, **options: Any) -> Any:
        if kind == "placeholder" and self.values:  # all but the first argument of forward have their defaults
            if target.startswith("*"):
                return {} if target.startswith("**") else ()
            if not args:
                raise TypeError(f"forward needs a second input, {target}; give it a default")
            return args[0]
        self._forget()
        proxy = super().create_proxy(kind, target, args, kwargs, *rest, **options)
        node = proxy.node
        inputs = [self.values[each] for each in node.all_input_nodes if each.op != "get_attr"]
        versions = [(each, each._version) for each in inputs if isinstance(each, Tensor)]
        self.where[node] = self.inside[-1], line_of(sys._getframe(1), self.folder)
        value = self.images if kind == "placeholder" else self._computed(node)
        several = isinstance(value, (tuple, list)) and bool(tensors(value))
        if several or isinstance(value, Tensor):
            node.args, node.kwargs = (torch.fx.node.map_arg(each, self.latest) for each in (node.args, node.kwargs))
            self._note_gradient(node, value)
        if several:
            self.values[node] = value
            parts = [self.create_proxy("call_function", operator.getitem, (proxy, i), {}) for i in range(len(value))]
            self.values[node] = without_values(value)
            return rebuilt(value, parts)
        if not isinstance(value, Tensor):
            if kind == "get_attr":
                return proxy
            self.graph.erase_node(node)
            return value
        self.values[node] = value
        if changed := [each for each, version in versions if each._version != version]:
            self._note_changes(node, changed)
        if self.keep is None or node.name in self.keep:
            self.kept[node.name] = value.clone()  # a layer after it may compute in place
        if kind.startswith("call_"):
            self._own(proxy, value)
        return proxy

    def _note_gradient(self, node: torch.fx.Node, value: Any) -> None:
        """Note whether a node's gradient reaches trained arrays in the user's code."""
        if node.op == "call_module":
            module = self.root.get_submodule(node.target)
            self.modes[node] = module.training
            trains = any(each.requires_grad for each in module.parameters())
        else:
            trains = node.op == "get_attr" and isinstance(value, nn.Parameter) and value.requires_grad
        if trains or not self.trained.isdisjoint(node.all_input_nodes):
            self.trained.add(node)
            if cut := gradient_cut(node, sys._getframe(2)):
                self.cuts[node] = cut

    def _own(self, proxy: torch.fx.Proxy, value: Tensor) -> None:
        """Note that a proxy has these values, until it ends."""
        place = value.untyped_storage().data_ptr()
        self.owners.setdefault(place, []).append(proxy.node)
        self.proxies[place] += 1
        weakref.finalize(proxy, self.unused.append, place)

    def _forget(self) -> None:
        """Drop the values that no proxy has any more. Those of the network's outputs stay: no node follows them."""
        while self.unused:
            place = self.unused.popleft()
            self.proxies[place] -= 1
            if not self.proxies[place]:
                for node in self.owners.pop(place):
                    self.values[node] = self.values[node].to("meta")

    def latest(self, node: torch.fx.Node) -> torch.fx.Node:
        """The node that gives a node's value now: that of the last operator which changed it in place."""
        found = self.changed.get(node, node)
        if found is None:
            raise TypeError("it takes a tensor after another form or a part of it is changed in place")
        return found

    def _note_changes(self, node: torch.fx.Node, inputs: list[Tensor]) -> None:
        """Note what an operator that changes inputs in place does to the values of all nodes."""
        result = self.values[node]
        changed = [result] if any(overlap(result, each) for each in inputs) else inputs
        for other, value in self.values.items():
            if other is node or not isinstance(value, Tensor) or value.is_meta:
                continue
            if any(overlap(value, each) for each in changed):
                self.changed[other] = node if is_same(value, result) else None

    def value(self, node: torch.fx.Node) -> Any:
        if node not in self.values and node.op == "get_attr":
            self.values[node] = attribute(self.root, node.target)
        return self.values[node]

    def _computed(self, node: torch.fx.Node) -> Any:
        args, kwargs = (torch.fx.node.map_arg(each, self.value) for each in (node.args, node.kwargs))
        self.computing = True
        try:
            # The user's code may be in inference mode, whose tensors do not say that they are changed in place.
            with torch.inference_mode(False), torch.no_grad():
                if node.op == "get_attr":
                    return attribute(self.root, node.target)
                if node.op == "call_method":
                    return getattr(args[0], node.target)(*args[1:], **kwargs)
                if node.op == "call_function":
                    return node.target(*args, **kwargs)
                module = self.root.get_submodule(node.target)
                training = module.training
                module.training = False  # running statistics stay as they are
                try:
                    return module(*args, **kwargs)
                finally:
                    module.training = training
        finally:
            self.computing = False


def gradient_cut(node: torch.fx.Node, frame: FrameType | None) -> str:
    """What ends the gradient at a node, or replaces it; empty where it is that of the operator."""
    if node.op == "get_attr":
        return ""
    if getattr(node.target, "__name__", node.target) in ("detach", "detach_"):
        return ".detach()"
    while frame:
        if frame.f_code is torch.autograd.Function.apply.__func__.__code__:
            return f"{frame.f_locals['cls'].__name__}.backward"
        frame = frame.f_back
    return "" if torch.is_grad_enabled() else "torch.no_grad()"


def tensors(value: Any) -> list[Tensor]:
    """The tensors of a value that is one, or of tuples and lists."""
    if isinstance(value, (tuple, list)):
        return [tensor for each in value for tensor in tensors(each)]
    return [value] if isinstance(value, Tensor) else []


def without_values(value: Any) -> Any:
    """A value whose tensors have shapes and types alone."""
    if isinstance(value, (tuple, list)):
        return rebuilt(value, [without_values(each) for each in value])
    return value.to("meta") if isinstance(value, Tensor) else value


def rebuilt(value: Any, parts: list[Any]) -> Any:
    """A tuple or list of the same type with other parts."""
    return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)


def is_same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are the same values in memory, in the same order."""
    places = [(each.data_ptr(), each.shape, each.stride()) for each in (one, other)]
    return places[0] == places[1]


def overlap(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have values in common in memory."""
    storages = one.untyped_storage(), other.untyped_storage()
    if storages[0].data_ptr() != storages[1].data_ptr() or is_same(one, other):
        return is_same(one, other)
    places = torch.arange(storages[0].nbytes() // one.element_size())
    taken = [places.as_strided(each.shape, each.stride(), each.storage_offset()) for each in (one, other)]
    return bool(torch.isin(*taken).any())


def attribute(root: nn.Module, target: str) -> Any:
    path, _, name = target.rpartition(".")
    return getattr(root.get_submodule(path), name)


def line_of(frame: FrameType | None, folder: Path) -> str:
    """File and line of the innermost code that is neither PyTorch's nor this script's."""
    while frame:
        file = frame.f_code.co_filename
        if not (file.startswith((LIBRARY, "<")) or file == __file__):
            return f"{shown(file, folder)}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def shown(file: str, folder: Path) -> str:
    """A file's name relative to the user's folder; in a library, its last folder and its name."""
    path = Path(file)
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else "/".join(path.parts[-2:])


# --- the user's file --------------------------------------------------------------------------------------------------


def fail(error: BaseException, folder: Path, before: str = "") -> None:
    """End the script with an exception's message and the line of the user's code."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith((LIBRARY, "<"))]
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(folder)]
    others = [frame for frame in frames if frame.filename != __file__]
    place = next((f"{shown(f.filename, folder)}:{f.lineno}: " for f in reversed(own or others)), "")
    message = " ".join(str(error).split())[:400]
    if isinstance(error, torch.fx.proxy.TraceError):
        sys.exit(f"{place}control flow on values: what is computed depends on the image ({message})")
    sys.exit(f"{place}{before}{type(error).__name__}: {message}")


def loaded(file: Path) -> ModuleType:
    sys.path.insert(0, str(file.parent))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec and spec.loader, "a file whose name ends in .py has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        sys.exit(f"{file.name}:{error.lineno}: {error.msg}")
    except ModuleNotFoundError as error:
        sys.modules.pop(spec.name)
        fail(error, file.parent, "an interpreter that has this module is named with --python: ")
    except BaseException as error:
        fail(error, file.parent)
    return module


def built(task: dict[str, Any], file: Path) -> nn.Module:
    """The module that the user's class or function gives, or that has the name itself."""
    module, name = loaded(file), task["name"]
    if not callable(getattr(module, name, None)):
        own = [key for key, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
        sys.exit(f"it has no class or function {name!r}; it has {', '.join(own) or 'none'}")
    make = getattr(module, name)
    if isinstance(make, nn.Module):
        if task["call"]:
            sys.exit(f"{name}({task['call']}): {name} is a module and no class or function: it takes no arguments here")
        net = make
    else:
        net = made(make, name, task["call"], file)
    return bare(net, name).cpu()


def made(make: Callable[..., Any], name: str, text: str, file: Path) -> nn.Module:
    """The module that a class or function gives for these arguments."""
    args, kwargs = arguments(name, text)
    try:
        signature = inspect.signature(make)
        signature.bind(*args, **kwargs)
    except TypeError as error:
        sys.exit(f"{name}({text}): {error}{hint(make, name, text, file, args, kwargs)}")
    except ValueError:
        pass  # a callable that does not say what it takes
    torch.manual_seed(0)
    try:
        net = make(*args, **kwargs)
    except BaseException as error:
        fail(error, file.parent)
    if not isinstance(net, nn.Module):
        sys.exit(f"{name}() gives {type(net).__name__} and no torch.nn.Module")
    return net


def arguments(name: str, text: str) -> tuple[list[Any], dict[str, Any]]:
    """The literal arguments of a call."""
    keywords: list[ast.keyword] = []
    try:
        call = ast.parse(f"f({text})", mode="eval").body
        assert isinstance(call, ast.Call)
        keywords = call.keywords
        return [ast.literal_eval(each) for each in call.args], {
            str(each.arg): ast.literal_eval(each.value) for each in keywords
        }
    except (SyntaxError, ValueError):
        example = next((f"{each.arg}=10" for each in keywords if each.arg), "10")
        sys.exit(f"{name}({text}): arguments are literals: {name}({example})")


def hint(make: Callable[..., Any], name: str, text: str, file: Path, args: list[Any], kwargs: dict[str, Any]) -> str:
    """How to give the arguments that are missing, or which there are."""
    parameters = inspect.signature(make).parameters
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    named = [key for key, each in parameters.items() if each.kind not in several]
    try:
        given = inspect.signature(make).bind_partial(*args, **kwargs).arguments
    except TypeError:  # too many, or unknown ones
        return f"; its arguments: {', '.join(named) or 'none'}"
    missing = [key for key in named if key not in given and parameters[key].default is inspect.Parameter.empty]
    wanted = [f"{key}=..." for key in missing]
    return f"; give it: {file.name}:{name}({', '.join([*filter(None, [text]), *wanted])})"


def bare(net: nn.Module, name: str) -> nn.Module:
    """A module without those that run it: nn.DataParallel, torch.compile."""
    wrappers = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while isinstance(net, wrappers) or hasattr(net, "_orig_mod"):
        net = net.module if isinstance(net, wrappers) else net._orig_mod
    for path, each in net.named_modules():
        if isinstance(each, torch.jit.ScriptModule):
            where = f"its {path}" if path else name
            sys.exit(f"{where} is made by torch.jit, which hides what forward computes: give the module before that")
    return net


# --- the graph --------------------------------------------------------------------------------------------------------


def traced(net: nn.Module, images: Tensor, folder: Path, keep: Iterable[str] | None = ()) -> ComputingTracer:
    tracer = ComputingTracer(images, folder, keep)
    try:
        returned = next(iter(reversed(tracer.trace(net).nodes)))
        returned.args = torch.fx.node.map_arg(returned.args, tracer.latest)
    except BaseException as error:
        fail(error, folder)
    return tracer


def outputs(tracer: ComputingTracer) -> list[str]:
    """Names of the nodes that forward returns, in order."""
    result = next(iter(reversed(tracer.graph.nodes))).args[0]
    while isinstance(result, torch.fx.Node) and isinstance(result.target, type):  # a named tuple
        result = result.args
    if isinstance(result, torch.fx.Node):
        return [result.name]
    listed = list(result.values()) if isinstance(result, dict) else list(result or ())
    names = [each.name for each in listed if isinstance(each, torch.fx.Node)]
    if not names or len(names) < len([each for each in listed if each is not None]):
        sys.exit("forward gives no tensor, or other things beside tensors")
    return names


def graph(tracer: ComputingTracer) -> dict[str, Any]:
    nodes = [described(tracer, node) for node in tracer.graph.nodes if node.op != "output" and node in tracer.values]
    return {"nodes": nodes, "outputs": outputs(tracer), "cuts": {node.name: cut for node, cut in tracer.cuts.items()}}


def described(tracer: ComputingTracer, node: torch.fx.Node) -> dict[str, Any]:
    """A node as JSON."""
    path, line = tracer.where.get(node, ("", ""))
    value = tracer.values[node]
    answer: dict[str, Any] = {"name": node.name, "path": path, "line": line}
    answer["args"], answer["kwargs"] = encoded(node.args), encoded(node.kwargs)
    answer["shape"] = list(value.shape) if isinstance(value, Tensor) else [list(each.shape) for each in tensors(value)]
    if node.op == "call_module":
        module = tracer.root.get_submodule(node.target)
        settings = {key: each for key, each in vars(module).items() if not key.startswith("_") and plain(each)}
        own = {**module._parameters, **module._buffers}
        settings["training"] = tracer.modes[node]
        answer |= {"op": "module", "target": kind_of(module), "path": node.target, "settings": settings}
        answer["arrays"] = {name: list(array.shape) for name, array in own.items() if array is not None}
        answer["hooks"] = bool(module._forward_hooks or module._forward_pre_hooks)
        answer["computed"] = "parametrizations" in module._modules
    elif node.op == "get_attr":
        trained = isinstance(value, nn.Parameter)
        answer |= {"op": "attribute", "target": node.target, "trained": trained, "computed": False}
        constant = value.detach().double()
        if not trained and (value.numel() <= MOST_CONSTANTS or constant.unique().numel() == 1):
            answer["constant"] = constant.tolist() if value.numel() <= MOST_CONSTANTS else float(constant.flatten()[0])
    elif node.op == "placeholder":
        answer |= {"op": "input", "target": ""}
    else:
        target = node.target if node.op == "call_method" else name_of(node.target)
        answer |= {"op": "function", "target": target, "written": written(node)}
    return answer


def name_of(function: Any) -> str:
    return str(_NAMES.get(id(function)) or getattr(function, "__name__", function))


def written(node: torch.fx.Node) -> str:
    """An operator as the user writes it: torch.flip(x), F.pad(x), x.flip(), x / y."""
    if node.op == "call_method":
        return f".{node.target}"
    name, module = name_of(node.target), str(getattr(node.target, "__module__", "") or "")
    if module in ("operator", "_operator"):
        return _SIGNS.get(name, f"operator.{name}")
    for where, space in (("torch", torch), ("F", F), (".", Tensor)):
        if getattr(space, name, None) is node.target:
            return f".{name}" if where == "." else f"{where}.{name}"
    if id(node.target) in _NAMES:
        return f"F.{name}"
    if module.startswith("torch._C._") and hasattr(torch, space := module.removeprefix("torch._C._")):
        return f"torch.{space}.{name.removeprefix(space + '_')}"  # torch.special, torch.linalg, torch.fft
    if hasattr(torch, name) and module.partition(".")[0] in ("torch", ""):
        return f"torch.{name}"
    return f"{module}.{name}" if module.partition(".")[0] in ("torch", "torchvision", "timm") else name


def plain(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return all(map(plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


def encoded(value: Any) -> Any:
    """Arguments as JSON: a node is {"node": name}, a slice {"slice": [start, stop, step]}."""
    if isinstance(value, torch.fx.Node):
        return {"node": value.name}
    if isinstance(value, slice):
        return {"slice": [encoded(value.start), encoded(value.stop), encoded(value.step)]}
    if isinstance(value, (tuple, list)):
        return [encoded(each) for each in value]
    if isinstance(value, dict):
        return {str(key): encoded(each) for key, each in value.items()}
    return value if plain(value) else {"other": str(value)}


def shared(net: nn.Module) -> list[list[str]]:
    """Names of parameters that are one array."""
    names: dict[int, list[str]] = {}
    for name, parameter in net.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return [each for each in names.values() if len(each) > 1]


def gradient_hooks(net: nn.Module) -> list[str]:
    """Names of modules and parameters with a hook that is given their gradient."""
    modules = [name or "the network" for name, each in net.named_modules() if each._backward_hooks]
    modules += [name or "the network" for name, each in net.named_modules() if each._backward_pre_hooks]
    parameters = [name for name, each in net.named_parameters() if each._backward_hooks]
    return list(dict.fromkeys(modules + parameters))


def array(tensor: Tensor) -> Any:
    """A tensor as an array; a short one becomes float32 exactly. NumPy lacks bfloat16."""
    return tensor.detach().to(torch.float32 if tensor.dtype in SHORT else tensor.dtype).numpy()


def called(net: nn.Module, images: Tensor) -> Any:
    with torch.no_grad():
        return net(images.clone())


def checked(given: Any, tracer: ComputingTracer, relative: float) -> None:
    """End the script if the module, called, has given something else than its graph."""
    first = next(iter(given.values())) if isinstance(given, dict) else given[0] if isinstance(given, tuple) else given
    node = next(each for each in tracer.graph.nodes if each.name == outputs(tracer)[0])
    expected = tracer.values[node]
    largest = float(expected[expected.isfinite()].abs().max()) if expected.isfinite().any() else 0.0
    if not torch.allclose(first, expected, rtol=relative, atol=relative * largest, equal_nan=True):
        sys.exit("in evaluation it gives other values at a second call: dropout without training=self.training?")


def main(work: str, folder: Path) -> None:
    task = json.loads((folder / "task.json").read_text())
    file = Path(task["file"])
    net = built(task, file)
    net.eval()  # not its result: a user's train() may give none
    if work == "values":
        state = net.state_dict()  # with the versions of the modules, which some read
        with np.load(folder / "arrays.npz") as arrays:
            state.update({name: torch.from_numpy(arrays[name]) for name in arrays.files})
        net.load_state_dict(state)
        images = torch.from_numpy(np.load(folder / "images.npy"))
        tracer = traced(net.double(), images, file.parent, task["values"])
        checked(called(net, images), tracer, 1e-9)
        np.savez(folder / "values.npz", **{name: value.detach().numpy() for name, value in tracer.kept.items()})
        return
    images = 255 * torch.rand(BATCH, *task["input"], generator=torch.Generator().manual_seed(1))
    types = sorted({str(each.dtype).removeprefix("torch.") for each in net.parameters() if each.dtype in SHORT})
    state = net.state_dict()
    np.savez(folder / "arrays.npz", **{name: array(tensor) for name, tensor in state.items()})
    net.float()
    before = {name: array(tensor.clone()) for name, tensor in net.named_buffers()}
    try:
        given = called(net, images)  # the module itself first: its errors are those that the user knows
    except BaseException as error:
        fail(error, file.parent, f"for an input of {'x'.join(map(str, task['input']))}: ")
    evaluation = traced(net, images, file.parent)
    checked(given, evaluation, 1e-3)
    answer: dict[str, Any] = {"evaluation": graph(evaluation), "types": types, "shared": shared(net)}
    read = evaluation.read
    del evaluation  # with the values of all nodes, before those in training
    net.train()
    training = traced(net, images, file.parent)
    answer["training"] = graph(training)
    answer["read"] = [
        name
        for name, each in net.named_buffers()
        if id(each) in read | training.read and np.array_equal(array(each), before[name], equal_nan=True)
    ]
    answer["frozen"] = [name for name, each in net.named_parameters() if not each.requires_grad]
    answer["gradient_hooks"] = gradient_hooks(net)
    (folder / "graph.json").write_text(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

"""Finds a network by its name, in a user's file, or in another program: `lenet`, `my_net.py:tiny`, `model.onnx`.

Networks of other programs are read by the importer that commands and the Python interface set.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.runtime import user_files
from benchmarks.runtime.errors import BadInput, ShapeMissing, refuse_repeated
from benchmarks.runtime.importers import Importer, importer_of
from frameworks.networks import NETWORKS
from frameworks.spec import Network, Shape, SpecError

NAME = re.compile(r"\w[\w.+=-]{0,63}")  # of a network: a part of the names of cells and files
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def network(text: str, *, classes: int | None = None, input: Shape | None = None) -> Network:
    """The network of this name or of `file.py:function`, with another input if one is given.

    text: a key of `NETWORKS`, `file.py:function`, or what the importer takes: `model.py:Net@3x32x32`, `model.onnx`.
    classes: passed to a function that has an argument `classes`. input: channels, height, width. Raises BadInput, with
    the reason in one line, and Unavailable for a network of a program that is not here.
    """
    try:
        if (importer := _importer(text)) is not None:
            return _imported(importer, text, input, _modified(text))
        if user_files.is_file(text):
            _rehearse(text, classes, _modified(text))
            net = _from_file(text, classes)
        else:
            function = _by_name(text)
            net = function(**_arguments(function, classes))
        return net if input is None else net.with_input(input)
    except ShapeMissing as error:
        raise BadInput(f"--net {error.problem}; write the shape behind it, such as {text}@3x32x32") from None
    except SpecError as error:
        source = f"--net {text}: " if user_files.is_file(text) else ""
        raise BadInput(f"{source}{error}") from None


def networks(texts: Sequence[str], *, classes: int | None = None) -> dict[str, Network]:
    """The networks of `--net` by their text; `all` stands for every network of `NETWORKS`.

    Rows of reports, cells and certificates are identified by the name of a network, so two networks of one name are
    refused, whether they are the same network or different ones. So is a network without trained arrays. Raises
    BadInput.
    """
    listed = [name for text in texts for name in (NETWORKS if text == "all" else [text])]
    refuse_repeated("net", listed)
    loaded: dict[str, Network] = {}
    for text in listed:
        net = network(text, classes=classes)
        for other, known in loaded.items():
            if known.name == net.name:
                same = "are the same network" if known.sha256 == net.sha256 else f"have the name {net.name}; rename one"
                raise BadInput(f"--net {','.join(texts)}: {other} and {text} {same}")
        if not any(parameter.trainable for parameter in net.parameters):
            raise BadInput(f"--net {text}: no layer of {net.name} has weights, so there is nothing to train")
        loaded[text] = net
    return loaded


def with_shape(text: str, shape: Callable[[], Shape]) -> str:
    """The text of a network, with the shape of its images where that is missing: `model.py:Net@3x32x32`.

    shape: called only where it is missing. Raises BadInput.
    """
    importer = _importer(text)
    try:
        if importer is not None:
            _imported(importer, text, None, _modified(text))
    except ShapeMissing:
        return f"{text}@{'x'.join(map(str, shape()))}"
    return text


def check_name(net: Network, source: str) -> None:
    """Raise BadInput, which starts with `source`, unless the network's name can be a part of a cell's name."""
    if not isinstance(net.name, str) or not NAME.fullmatch(net.name):
        raise BadInput(
            f"{source}: its network has the name {net.name!r:.80}; use a string of 1 to 64 letters, digits and _ . + = "
            "- that starts with a letter, a digit or _"
        )


def _by_name(name: str) -> Callable[..., Network]:
    if name in NETWORKS:
        return NETWORKS[name]
    near = difflib.get_close_matches(name, NETWORKS, n=1)
    if near:
        raise BadInput(f"--net {name}: no such network. Did you mean {near[0]}? `onespec networks` lists all")
    raise BadInput(f"--net {name}: no such network; write FILE.py:FUNCTION, or a name that `onespec networks` lists")


def _importer(text: str) -> Importer | None:
    """The importer, for a text that it takes."""
    return None if text in NETWORKS else importer_of(text)


@cache
def _imported(importer: Importer, text: str, input: Shape | None, modified: int) -> Network:
    """The network of another program, read once for each version of its file. Raises BadInput."""
    net = importer.network(text, input)
    check_name(net, f"--net {text}")
    return net


def _arguments(function: Callable[..., Any], classes: int | None) -> dict[str, int]:
    parameters = inspect.signature(function).parameters
    return {"classes": classes} if classes is not None and "classes" in parameters else {}


@cache
def _rehearse(text: str, classes: int | None, modified: int) -> None:
    """Refuse a file that would end or occupy this process, once for each version of the file. Raises BadInput."""
    user_files.rehearse(f"--net {text}", lambda: _from_file(text, classes))


def _modified(text: str) -> int:
    """When a user's file was modified, in nanoseconds; 0 if there is none, which its reader reports."""
    path = Path(user_files.split(text)[0] if user_files.is_file(text) else text)
    return path.stat().st_mtime_ns if path.is_file() else 0


def _from_file(text: str, classes: int | None) -> Network:
    """The network that a function of the user's file returns. Raises SpecError and BadInput."""
    option = f"--net {text}"
    file, name = user_files.split(text)
    module = user_files.load(option, file)
    functions = {key: value for key, value in vars(module).items() if inspect.isfunction(value)}
    if name not in functions:
        defined = [key for key, value in functions.items() if value.__module__ == module.__name__]
        problem = f"it has no function {name}" if name else "name one of its functions"
        raise BadInput(f"{option}: {problem}: {', '.join(defined) or 'it has none'}; write {file}:FUNCTION")
    function = functions[name]
    parameters = inspect.signature(function).parameters.values()
    if required := [item.name for item in parameters if item.default is item.empty and item.kind not in _VARIADIC]:
        raise BadInput(f"{option}: {name} needs {', '.join(required)}; give every argument a default")
    net: Any = user_files.run(f"{option}: {name}() fails", file, lambda: function(**_arguments(function, classes)))
    if not isinstance(net, Network):
        raise BadInput(f"{option}: {name}() returns {type(net).__name__}, not frameworks.spec.Network")
    check_name(net, option)
    return net

"""Finds a network by name, or in a user's own file: `lenet`, `my_net.py:tiny`."""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.runtime.errors import BadInput
from frameworks.networks import NETWORKS
from frameworks.spec import Network, Shape, SpecError


def network(text: str, *, classes: int | None = None, input: Shape | None = None) -> Network:
    """The network of this name or of a user's `file.py:function`, on another input where one is given.

    `classes` is handed to a function that has an argument of this name. BadInput says, in one line, why there is none.
    """
    try:
        if text.endswith(".py") or text.rpartition(":")[0].endswith(".py"):
            made = _from_file(text, classes)
        else:
            function = _named(text)
            made = function(**_arguments(function, classes))
        return made if input is None else made.with_input(input)
    except SpecError as error:
        raise BadInput(str(error)) from None


def _named(name: str) -> Callable[..., Network]:
    if name in NETWORKS:
        return NETWORKS[name]
    near = difflib.get_close_matches(name, NETWORKS, n=1)
    meant = f" Did you mean {near[0]}?" if near else ""
    raise BadInput(f"--net {name}: no such network.{meant} There are {', '.join(NETWORKS)}; or file.py:function")


def _arguments(function: Callable[..., Any], classes: int | None) -> dict[str, int]:
    parameters = inspect.signature(function).parameters
    return {"classes": classes} if classes is not None and "classes" in parameters else {}


def _from_file(text: str, classes: int | None) -> Network:
    """What a function of a user's file returns. Whatever the user's own code raises is told in one line."""
    name, _, wanted = text.rpartition(":") if not text.endswith(".py") else (text, "", "")
    module = _imported(text, name)
    functions = {key: value for key, value in vars(module).items() if inspect.isfunction(value)}
    if wanted not in functions:
        there_are = ", ".join(key for key in functions if functions[key].__module__ == module.__name__) or "none"
        what = f"it has no function {wanted}" if wanted else "which of its functions?"
        raise BadInput(f"--net {text}: {what}; there are {there_are}; write {name}:function")
    function = functions[wanted]
    parameters = inspect.signature(function).parameters.values()
    if missing := [item.name for item in parameters if item.default is item.empty and item.kind not in _ANY_NUMBER]:
        raise BadInput(f"--net {text}: {wanted} needs {', '.join(missing)}; give every argument a default")
    try:
        made: Any = function(**_arguments(function, classes))
    except SpecError:
        raise
    except Exception as error:
        raise BadInput(f"--net {text}: {wanted}() raises {_told(error)}") from None
    if not isinstance(made, Network):
        raise BadInput(f"--net {text}: {wanted}() returns a {type(made).__name__}, not a frameworks.spec.Network")
    return made


_ANY_NUMBER = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _imported(text: str, name: str) -> ModuleType:
    """The user's file as a module, under a name that no other module has."""
    path = Path(name)
    if not path.is_file():
        raise BadInput(f"--net {text}: no file {name}")
    spec = importlib.util.spec_from_file_location(f"onespec_user_{path.stem}", path)
    assert spec and spec.loader, "a file that ends in .py has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # a dataclass in it looks itself up there
    try:
        spec.loader.exec_module(module)
    except SpecError:
        raise
    except Exception as error:
        raise BadInput(f"--net {text}: it does not import: {_told(error)}") from None
    return module


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"

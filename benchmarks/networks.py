"""Finds a network by name, or in a user's own file: `lenet`, `my_net.py:tiny`."""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.errors import BadInput
from frameworks.networks import NETWORKS
from frameworks.spec import Network, Shape, SpecError


def network(text: str, *, classes: int | None = None, input: Shape | None = None) -> Network:
    """The network of this name, with another number of classes or input where given. BadInput says what there is."""
    function = _from_file(text) if ".py" in text else _by_name(text)
    arguments = (
        {} if classes is None or "classes" not in inspect.signature(function).parameters else {"classes": classes}
    )
    try:
        made: Any = function(**arguments)
        if not isinstance(made, Network):
            raise BadInput(f"--net {text}: it returns a {type(made).__name__}, not a frameworks.spec.Network")
        return made if input is None else made.with_input(input)
    except SpecError as error:
        raise BadInput(str(error)) from None
    except TypeError as error:
        raise BadInput(f"--net {text}: {error}; a network is a function whose arguments all have defaults") from None


def _by_name(name: str) -> Callable[..., Any]:
    if name in NETWORKS:
        return NETWORKS[name]
    near = difflib.get_close_matches(name, NETWORKS, n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    raise BadInput(f"--net {name}: no such network{meant} There are {', '.join(NETWORKS)}; or file.py:function")


def _from_file(text: str) -> Callable[..., Any]:
    """A function of a user's file, which is run under a name of its own."""
    name, _, wanted = text.partition(":")
    path = Path(name)
    if not wanted:
        raise BadInput(f"--net {text}: which function? Write {text}:name")
    if not path.is_file():
        raise BadInput(f"--net {text}: no file {name}")
    spec = importlib.util.spec_from_file_location(f"onespec_{path.stem}", path)
    assert spec and spec.loader, "a file that ends in .py has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except SpecError as error:
        raise BadInput(f"--net {text}: {error}") from None
    except Exception as error:  # the user's own code: whatever it raises is the answer
        raise BadInput(f"--net {text}: {name} does not import: {type(error).__name__}: {error}") from None
    found = getattr(module, wanted, None)
    if not callable(found):
        functions = [
            key for key, value in vars(module).items() if inspect.isfunction(value) and not key.startswith("_")
        ]
        raise BadInput(f"--net {text}: no function {wanted} in {name}; there are {', '.join(functions) or 'none'}")
    return found

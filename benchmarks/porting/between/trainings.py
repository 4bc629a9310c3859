"""A training on the command line: `SGD(momentum=0.9, weight_decay=5e-4), label_smoothing=0.1`."""

from __future__ import annotations

import ast
from dataclasses import fields
from typing import Any

from benchmarks.runtime.errors import BadInput
from benchmarks.runtime.user_files import one_line
from frameworks.training import KINDS, SGD, Optimizer, Training

EXAMPLE = "SGD(momentum=0.9, weight_decay=5e-4), label_smoothing=0.1"


def parsed(option: str, text: str) -> Training:
    """The training whose arguments `text` gives as Python writes them: names of optimizers and literals, no other code.

    Raises BadInput, whose message starts with `option`.
    """
    try:
        call = ast.parse(f"Training({text})", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or len(call.args) > 1:
            raise ValueError("write one optimizer, then arguments with names")
        given = _arguments(call, Training)
        return Training(_optimizer(call.args[0]) if call.args else SGD(), **given)
    except (SyntaxError, ValueError, TypeError) as error:
        raise BadInput(f"{option} {text!r:.80}: {one_line(error)}; write for example {EXAMPLE}") from None


def _optimizer(node: ast.expr) -> Optimizer:
    call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
    if not isinstance(call.func, ast.Name) or call.func.id not in KINDS:
        raise ValueError(f"no optimizer {ast.unparse(call.func):.40}; there are {', '.join(KINDS)}")
    if call.args:
        raise ValueError(f"write the arguments of {call.func.id} with their names")
    kind = KINDS[call.func.id]
    return kind(**_arguments(call, kind))


def _arguments(call: ast.Call, kind: type[Any]) -> dict[str, Any]:
    """The literals of a call by name, of the types that the class has; ValueError for others."""
    defaults = {item.name: item.default for item in fields(kind) if item.name != "optimizer"}
    given = {str(each.arg): _literal(each.value) for each in call.keywords}
    for name, value in given.items():
        if name not in defaults:
            raise ValueError(f"{kind.__name__} has no argument {name}; it has {', '.join(defaults)}")
        is_flag, is_number = isinstance(defaults[name], bool), isinstance(defaults[name], float)
        if isinstance(value, bool) != is_flag or (is_number and not isinstance(value, (int, float))):
            raise ValueError(f"{name} is {value!r:.40}, not {'True or False' if is_flag else 'a number'}")
    return given


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise ValueError(f"{ast.unparse(node):.40} is no literal") from None

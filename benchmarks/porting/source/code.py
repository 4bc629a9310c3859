"""Expressions of Python, printed as `ruff format` prints them in lines of 120 characters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

WIDTH = 120


@dataclass(frozen=True)
class Call:
    """`head(parts)`, or a list, where the head is empty and the brackets are square.

    parts: prefix, such as `stride=` or `*`, and expression. exploded: one part on each line. comment: on the line
    above.
    """

    head: str
    parts: tuple[tuple[str, Expression], ...] = ()
    brackets: str = "()"
    exploded: bool = False
    comment: str = ""
    ending: str = ""  # behind the closing bracket: a comprehension's

    def __str__(self) -> str:
        inner = ", ".join(f"{prefix}{part}" for prefix, part in self.parts)
        return f"{self.head}{self.brackets[0]}{inner}{self.ending}{self.brackets[1]}"


Expression: TypeAlias = "Call | str"


def call(head: str, *values: Any, comment: str = "", **keywords: Any) -> Call:
    """A call with positional arguments and keywords; a keyword that is None is left out."""
    parts = [("", as_expression(value)) for value in values]
    parts += [(f"{name}=", as_expression(value)) for name, value in keywords.items() if value is not None]
    return Call(head, tuple(parts), comment=comment)


def listed(head: str, items: Sequence[tuple[str, Expression]], most: int = 2) -> Call:
    """A call with an argument on each line where there are more than `most`."""
    return Call(head, tuple(items), exploded=len(items) > most)


def as_expression(value: Any) -> Expression:
    return value if isinstance(value, (Call, str)) else literal(value)


class Symbol(str):
    """A value that is an expression of names."""


def literal(value: Any) -> str:
    if isinstance(value, Symbol):
        return str(value)
    if isinstance(value, tuple):
        inner = ", ".join(map(literal, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if (isinstance(value, float) and 0 < abs(value) < 1e-3) or (isinstance(value, float) and abs(value) >= 1e16):
        mantissa, _, exponent = f"{value!r}".partition("e")
        if exponent:
            return f"{mantissa}e{int(exponent)}"
    return repr(value).replace("'", '"') if isinstance(value, str) else repr(value)


def commented(expression: Expression) -> bool:
    return isinstance(expression, Call) and (
        bool(expression.comment) or any(commented(part) for _, part in expression.parts)
    )


def statement(prefix: str, expression: Expression, indent: int, suffix: str = "") -> list[str]:
    """The lines of `prefix expression suffix`, the comment above them."""
    space = " " * indent
    lines = [f"{space}# {expression.comment}"] if isinstance(expression, Call) and expression.comment else []
    whole = f"{space}{prefix}{expression}{suffix}"
    inner_comment = isinstance(expression, Call) and any(commented(part) for _, part in expression.parts)
    if isinstance(expression, str) or not expression.parts:
        return [*lines, whole]
    if len(whole) <= WIDTH and not _exploded(expression) and not inner_comment:
        return [*lines, whole]
    opening, closing = expression.brackets[0], expression.brackets[1]
    lines.append(f"{space}{prefix}{expression.head}{opening}")
    body = ", ".join(f"{name}{part}" for name, part in expression.parts) + expression.ending
    one_line = f"{space}    {body}"
    if len(one_line) <= WIDTH and not _exploded(expression) and not inner_comment:
        lines.append(one_line)
    elif expression.ending:
        (name, part), *_ = expression.parts
        lines += statement(name, part, indent + 4)
        lines.append(f"{space}    {expression.ending.strip()}")
    else:
        for name, part in expression.parts:
            lines += statement(name, part, indent + 4, "," if len(expression.parts) > 1 else "")
    lines.append(f"{space}{closing}{suffix}")
    return lines


def divided_statement(line: str) -> list[str]:
    """The lines of an assignment, a `return` or a call; one that is too long is divided at its brackets."""
    match = re.match(r"( *)(\w+ = |return |)(.*)$", line)
    return statement(match[2], parsed(match[3]), len(match[1])) if match and len(line) > WIDTH else [line]


def parsed(text: str) -> Expression:
    """A call or list in the text of an expression; other expressions as they are."""
    match = re.match(r"[\w.]*[(\[]", text)
    if not match or not _closes_at_end(text):
        return text
    head, opening, inner = match[0][:-1], match[0][-1], text[match.end() : -1]
    parts = []
    for part in divided(inner):
        name = re.match(r"\w+=", part)
        parts.append((name[0], parsed(part[name.end() :])) if name else ("", parsed(part)))
    return Call(head, tuple(parts), brackets="()" if opening == "(" else "[]")


def divided(text: str) -> list[str]:
    """The parts between the outer commas."""
    parts, depth, begin = [], 0, 0
    for index, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append(text[begin:index].strip())
            begin = index + 1
    return [part for part in [*parts, text[begin:].strip()] if part]


def _closes_at_end(text: str) -> bool:
    """Whether the first bracket closes at the end."""
    depth = 0
    for index, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if letter in ")]}" and depth == 0:
            return index == len(text) - 1
    return False


def _exploded(expression: Expression) -> bool:
    """Whether it has a comma before its end somewhere, which keeps its lines apart."""
    return isinstance(expression, Call) and (
        expression.exploded or any(_exploded(part) for _, part in expression.parts)
    )

"""The user's own Python files: `my_net.py:tiny` for a network, `my_adapter.py:MyFramework` for an adapter."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import os
import re
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from benchmarks.runtime.errors import BadInput
from frameworks.spec import SpecError

T = TypeVar("T")

REHEARSAL = 30.0  # seconds in which a user's file is imported and builds its network
REHEARSED = 86  # exit code of a copy that was not ended by the user's code
_FILE = re.compile(r"(?P<file>.*?\.py)(?::(?P<name>.*))?", re.DOTALL)


def is_file(text: str) -> bool:
    """Whether an option's value is a Python file, with or without a name in it."""
    return _FILE.fullmatch(text) is not None


def split(text: str) -> tuple[str, str]:
    """`my_net.py:tiny` as (`my_net.py`, `tiny`); the second part is empty if it is missing.

    The name may have arguments: `model.py:Net("a:b.py")`.
    """
    parts = _FILE.fullmatch(text)
    if parts is None:
        file, _, name = text.rpartition(":")
        return file, name
    return parts["file"], parts["name"] or ""


def listed(text: str) -> list[str]:
    """The parts between commas, without those in parentheses: `lenet,model.py:Net(10, 3)` has two."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def expanded(text: str) -> Path:
    """A path with `~` replaced by a home folder, where there is one."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # no user of this name
        return Path(text)


def parse(option: str, file: str) -> ast.Module:
    """The syntax tree of a file, which is not executed. Raises BadInput, whose message starts with `option`."""
    try:
        return ast.parse(expanded(file).read_bytes())
    except OSError as error:
        raise BadInput(f"{option}: {file} cannot be read: {error.strerror}") from None
    except (SyntaxError, ValueError) as error:  # ValueError: bytes that are not text
        raise BadInput(f"{option}: {file} is not Python: {one_line(error)}") from None


def load(option: str, file: str) -> ModuleType:
    """Import a file as a module, under a name that no other module has.

    Raises SpecError as the file does, and BadInput, whose message starts with `option`, for every other exception.
    """
    path = Path(file)
    if not path.is_file():
        raise BadInput(f"{option}: no file {file}")
    spec = importlib.util.spec_from_file_location(f"onespec_user_{path.stem}", path)
    assert spec and spec.loader, "a file whose name ends in .py has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # a dataclass in the file looks its module up there
    run(f"{option}: it does not import", file, partial(spec.loader.exec_module, module))
    return module


def run(problem: str, file: str, work: Callable[[], T]) -> T:
    """The result of the user's code. What it prints goes to standard error.

    Raises SpecError as the code does, and BadInput for every other exception and for `sys.exit`: `problem`, the
    exception and the line of `file` where it was raised.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return work()
    except (SpecError, KeyboardInterrupt):
        raise
    except BaseException as error:  # the user's code may raise anything
        what = ": ".join(filter(None, (type(error).__name__, one_line(error))))
        raise BadInput(f"{problem}: {what}{_place(error, file)}") from None


def rehearse(option: str, work: Callable[[], object], seconds: float = REHEARSAL) -> None:
    """Run the user's code in a copy of this process, which it may end, abort or occupy for ever.

    An exception in the copy is left to the run in this process. Raises BadInput if the copy ends in another way, or not
    within `seconds`. Nothing is rehearsed where a copy is not safe: beside other threads, and on other systems than
    Linux.
    """
    if sys.platform != "linux" or threading.active_count() > 1:
        return
    ended, alive = os.pipe()  # the copy alone holds `alive`, so its end shows at `ended`
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.flush()
    child = os.fork()
    if child == 0:
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)  # the run in this process prints the same
            os.dup2(null, 2)
            work()
        finally:
            os._exit(REHEARSED)
    os.close(alive)
    try:
        in_time = bool(select.select([ended], [], [], seconds)[0])
    finally:
        os.kill(child, signal.SIGKILL)  # without effect on a copy that has ended
        os.close(ended)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if not in_time:
        raise BadInput(f"{option}: not ready within {seconds:g} s; build the network without long loops or downloads")
    if status != REHEARSED:
        how = f"is ended by {signal.Signals(-status).name}" if status < 0 else f"ends with exit code {status}"
        raise BadInput(f"{option}: the process that imports it {how}; remove os._exit, os.abort and the like")


def _place(error: BaseException, file: str) -> str:
    """The file and line of the user's code in which an exception was raised; a SyntaxError names them itself."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == Path(file)]
    return f" ({file}, line {frames[-1].lineno})" if frames and not isinstance(error, SyntaxError) else ""


def one_line(error: BaseException) -> str:
    """An exception's message without line breaks; empty if the exception, of the user's code, fails to give one."""
    try:
        return " ".join(str(error).split())
    except Exception:  # the user's `__str__` may raise anything
        return ""

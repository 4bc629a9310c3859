"""What a command says when it cannot do what it was asked: one line, and its exit status."""

from __future__ import annotations

import argparse
from typing import NoReturn


class BadInput(ValueError):
    """A request that cannot be met: the option, what was given, what there is, the remedy. Exit status 2."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are `BadInput` too: one line, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{message.removeprefix('argument ')}; {self.prog} --help lists the options")

"""What a command says when it cannot do what it was asked: one line, and its exit status."""

from __future__ import annotations


class BadInput(ValueError):
    """A request that cannot be met: the option, what was given, what there is, the remedy. Exit status 2."""

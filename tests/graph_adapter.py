"""Mode "graph" of PyTorch without a GPU: the same steps on the same static buffers, called on the host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from frameworks.pytorch import PyTorch
from frameworks.pytorch.graphs import StepGraph


class OnTheHost(PyTorch):
    step_graph = StepGraph


class WarmUpsCount(OnTheHost):
    """The steps before the capture train the network."""

    @contextmanager
    def _undone(self) -> Iterator[None]:
        yield

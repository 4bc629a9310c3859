"""The MXNet Gluon adapter without one of its choices at a time."""

from __future__ import annotations

from typing import Any

from mxnet.gluon import HybridBlock

from frameworks.adapter import Setting
from frameworks.mxnet_gluon.adapter import Graph, MXNetGluon
from frameworks.mxnet_gluon.optimizers import update_by_arithmetic
from frameworks.spec import Network
from frameworks.training import Training


class PlainGraph(Graph):
    """`hybridize()` without static memory or static shapes."""

    def __init__(self, block: type[HybridBlock], *arguments: Any, active: bool) -> None:
        super().__init__(block, *arguments, active=active)
        for graph in (self.full, self.other):
            graph.hybridize(active)


class Unplanned(MXNetGluon):
    """Every step allocates its memory."""

    graph = PlainGraph


class PlainOptimizer(MXNetGluon):
    """The update as separate operations, one per term."""

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, training, setting)
        self.update = update_by_arithmetic

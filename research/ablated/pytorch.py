"""PyTorch's adapter, each time without one of its choices."""

from __future__ import annotations

import torch

from frameworks.adapter import Setting
from frameworks.pytorch import PyTorch, adapter
from frameworks.spec import Network, Node, Pool
from frameworks.training import Training


class Contiguous(PyTorch):
    """Channels first in memory, PyTorch's own layout."""

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        adapter.LAYOUT = torch.contiguous_format
        super().__init__(network, training, setting)


class Fused(PyTorch):
    """SGD in one pass over the memory, as Adam has it."""

    def _fused(self) -> bool:
        return True


class PaddedBefore(PyTorch):
    """What a pooling layer could pad by itself is an operation of its own."""

    @classmethod
    def pads(cls, node: Node) -> bool:
        return not isinstance(node.layer, Pool) and super().pads(node)

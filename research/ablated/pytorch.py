"""The PyTorch adapter without one of its choices at a time."""

from __future__ import annotations

import torch

from frameworks.adapter import Setting
from frameworks.pytorch import PyTorch, adapter
from frameworks.spec import Network, Node, Pool
from frameworks.training import Training


class Contiguous(PyTorch):
    """Channels first in memory, PyTorch's default."""

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        adapter.LAYOUT = torch.contiguous_format
        super().__init__(network, training, setting)


class Fused(PyTorch):
    """Fused SGD: one pass over memory."""

    def _fused(self) -> bool:
        return True


class PaddedBefore(PyTorch):
    """Padding as a separate operation, even where the pooling layer could pad."""

    @classmethod
    def pads(cls, node: Node) -> bool:
        return not isinstance(node.layer, Pool) and super().pads(node)

"""PyTorch's adapter, each time without one of its choices."""

from __future__ import annotations

import torch

from frameworks import pytorch
from frameworks.adapter import Setting
from frameworks.pytorch import PyTorch
from frameworks.spec import Network
from frameworks.training import Training


class Contiguous(PyTorch):
    """Channels first in memory, PyTorch's own layout."""

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        pytorch.LAYOUT = torch.contiguous_format
        super().__init__(network, training, setting)


class PlainOptimizer(PyTorch):
    """`torch.optim` as it is where nobody asks for anything: on a CPU array by array, term by term."""

    def _new_optimizer(self) -> torch.optim.Optimizer:
        optimizer = super()._new_optimizer()
        for group in optimizer.param_groups:
            group["fused"] = False
        return optimizer

"""A training step as a CUDA graph: recorded once for a size of batch, and replayed without the host's part of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from frameworks.adapter import Setting
from frameworks.errors import Unavailable
from frameworks.pytorch.optimizers import written_out
from frameworks.training import SGD, Adam, RMSprop, Training

# Of the indices of a batch and the learning rate: the loss before the step, and the number of correct images.
Step: TypeAlias = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

WARM_UPS = 3  # steps before the capture, in which libraries choose and load their kernels: PyTorch's notes on CUDA


class StepGraph:
    """A step on static buffers, called on the host: what `CudaStepGraph` does, without a graph."""

    def __init__(self, step: Step, batch: Tensor, lr: Tensor) -> None:
        """The buffers begin as copies of a batch of indices and a learning rate. `step` changes weights."""
        self.step, self.batch, self.lr = step, batch.clone(), lr.clone()
        self._record()

    @staticmethod
    def check(training: Training, setting: Setting) -> None:
        """`Unavailable` where a step cannot be recorded."""
        if reason := host_part(training, setting):
            raise Unavailable(f"no CUDA graph of a step: {reason}")

    def __call__(self, batch: Tensor, lr: float) -> tuple[Tensor, Tensor]:
        """One step. The next call overwrites the results."""
        self.batch.copy_(batch)
        self.lr.fill_(lr)
        self._replay()
        return self.results

    def _record(self) -> None:
        self._warm_up()

    def _warm_up(self) -> None:
        for _ in range(WARM_UPS):
            self.results = self.step(self.batch, self.lr)

    def _replay(self) -> None:
        self.results = self.step(self.batch, self.lr)


class CudaStepGraph(StepGraph):
    @staticmethod
    def check(training: Training, setting: Setting) -> None:
        if setting.device != "cuda":
            raise Unavailable("CUDA graphs need a CUDA device")
        StepGraph.check(training, setting)
        if setting.precision == "float64" and isinstance(training.optimizer, (SGD, Adam)):
            raise Unavailable("no CUDA graph of a step: the fused optimizers read its learning rate in float32")

    def _record(self) -> None:
        side, current = torch.cuda.Stream(), torch.cuda.current_stream()
        side.wait_stream(current)
        with torch.cuda.stream(side):
            self._warm_up()
        current.wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.results = self.step(self.batch, self.lr)

    def _replay(self) -> None:
        self.graph.replay()


def host_part(training: Training, setting: Setting) -> str:
    """What the host computes anew in every step of this training, which a graph would repeat; else empty."""
    rule = training.optimizer
    if setting.precision == "float16":
        return "in float16 the host decides from the gradients whether a step is taken"
    if isinstance(rule, Adam) and rule.epsilon_hat:
        return "epsilon_hat changes the epsilon of torch.optim.Adam in every step"
    if isinstance(rule, SGD) and rule.lr_in_velocity and rule.momentum and rule.weight_decay and not rule.decoupled:
        return "lr_in_velocity changes the decay of torch.optim.SGD with the learning rate"
    if isinstance(rule, RMSprop) and written_out(rule):
        return "this form of RMSprop is written out with the learning rate on the host"
    return ""

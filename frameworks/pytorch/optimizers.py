"""The optimizers of PyTorch in the forms of the spec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from frameworks.training import SGD, Adam, Optimizer, RMSprop

# The optimizer's arrays in PyTorch.
SLOTS = {
    "velocity": "momentum_buffer",
    "first_moment": "exp_avg",
    "second_moment": "exp_avg_sq",
    "square_average": "square_avg",
    "square_change": "acc_delta",
}


@torch.no_grad()
def adapt(group: dict[str, Any], rule: Optimizer, lr: float | Tensor, step: int) -> None:
    """Set a group's options for one step; where torch.optim's rule has another form, adapt it to the spec's."""
    lr = lr * group["factor"]
    group["lr"] = lr
    if isinstance(rule, Adam):
        if rule.epsilon_hat:  # torch.optim adds its epsilon to sqrt(v) / sqrt(1 - beta2^t)
            group["eps"] = rule.epsilon / (1 - rule.beta2**step) ** 0.5
        return
    decay = group.setdefault("decay", group["weight_decay"])
    if rule.decoupled:
        group["weight_decay"] = 0.0
        for weight in group["params"] if decay else ():
            weight.mul_(1 - lr * decay)
    if isinstance(rule, SGD) and rule.lr_in_velocity and rule.momentum:
        # Scale what enters the velocity, and nothing else.
        group["lr"], group["weight_decay"] = 1.0, 0.0 if rule.decoupled else lr * decay
        for weight in group["params"]:
            weight.grad.mul_(lr)


def written_out(rule: RMSprop) -> bool:
    """Whether torch.optim.RMSprop lacks the form of a rule."""
    return rule.epsilon_inside or bool(rule.momentum and rule.lr_in_velocity)


class OtherRMSprop(torch.optim.Optimizer):
    """The forms that torch.optim.RMSprop lacks: epsilon inside the root, the learning rate in the velocity."""

    def __init__(self, groups: list[dict[str, Any]], rule: RMSprop) -> None:
        super().__init__(groups, {"lr": 0.0})
        self.rule = rule

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            decay = group["weight_decay"]
            for weight in group["params"]:
                gradient = weight.grad.add(weight, alpha=decay) if decay else weight.grad
                self._move(weight, gradient, group["lr"])

    def _move(self, weight: Tensor, gradient: Tensor, lr: float) -> None:
        """Overwrites the gradient."""
        rule, state = self.rule, self.state[weight]
        if not state:
            state.update({SLOTS[slot]: torch.zeros_like(weight) for slot in rule.slots})
        square = state["square_avg"].mul_(rule.rho).addcmul_(gradient, gradient, value=1 - rule.rho)
        root = square.add(rule.epsilon).sqrt_() if rule.epsilon_inside else square.sqrt().add_(rule.epsilon)
        change = gradient.div_(root)
        if rule.momentum:
            change = state["momentum_buffer"].mul_(rule.momentum).add_(change, alpha=lr if rule.lr_in_velocity else 1)
        weight.sub_(change, alpha=1 if rule.momentum and rule.lr_in_velocity else lr)


@torch.no_grad()
def clip(gradients: Sequence[Tensor], limit: float) -> None:
    """Multiply gradients by min(1, limit / norm), norm that of all of them together.

    torch.nn.utils.clip_grad_norm_ multiplies by min(1, limit / (norm + 1e-6)).
    """
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients]))
    factor = limit / norm.clamp(min=limit)
    for gradient in gradients:
        gradient.mul_(factor)

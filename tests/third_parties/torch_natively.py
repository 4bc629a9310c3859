"""Prints the defaults of PyTorch, its initial values, and the arrays after steps of its optimizers.

The argument is JSON: see `tests/contract/test_semantics.py`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

ATTRIBUTES = {"F.weight": "F.weight", "F.bias": "F.bias", "B.gamma": "B.weight", "B.beta": "B.bias"}


def points() -> dict[str, float]:
    """Defaults, read off or measured."""
    norm, column = nn.BatchNorm1d(1), torch.tensor([[1.0], [3.0]])
    norm(column)
    variance = (norm.running_var.item() - 1 + norm.momentum) / norm.momentum
    window = nn.LocalResponseNorm(3, alpha=1, beta=1, k=0)(torch.ones(1, 3, 1, 1))
    resized = F.interpolate(torch.tensor([[[[0.0, 1]]]]), size=(1, 4), mode="bilinear")
    return {
        "epsilon": torch.optim.Adam(norm.parameters()).defaults["eps"],
        "rmsprop_epsilon": torch.optim.RMSprop(norm.parameters()).defaults["eps"],
        "rmsprop_rho": torch.optim.RMSprop(norm.parameters()).defaults["alpha"],
        "adadelta_epsilon": torch.optim.Adadelta(norm.parameters()).defaults["eps"],
        "adadelta_rho": torch.optim.Adadelta(norm.parameters()).defaults["rho"],
        "adadelta_lr": torch.optim.Adadelta(norm.parameters()).defaults["lr"],
        "adamw_decay": torch.optim.AdamW(norm.parameters()).defaults["weight_decay"],
        "norm_epsilon": norm.eps,
        "norm_momentum": norm.momentum,
        "norm_variance": variance,
        "window": 1 / window[0, 1].item(),
        "first_window": first_window(),
        "windows": float(nn.MaxPool2d(3, 2)(torch.ones(1, 1, 6, 6)).shape[-1]),
        "corner_mean": nn.AvgPool2d(3, 1, 1)(torch.ones(1, 1, 4, 4))[0, 0, 0, 0].item(),
        "second_pixel": resized[0, 0, 0, 1].item(),
    }


def first_window() -> float:
    """The first pixel of the first window at stride 2, if 6 pixels give 3: padding="same" is refused."""
    try:
        nn.Conv2d(1, 1, 3, 2, padding="same")
    except ValueError:
        convolution = nn.Conv2d(1, 1, 3, 2, padding=1, bias=False)
    convolution.weight.data[:] = torch.tensor([0.0, 0, 0, 1, 0, 0, 0, 0, 0]).view(1, 1, 3, 3)
    return convolution(torch.arange(1.0, 7).expand(1, 1, 6, 6))[0, 0, 1, 0].item() - 1


def drawn() -> dict[str, list[float]]:
    """Initial values by default, by array."""
    torch.manual_seed(0)
    layers = {"C": nn.Conv2d(8, 32, 5, groups=2), "F": nn.Linear(300, 400)}
    held = {f"{name}.{role}": array for name, one in layers.items() for role, array in one.named_parameters()}
    return {name: array.flatten().tolist() for name, array in held.items()}


def optimizer(rule: dict[str, Any], net: nn.Module) -> torch.optim.Optimizer:
    if rule["kind"] == "SGD":
        options = {name: rule[name] for name in ("momentum", "nesterov", "weight_decay")}
        return torch.optim.SGD(net.parameters(), lr=0.0, **options)
    decay = rule["weight_decay"]
    if rule["kind"] == "RMSprop":
        options = {"alpha": rule["rho"], "momentum": rule["momentum"], "weight_decay": decay}
        return torch.optim.RMSprop(net.parameters(), lr=0.0, **options)
    if rule["kind"] == "Adadelta":
        return torch.optim.Adadelta(net.parameters(), lr=0.0, rho=rule["rho"], weight_decay=decay)
    kind = torch.optim.AdamW if rule["decoupled"] else torch.optim.Adam
    return kind(net.parameters(), lr=0.0, betas=(rule["beta1"], rule["beta2"]), weight_decay=decay)


def moved(case: dict[str, Any], precision: str, start: dict[str, Any]) -> dict[str, Any]:
    """The arrays after the steps."""
    net = nn.ModuleDict({"F": nn.Linear(2, 3), "B": nn.BatchNorm1d(3)}).to(getattr(torch, precision))
    arrays = {name: net.get_parameter(own) for name, own in ATTRIBUTES.items()}
    with torch.no_grad():
        for name, array in arrays.items():
            array.copy_(torch.tensor(start[name]))
    steps = optimizer(case["rule"], net)
    for gradients, rate in zip(case["gradients"], case["lrs"]):
        for name, array in arrays.items():
            array.grad = torch.tensor(gradients[name], dtype=array.dtype)
        for group in steps.param_groups:
            group["lr"] = rate
        steps.step()
    return {name: array.tolist() for name, array in arrays.items()}


if __name__ == "__main__":
    task = json.loads(sys.argv[1])
    steps = {
        precision: {name: moved(case, precision, task["start"]) for name, case in task["cases"].items()}
        for precision in ("float32", "float64")
    }
    print(json.dumps({"points": points(), "drawn": drawn(), "steps": steps}))

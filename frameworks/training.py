"""What one training step is, the same for every framework: the loss, the optimizers and the numbers that they take.

The gradient g is that of the mean loss over the batch. Arithmetic is in the network's precision; the learning rate
is given for every step, so a schedule is an array and no framework's scheduler is used.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True)
class SGD:
    """g' = g + weight_decay w;  v = momentum v + g', 0 at first;  w -= lr v; Nesterov: w -= lr (g' + momentum v).

    The velocity does not contain the learning rate, so a change of it acts at once (Sutskever et
    al. 2013 as PyTorch writes it).
    lr_in_velocity: it does: v = momentum v + lr g';  w -= v; Nesterov: w -= lr g' + momentum v.
    Decay is L2, or `decoupled` (Loshchilov and Hutter 2019): g' = g, and w -= lr weight_decay w before the step.
    """

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    decoupled: bool = False
    lr_in_velocity: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1 or self.weight_decay < 0:
            raise ValueError(f"{self}: 0 <= momentum < 1, decay >= 0")
        if self.nesterov and not self.momentum:
            raise ValueError("Nesterov's form needs a momentum above 0")

    @property
    def slots(self) -> tuple[str, ...]:
        """Arrays kept beside each parameter."""
        return ("velocity",) if self.momentum else ()


@dataclass(frozen=True)
class Adam:
    """Kingma and Ba 2015, algorithm 1, epsilon outside the bias correction:

    m = beta1 m + (1 - beta1) g';  v = beta2 v + (1 - beta2) g'^2;
    w -= lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon), t counted from 1.

    epsilon_hat: before it instead (their section 2, end): w -= lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) +
    epsilon).
    Decay is L2, g' = g + weight_decay w, or `decoupled` (AdamW, Loshchilov and Hutter 2019): g' = g, and
    w -= lr weight_decay w before the step.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    decoupled: bool = False
    epsilon_hat: bool = False

    def __post_init__(self) -> None:
        if not (0 <= self.beta1 < 1 and 0 <= self.beta2 < 1 and self.epsilon > 0 and self.weight_decay >= 0):
            raise ValueError(f"{self}: 0 <= beta < 1, epsilon > 0, decay >= 0")

    @property
    def slots(self) -> tuple[str, ...]:
        """Arrays kept beside each parameter."""
        return ("first_moment", "second_moment")


Optimizer: TypeAlias = "SGD | Adam"


@dataclass(frozen=True)
class Training:
    """The loss, mean over the batch of softmax cross-entropy, and what minimises it.

    label_smoothing s: the target is 1 - s + s / classes for the label and s / classes for every other class (Szegedy et
    al. 2015, section 7). Each auxiliary classifier adds its own loss times its weight.
    decay_all: weight decay acts on every trained array; else on weights alone, not on biases, gamma or beta.
    """

    optimizer: Optimizer = SGD()
    label_smoothing: float = 0.0
    decay_all: bool = False

    def decay(self, parameter: str) -> float:
        """The weight decay of the parameter of this name."""
        return self.optimizer.weight_decay if self.decay_all or parameter.endswith(".weight") else 0.0

    def to_json(self) -> dict[str, Any]:
        optimizer = {"kind": type(self.optimizer).__name__, **asdict(self.optimizer)}
        return {"optimizer": optimizer, "label_smoothing": self.label_smoothing, "decay_all": self.decay_all}

    @staticmethod
    def from_json(thing: dict[str, Any]) -> Training:
        kinds: dict[str, type[SGD] | type[Adam]] = {"SGD": SGD, "Adam": Adam}
        given = dict(thing["optimizer"])
        return Training(kinds[given.pop("kind")](**given), thing["label_smoothing"], thing["decay_all"])

"""What one training step is, the same for every framework: the loss, the optimizers and the numbers that they take.

The gradient g is that of the mean loss over the batch. Arithmetic is in the network's precision; the learning rate
is given for every step, so a schedule is an array and no framework's scheduler is used.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from math import inf
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


@dataclass(frozen=True)
class RMSprop:
    """v = rho v + (1 - rho) g'^2, 0 at first;  u = g' / (sqrt(v) + epsilon);  w -= lr u: Tieleman and Hinton 2012.

    Lecture 6.5 of their course has no epsilon; this form is that of torch.optim.RMSprop.
    epsilon_inside: u = g' / sqrt(v + epsilon), as in TensorFlow and Keras.
    momentum: b = momentum b + u, 0 at first;  w -= lr b. The slot `velocity` is b.
    lr_in_velocity: b = momentum b + lr u;  w -= b, as in TensorFlow and Keras.
    Decay is L2, g' = g + weight_decay w, or `decoupled`: g' = g, and w -= lr weight_decay w before the step.
    """

    rho: float = 0.9
    epsilon: float = 1e-8
    momentum: float = 0.0
    weight_decay: float = 0.0
    decoupled: bool = False
    epsilon_inside: bool = False
    lr_in_velocity: bool = False

    def __post_init__(self) -> None:
        if not (0 <= self.rho < 1 and 0 <= self.momentum < 1 and 0 < self.epsilon < inf and self.weight_decay >= 0):
            raise ValueError(f"{self}: 0 <= rho < 1, 0 <= momentum < 1, epsilon > 0, decay >= 0")

    @property
    def slots(self) -> tuple[str, ...]:
        """Arrays kept beside each parameter."""
        return ("square_average", "velocity") if self.momentum else ("square_average",)


@dataclass(frozen=True)
class Adadelta:
    """Zeiler 2012, algorithm 1, times a learning rate, which is 1 in the paper:

    v = rho v + (1 - rho) g'^2;  u = sqrt(d + epsilon) / sqrt(v + epsilon) g';
    d = rho d + (1 - rho) u^2;  w -= lr u.

    The slots `square_average` v and `square_change` d are 0 at first; u uses the d of the step before.
    Decay is L2, g' = g + weight_decay w, or `decoupled`: g' = g, and w -= lr weight_decay w before the step.
    """

    rho: float = 0.9
    epsilon: float = 1e-6
    weight_decay: float = 0.0
    decoupled: bool = False

    def __post_init__(self) -> None:
        if not (0 <= self.rho < 1 and 0 < self.epsilon < inf and self.weight_decay >= 0):
            raise ValueError(f"{self}: 0 <= rho < 1, epsilon > 0, decay >= 0")

    @property
    def slots(self) -> tuple[str, ...]:
        """Arrays kept beside each parameter."""
        return ("square_average", "square_change")


Optimizer: TypeAlias = "SGD | Adam | RMSprop | Adadelta"
KINDS: dict[str, type[SGD] | type[Adam] | type[RMSprop] | type[Adadelta]] = {
    kind.__name__: kind for kind in (SGD, Adam, RMSprop, Adadelta)
}

AVERAGE = "average"  # the slot of `Training.average`


@dataclass(frozen=True)
class LossScale:
    """Keeps small gradients in float16, whose smallest value is 6e-8: Micikevicius et al. 2018, section 3.2.

    The loss is multiplied by the scale, and its gradients are divided by it in float32 before anything uses them. Where
    a gradient is not finite, the step changes no array, not even `step` and running averages, and the scale is
    multiplied by `backoff`. After `interval` steps in a row with finite gradients it is multiplied by `growth`. The
    running statistics of batch normalization move in every forward pass. The values are those of torch.amp.GradScaler.
    """

    first: float = 2.0**16
    growth: float = 2.0
    backoff: float = 0.5
    interval: int = 2000


LOSS_SCALE = LossScale()
SCALE, FINITE_STEPS = "loss_scale", "finite_steps"  # names of its state: the scale, and the steps since it changed


@dataclass(frozen=True)
class Training:
    """The loss, mean over the batch of softmax cross-entropy, and what minimises it.

    label_smoothing s: the target is 1 - s + s / classes for the label and s / classes for every other class (Szegedy et
    al. 2015, section 7). Each auxiliary classifier adds its own loss times its weight.
    decay_all: weight decay acts on every trained array; else on weights alone, not on biases, gamma or beta.
    clip_norm c: the gradients of all trained arrays are multiplied by min(1, c / norm), norm the Euclidean norm of all
    of them together (Pascanu et al. 2013, section 3.2), before decay enters. TensorFlow's clip_by_global_norm has this
    form; torch.nn.utils.clip_grad_norm_ adds 1e-6 to the norm, and MXNet's gluon.utils.clip_global_norm 1e-8.
    average d: after each step, average = d average + (1 - d) w, for every trained array, from the initial weights
    (Polyak and Juditsky 1992, with constant decay as in tf.train.ExponentialMovingAverage). Evaluation uses the
    averages, training the weights. The running statistics of batch normalization are not averaged.
    lr_factors: pairs of a pattern (fnmatch, case matters) and a factor of the learning rate, as Caffe's lr_mult. The
    first pattern that matches an array's name counts; the factor of other arrays is 1. Decoupled decay uses the
    learning rate with its factor, so a factor of 0 leaves an array as it is.
    """

    optimizer: Optimizer = SGD()
    label_smoothing: float = 0.0
    decay_all: bool = False
    clip_norm: float | None = None
    average: float | None = None
    lr_factors: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        if self.clip_norm is not None and not 0 < self.clip_norm < inf:
            raise ValueError(f"clip_norm {self.clip_norm}: must be more than 0 and finite")
        if self.average is not None and not 0 <= self.average < 1:
            raise ValueError(f"average {self.average}: must be at least 0 and less than 1")
        for pattern, factor in self.lr_factors:
            if not 0 <= factor < inf:
                raise ValueError(f"lr_factors {pattern} {factor}: a factor must be at least 0 and finite")

    @property
    def slots(self) -> tuple[str, ...]:
        """Arrays kept beside each parameter: those of the optimizer, and the average."""
        return self.optimizer.slots if self.average is None else (*self.optimizer.slots, AVERAGE)

    def decay(self, parameter: str) -> float:
        """The weight decay of the parameter of this name."""
        return self.optimizer.weight_decay if self.decay_all or parameter.endswith(".weight") else 0.0

    def lr_factor(self, parameter: str) -> float:
        """The factor of the learning rate for the parameter of this name."""
        return next((factor for pattern, factor in self.lr_factors if fnmatchcase(parameter, pattern)), 1.0)

    def to_json(self) -> dict[str, Any]:
        """As JSON; what most trainings do not have is left out, so the JSON of these does not change."""
        optimizer = {"kind": type(self.optimizer).__name__, **asdict(self.optimizer)}
        further = {
            "clip_norm": self.clip_norm,
            "average": self.average,
            "lr_factors": [list(pair) for pair in self.lr_factors] or None,
        }
        given = {name: value for name, value in further.items() if value is not None}
        return {"optimizer": optimizer, "label_smoothing": self.label_smoothing, "decay_all": self.decay_all, **given}

    @staticmethod
    def from_json(thing: dict[str, Any]) -> Training:
        """The inverse of `to_json`."""
        given = dict(thing["optimizer"])
        return Training(
            KINDS[given.pop("kind")](**given),
            thing["label_smoothing"],
            thing["decay_all"],
            thing.get("clip_norm"),
            thing.get("average"),
            tuple((pattern, factor) for pattern, factor in thing.get("lr_factors", ())),
        )

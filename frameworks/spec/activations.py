"""Activations: functions of one value. The docstrings state the derivative where it is not unique."""

from __future__ import annotations

from dataclasses import dataclass, field

from frameworks.spec.base import Layer, Shape

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805  # Klambauer et al. 2017, equation 14


@dataclass(frozen=True)
class ReLU(Layer):
    """max(x, 0); its derivative at 0 is 0."""

    name: str = ""


@dataclass(frozen=True)
class ReLU6(Layer):
    """min(max(x, 0), 6); its derivative at 0 and at 6 is 0."""

    name: str = ""


@dataclass(frozen=True)
class LeakyReLU(Layer):
    """x above 0, else slope * x; its derivative at 0 is the slope (Maas et al. 2013)."""

    name: str = ""
    slope: float = field(default=0.01, kw_only=True)


@dataclass(frozen=True)
class PReLU(Layer):
    """x above 0, else slope[c] * x with a trained slope for each channel, at first 0.25 (He et al. 2015, section 2.1).

    Its derivative by x at 0 is the slope.
    """

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        return {"slope": (shape[0],)}


@dataclass(frozen=True)
class ELU(Layer):
    """x above 0, else alpha * (exp(x) - 1); its derivative at 0 is alpha (Clevert et al. 2016)."""

    name: str = ""
    alpha: float = field(default=1.0, kw_only=True)


@dataclass(frozen=True)
class SELU(Layer):
    """scale * x above 0, else scale * alpha * (exp(x) - 1) (Klambauer et al. 2017); its derivative at 0 is the second.

    alpha is 1.6732632423543772, scale is 1.0507009873554805.
    """

    name: str = ""


@dataclass(frozen=True)
class Sigmoid(Layer):
    """1 / (1 + exp(-x))."""

    name: str = ""


@dataclass(frozen=True)
class HardSigmoid(Layer):
    """min(max(slope * x + 1/2, 0), 1); its derivative is 0 where the result is 0 or 1.

    The slope is 1/6 in PyTorch and Keras 3 (MobileNetV3, Howard et al. 2019), 0.2 in Keras 2, MXNet and ONNX.
    """

    name: str = ""
    slope: float = field(default=1 / 6, kw_only=True)


@dataclass(frozen=True)
class Tanh(Layer):
    """amplitude * tanh(slope * x); LeCun et al. 1998 has 1.7159 and 2/3."""

    name: str = ""
    amplitude: float = field(default=1.0, kw_only=True)
    slope: float = field(default=1.0, kw_only=True)


@dataclass(frozen=True)
class SiLU(Layer):
    """x / (1 + exp(-x)), also called swish (Elfwing et al. 2018)."""

    name: str = ""


@dataclass(frozen=True)
class HardSwish(Layer):
    """x * min(max(x / 6 + 1/2, 0), 1) (Howard et al. 2019); its derivative is 0 at -3 and 1 at 3."""

    name: str = ""


@dataclass(frozen=True)
class GELU(Layer):
    """x * (1 + erf(x / sqrt(2))) / 2 (Hendrycks and Gimpel 2016).

    approximate: x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2, JAX's default.
    """

    name: str = ""
    approximate: bool = field(default=False, kw_only=True)


@dataclass(frozen=True)
class Softplus(Layer):
    """log(1 + exp(x)) (Dugas et al. 2001), without the linear part that PyTorch has above 20."""

    name: str = ""


@dataclass(frozen=True)
class Mish(Layer):
    """x * tanh(log(1 + exp(x))) (Misra 2020)."""

    name: str = ""

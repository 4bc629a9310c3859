"""Normalizations and affine maps of the channels."""

from __future__ import annotations

from dataclasses import dataclass, field

from frameworks.spec.base import Layer, Shape, SpecError, channels


@dataclass(frozen=True)
class AffineNorm(Layer):
    """What normalizations with a trained gamma and beta for each channel have in common."""

    eps: float = 1e-5
    gamma: bool = True
    beta: bool = True

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        return _by_channel(shape, gamma=self.gamma, beta=self.beta)


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Batch normalization (Ioffe and Szegedy 2015): gamma (x - mean) / sqrt(variance + eps) + beta, by channel.

    Training uses the batch's mean and biased variance, and moves the running statistics towards them:
    r = (1 - momentum) r + momentum * batch statistic.
    """

    eps: float = 1e-5
    momentum: float = 0.1
    gamma: bool = True
    beta: bool = True

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        return _by_channel(shape, gamma=self.gamma, beta=self.beta, running_mean=True, running_var=True)


@dataclass(frozen=True)
class LayerNorm(AffineNorm):
    """Layer normalization over the channels of each pixel: gamma (x - mean) / sqrt(variance + eps) + beta.

    Mean and biased variance are those of the C values of one pixel of one image (Ba et al. 2016, as in ConvNeXt, Liu et
    al. 2022). Over all values of an image it is `GroupNorm` with one group.
    """


@dataclass(frozen=True)
class GroupNorm(Layer):
    """Group normalization (Wu and He 2018): gamma (x - mean) / sqrt(variance + eps) + beta.

    Mean and biased variance are those of one image, over the pixels and the channels of a group: the channels are
    divided in order into `groups` of equal size.
    """

    groups: int
    eps: float = 1e-5
    gamma: bool = True
    beta: bool = True

    def output(self, shape: Shape) -> Shape:
        if channels(self, shape) % self.groups:
            raise SpecError(f"{shape[0]} channels do not divide into {self.groups} groups")
        return shape

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        return _by_channel(shape, gamma=self.gamma, beta=self.beta)


@dataclass(frozen=True)
class InstanceNorm(AffineNorm):
    """Instance normalization (Ulyanov et al. 2016): `GroupNorm` with a group for each channel."""

    def output(self, shape: Shape) -> Shape:
        return (channels(self, shape), *shape[1:])


@dataclass(frozen=True)
class Affine(Layer):
    """gamma[c] x[c] + beta[c]: a trained coefficient and bias for each channel, as in LeNet-5's sub-sampling (1998).

    Without beta it is the layer scale of Touvron et al. 2021 (CaiT).
    """

    beta: bool = True

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        return _by_channel(shape, gamma=True, beta=self.beta)


@dataclass(frozen=True)
class LocalResponseNorm(Layer):
    """y[c] = x[c] / (k + alpha / size * sum of x[j]^2)^beta over j from c - size // 2 to c + (size - 1) // 2.

    Krizhevsky et al. 2012, section 3.3, has alpha undivided: its alpha of 1e-4 at size 5 is 5e-4 here.
    """

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def output(self, shape: Shape) -> Shape:
        return (channels(self, shape), *shape[1:])


@dataclass(frozen=True)
class Scale(Layer):
    """factor * x: 1 / 255 brings pixels to 0..1."""

    name: str = ""
    factor: float = field(default=1 / 255, kw_only=True)


@dataclass(frozen=True)
class Normalize(Layer):
    """(x - mean[c]) / std[c] by channel; a single value serves all channels."""

    name: str = ""
    mean: tuple[float, ...] = field(default=(0.0,), kw_only=True)
    std: tuple[float, ...] = field(default=(1.0,), kw_only=True)

    def output(self, shape: Shape) -> Shape:
        for values in (self.mean, self.std):
            if len(values) not in (1, shape[0]):
                raise SpecError(f"{len(values)} values for {shape[0]} channels")
        return shape


def _by_channel(shape: Shape, **present: bool) -> dict[str, Shape]:
    """The shape of a vector with a value for each channel, by role, of the roles that are present."""
    vector: Shape = (shape[0],)
    return {role: vector for role, here in present.items() if here}

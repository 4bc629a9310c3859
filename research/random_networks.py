"""How often unmodified adapters are refused on random small networks, which hold layers of every kind.

    python -m research.random_networks --count 200 --out results/random_networks.md

The number of a network decides its layers, weights and images, so a refused network can be verified again with
`--first NUMBER --count 1`. Exit code 1 if a framework was refused.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import prod
from pathlib import Path
from typing import TypeVar

import click
import numpy as np

from benchmarks.cli import options
from benchmarks.cli.exit_codes import ExitCode
from benchmarks.reporting.tables import markdown
from benchmarks.runtime.errors import BadInput
from benchmarks.verification.case_runner import NetworkVerdict, Target, verify_cases
from benchmarks.verification.cases import BATCH, TRAININGS, Case
from benchmarks.verification.verify_run import VerifyRequest, start_targets
from frameworks.spec import (
    ELU,
    GELU,
    SELU,
    AdaptiveAvgPool,
    Add,
    Affine,
    Auxiliary,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    GroupNorm,
    HardSigmoid,
    HardSwish,
    InstanceNorm,
    Layer,
    LayerNorm,
    LeakyReLU,
    LocalResponseNorm,
    MaxPool,
    Mish,
    Multiply,
    Network,
    Normalize,
    Pad,
    PReLU,
    ReLU,
    ReLU6,
    Residual,
    Resize,
    Scale,
    Select,
    Shape,
    Sigmoid,
    SiLU,
    Softplus,
    SpecError,
    StochasticDepth,
    Tanh,
)
from frameworks.spec.base import Padding
from frameworks.spec.value_checks import METHODS, POSITIONS
from research import command

T = TypeVar("T")
Drawn = Callable[[Shape], Layer]  # draws a layer for the shape of its input

INPUT_CHANNELS, SIDES = (1, 4), (9, 20)  # from, and up to but not including
CHANNELS = (2, 4, 6, 8, 12)
CLASSES = (2, 12)
# The two trainings with the most terms; the optimizers themselves do not depend on the network.
CASE_TRAININGS = ("nesterov, decay", "adam, decay")
CURVE = 12  # losses of the last training


def random_network(number: int) -> Network:
    """The network of this number: up to 17 layers of random kinds and options, at most about 140,000 trained values."""
    return _Generator(number).network()


class _Generator:
    """Draws layers one after the other; every layer fits the output of the layers before it."""

    def __init__(self, number: int) -> None:
        self.stream = np.random.default_rng([number, 0])
        self.name = f"random_{number}"
        self.names = 0
        self.classes = self.integer(*CLASSES)

    def network(self) -> Network:
        shape: Shape = (self.integer(*INPUT_CHANNELS), self.integer(*SIDES), self.integer(*SIDES))
        layers: list[Layer] = self.fitting(shape, [self.picked(self.preprocessing)] if self.chance(0.5) else [])
        for _ in range(self.integer(2, 5)):
            layers += self.fitting(_output(shape, layers), [self.picked(self.blocks)])
            if self.chance(0.6):
                layers += self.fitting(_output(shape, layers), [self.activation])
        if self.chance(0.2):
            head: list[Layer] = [GlobalAvgPool(), Flatten(), Dense(self.named("aux_fc"), self.classes)]
            layers.append(Auxiliary(self.named("aux"), head, weight=float(self.stream.uniform(0.1, 0.5))))
        if self.chance(0.3):
            layers.append(GlobalAvgPool())
        layers.append(Flatten())
        for _ in range(self.integer(0, 3)):
            layers.append(Dense(self.named("fc"), self.integer(8, 33), bias=self.chance(0.7)))
            layers += [self.batch_norm(()) if self.chance(0.6) else self.layer_norm(())] if self.chance(0.5) else []
            layers.append(self.activation(()))
            layers += [Dropout(rate=float(self.stream.uniform(0.1, 0.6)))] if self.chance(0.3) else []
        layers.append(Dense(self.named("out"), self.classes, bias=self.chance(0.8)))
        return Network(self.name, shape, layers)

    def fitting(self, shape: Shape, kinds: Sequence[Drawn]) -> list[Layer]:
        """A layer of each kind, without those that do not fit their input."""
        layers: list[Layer] = []
        for kind in kinds:
            try:
                layer = kind(_output(shape, layers))
                _output(shape, [*layers, layer])
            except SpecError:
                continue
            layers.append(layer)
        return layers

    # --- kinds of layers, each for the shape of its input -------------------------------------------------------------

    @property
    def preprocessing(self) -> Sequence[Drawn]:
        return self.normalize, self.resize, self.scale

    @property
    def blocks(self) -> Sequence[Drawn]:
        return (
            self.conv,
            self.conv,
            self.max_pool,
            self.avg_pool,
            self.batch_norm,
            self.batch_norm,
            self.affine,
            self.local_response_norm,
            self.dropout,
            self.select,
            self.concat,
            self.concat,
            self.residual,
            self.residual,
            self.adaptive_avg_pool,
            self.layer_norm,
            self.group_norm,
            self.instance_norm,
            self.pad,
            self.add,
            self.gated,
        )

    def conv(self, shape: Shape) -> Conv:
        groups = self.picked([count for count in range(1, 5) if shape[0] % count == 0])
        channels = self.integer(1, 5) * groups
        kernel = (self.integer(1, 5), self.integer(1, 5))
        padding = ((self.integer(0, 3), self.integer(0, 3)), (self.integer(0, 3), self.integer(0, 3)))
        stride = (self.integer(1, 3), self.integer(1, 3))
        dilation = (self.integer(1, 3), self.integer(1, 4)) if self.chance(0.2) else 1
        bias = self.chance(0.7)
        return Conv(self.named("conv"), channels, kernel, stride, padding, groups, bias, dilation)

    def same_conv(self, shape: Shape, channels: int) -> Conv:
        """A convolution whose output has the height and width of its input; an even kernel has uneven padding."""
        kernel = (self.integer(1, 5), self.integer(1, 5))
        vertical, horizontal = (((size - 1) // 2, size // 2) for size in kernel)
        return Conv(self.named("conv"), channels, kernel, 1, (vertical, horizontal), bias=self.chance(0.7))

    def max_pool(self, shape: Shape) -> MaxPool:
        kernel, padding = self.window()
        stride = (self.integer(1, 4), self.integer(1, 4))
        dilation = self.integer(2, 4) if self.chance(0.2) else 1
        return MaxPool(self.named("max"), kernel, stride, padding, self.chance(0.3), dilation)

    def avg_pool(self, shape: Shape) -> AvgPool:
        kernel, padding = self.window()
        stride = (self.integer(1, 4), self.integer(1, 4))
        return AvgPool(self.named("avg"), kernel, stride, padding, self.chance(0.5), ceil=self.chance(0.3))

    def adaptive_avg_pool(self, shape: Shape) -> AdaptiveAvgPool:
        return AdaptiveAvgPool(self.named("parts"), self.integer(1, 9), self.integer(1, 9))

    def pad(self, shape: Shape) -> Pad:
        vertical, horizontal = ((self.integer(0, 3), self.integer(0, 3)) for _ in range(2))
        return Pad(self.named("pad"), (vertical, horizontal), float(self.stream.uniform(-1, 1)))

    def layer_norm(self, shape: Shape) -> LayerNorm:
        if shape:
            self.at_least_four(shape[0])
        return LayerNorm(self.named("norm"), 1e-3, gamma=self.chance(0.8), beta=self.chance(0.8))

    def group_norm(self, shape: Shape) -> GroupNorm:
        groups = self.picked([count for count in range(1, 5) if shape[0] % count == 0])
        self.at_least_four(prod(shape) // groups)
        return GroupNorm(self.named("norm"), groups, 1e-3, gamma=self.chance(0.8), beta=self.chance(0.8))

    def instance_norm(self, shape: Shape) -> InstanceNorm:
        self.at_least_four(prod(shape[1:]))
        return InstanceNorm(self.named("norm"), 1e-3, gamma=self.chance(0.8), beta=self.chance(0.8))

    def at_least_four(self, values: int) -> None:
        """SpecError for statistics of fewer values: of two, they are a step, which amplifies rounding."""
        if values < 4:
            raise SpecError("too few values for a mean and a variance")

    def window(self) -> tuple[tuple[int, int], Padding]:
        """A kernel and a padding that is smaller than the kernel on each side."""
        kernel = (self.integer(2, 4), self.integer(2, 4))
        (top, bottom), (left, right) = ((self.integer(0, size), self.integer(0, size)) for size in kernel)
        return kernel, ((top, bottom), (left, right)) if self.chance(0.5) else 0

    def batch_norm(self, shape: Shape) -> BatchNorm:
        eps, momentum = self.picked((1e-5, 1e-3)), self.picked((0.1, 0.01, 0.3))
        return BatchNorm(self.named("norm"), eps, momentum, gamma=self.chance(0.8), beta=self.chance(0.8))

    def affine(self, shape: Shape) -> Affine:
        return Affine(self.named("affine"), beta=self.chance(0.7))

    def local_response_norm(self, shape: Shape) -> LocalResponseNorm:
        alpha, beta = self.picked((1e-4, 1e-1)), self.picked((0.75, 0.5))
        return LocalResponseNorm(self.named("lrn"), self.integer(2, 6), alpha, beta, self.picked((1.0, 2.0)))

    def dropout(self, shape: Shape) -> Dropout:
        return Dropout(rate=float(self.stream.uniform(0.1, 0.6)))

    def select(self, shape: Shape) -> Select:
        count = self.integer(1, shape[0] + 2)
        maps: list[int | None] = self.stream.integers(0, shape[0], count).tolist()
        return Select(self.named("select"), (*maps, *[None] * (self.integer(1, 3) if self.chance(0.3) else 0)))

    def add(self, shape: Shape) -> Add:
        channels = self.picked(CHANNELS)
        return Add(self.named("add"), [self.chain(shape, channels) for _ in range(self.integer(2, 5))])

    def gated(self, shape: Shape) -> Multiply:
        """Squeeze and excitation, by either sigmoid."""
        gate = Sigmoid() if self.chance(0.5) else HardSigmoid()
        return Multiply(self.named("gated"), [[], [GlobalAvgPool(), Conv(self.named("conv"), shape[0], 1), gate]])

    def concat(self, shape: Shape) -> Concat:
        chains: list[list[Layer]] = [self.chain(shape, None) for _ in range(self.integer(2, 4))]
        return Concat(self.named("concat"), chains)

    def residual(self, shape: Shape) -> Residual:
        channels = shape[0] if self.chance(0.5) else self.picked(CHANNELS)
        shortcut = self.chain(shape, channels) if channels != shape[0] or self.chance(0.2) else []
        body = self.chain(shape, channels)
        body += [StochasticDepth(rate=float(self.stream.uniform(0.2, 0.5)))] if self.chance(0.3) else []
        return Residual(self.named("residual"), body, shortcut)

    def chain(self, shape: Shape, channels: int | None) -> list[Layer]:
        """Layers that keep height and width, with this number of output channels, or any number for None."""
        chain: list[Layer] = [self.same_conv(shape, channels or self.picked(CHANNELS))]
        chain += [self.batch_norm(shape)] if self.chance(0.5) else []
        chain += [self.activation(shape)] if self.chance(0.5) else []
        return chain

    def activation(self, shape: Shape) -> Layer:
        if self.chance(0.3):
            return ReLU()
        tanh = Tanh(amplitude=1.7159, slope=2 / 3) if self.chance(0.3) else Tanh()
        hard = HardSigmoid(slope=0.2) if self.chance(0.3) else HardSigmoid()
        leaky = LeakyReLU(slope=float(self.stream.uniform(0.01, 0.3)))
        elu = ELU(alpha=float(self.stream.uniform(0.5, 1.5)))
        rectified = (ReLU6(), leaky, PReLU(self.named("prelu")), HardSwish())
        smooth = (elu, SELU(), SiLU(), GELU(), GELU(approximate=True), Softplus(), Mish(), Sigmoid(), tanh, hard)
        return self.picked((*rectified, *smooth))

    def normalize(self, shape: Shape) -> Normalize:
        mean, std = (self.stream.uniform(low, high, shape[0]) for low, high in ((0.2, 0.6), (0.2, 0.4)))
        return Normalize(mean=tuple(mean.tolist()), std=tuple(std.tolist()))

    def resize(self, shape: Shape) -> Resize:
        sizes = self.integer(*SIDES), self.integer(*SIDES)
        return Resize(self.named("resize"), *sizes, self.picked(METHODS), self.picked(POSITIONS))

    def scale(self, shape: Shape) -> Scale:
        return Scale(factor=float(self.stream.uniform(0.3, 3)))

    # --- random numbers and names -------------------------------------------------------------------------------------

    def named(self, kind: str) -> str:
        self.names += 1
        return f"{kind}{self.names}"

    def integer(self, low: int, high: int) -> int:
        return int(self.stream.integers(low, high))

    def chance(self, probability: float) -> bool:
        return bool(self.stream.random() < probability)

    def picked(self, values: Sequence[T]) -> T:
        return values[self.integer(0, len(values))]


def _output(shape: Shape, layers: Sequence[Layer]) -> Shape:
    """The output of a chain of layers for one image."""
    return Network("chain", shape, layers).output if layers else shape


# --- verification -----------------------------------------------------------------------------------------------------


def random_case(number: int) -> Case:
    """The verification case of the network of this number."""
    complete = Case.for_network(random_network(number), number, BATCH, CURVE)
    return replace(complete, trainings={name: TRAININGS[name] for name in CASE_TRAININGS})


def findings(numbers: Sequence[int], targets: Sequence[Target], *, threads: int = 1) -> Iterator[NetworkVerdict]:
    """The float64 findings of all targets on the networks of these numbers. threads: of each worker."""
    cases = {str(number): partial(random_case, number) for number in numbers}
    for of_network in verify_cases(cases, targets, ("float64",), threads=threads, workers=os.cpu_count() or 1):
        yield from of_network


def table(found: Sequence[NetworkVerdict]) -> str:
    """By framework: the findings with each verdict, and the largest error."""
    rows = []
    for label in dict.fromkeys(each.target.label for each in found):
        own = [each for each in found if each.target.label == label]
        verdicts = Counter(each.verdict for each in own)
        counts = [str(verdicts[verdict]) for verdict in ("ok", "explained", "not verified", "differs", "failed")]
        largest = max((each.error for each in own if each.verdict in ("ok", "explained")), default=0.0)
        rows.append((label, str(len(own)), *counts, f"{largest:.0e}"))
    head = ("framework", "networks", "ok", "explained", "not verified", "differs", "failed", "largest error")
    return markdown(head, rows)


def exceptions(found: Sequence[NetworkVerdict]) -> str:
    """A line for each finding that is neither ok nor explained."""
    return "".join(
        f"- network {each.net}, {each.target.label}: {each.verdict}: {_reason(each)}\n"
        for each in found
        if each.verdict not in ("ok", "explained")
    )


def _reason(found: NetworkVerdict) -> str:
    if found.failed:
        return found.failed
    stage = next(stage for stage in found.verdicts if stage.verdict == found.verdict)
    return f"{stage.stage} {stage.error:.1e} at {stage.place}; {stage.note or found.cause or 'no cause'}"


def kinds(numbers: Sequence[int]) -> Mapping[str, int]:
    """The number of networks that hold each kind of layer."""
    held = Counter(
        kind for number in numbers for kind in {node.layer.kind for _, node in random_network(number).walk()}
    )
    return dict(sorted(held.items()))


@command.research_command("research.random_networks")
@options.option(
    "--count", type=command.AT_LEAST_1, default=200, metavar="N", heading=command.HOW, help="Number of networks."
)
@options.option("--first", type=int, default=0, metavar="N", heading=command.HOW, help="Number of the first network.")
@command.out_file
def main(count: int, first: int, out: Path | None) -> ExitCode:
    """Count the random networks on which unchanged adapters are refused in float64."""
    numbers = range(first, first + count)
    found: list[NetworkVerdict] = []
    with contextlib.ExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="onespec-")))
        targets, missing = start_targets(VerifyRequest(), logs, stack, command.progress)
        if missing:
            raise BadInput("; ".join(missing))
        for finding in findings(numbers, targets):
            command.progress(f"network {finding.net} {finding.target.label}: {finding.verdict} {finding.error:.0e}")
            found.append(finding)
        versions = ", ".join(" ".join(next(iter(each.versions.items()))) for each in targets)
    larger = {each.net: each.case.batch_size for each in found if each.case.batch_size > BATCH}
    held = ", ".join(f"{kind} {number}" for kind, number in kinds(numbers).items())
    text = (
        f"`python -m research.random_networks --count {count} --first {first}` gave, in float64:\n\n"
        f"{table(found)}\n\n{exceptions(found)}\n"
        f"Networks with more images per step than {BATCH}, because they amplify rounding: {len(larger)}.\n\n"
        f"Networks that hold each kind of layer: {held}.\n\n{versions}; {command.machine()}.\n"
    )
    click.echo(text)
    command.write_page(out, f"# Random networks\n\n{text}")
    refused = any(each.verdict in ("differs", "failed") for each in found)
    return ExitCode.FAILED if refused else ExitCode.OK


if __name__ == "__main__":
    main(prog_name="python -m research.random_networks")

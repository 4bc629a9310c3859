"""How small can a fault be and still pass the verification of a network? A table in Markdown.

    python -m research.sensitivity [--net lenet,lenet_bn,resnet18,googlenet_bn] [--write docs/verification.md]

One framework receives another weight, or other learning rates, than the reference and the other frameworks. The change
is relative, and errors grow in proportion to it while it is small. So one float64 run with the change `PROBE` gives the
change whose error is at the limit. Half of it must pass and twice of it must be refused, or other changes are tried. In
float32 a fault is refused if a stage differs at all `SEEDS` seeds, as in `onespec verify`.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import click
import numpy as np

from benchmarks.certification.covered_code import code_parts, code_sha256
from benchmarks.cli import options
from benchmarks.reporting import markers
from benchmarks.reporting.tables import Row, markdown
from benchmarks.runtime.errors import BadInput
from benchmarks.runtime.worker_client import Commands
from benchmarks.verification.case_runner import SEEDS
from benchmarks.verification.cases import BATCH, Case
from benchmarks.verification.comparison import (
    ReferenceEvidence,
    RelativeErrors,
    StageVerdict,
    float32_limits,
    float64_limits,
    relative_errors,
    stage_verdicts,
)
from benchmarks.verification.conditioning import calm_evidence
from benchmarks.verification.evidence import EvidenceCollector
from benchmarks.verification.verify_run import PRECISIONS, VerifyRequest, start_targets
from frameworks.adapter import Setting
from frameworks.registry import FRAMEWORKS
from frameworks.spec import Network
from research import command

NETS = "lenet,lenet_bn,resnet18,googlenet_bn"
PROBE = 1e-6
LARGEST = 10.0  # a larger relative change is not tried
MARKER = "sensitivity"

# The arguments of a command of a worker, changed.
Change: TypeAlias = Callable[[str, dict[str, Any]], dict[str, Any]]


class FaultyClient(Commands):
    """A worker that receives other arguments than the harness sends. It works with every framework."""

    def __init__(self, client: Commands, change: Change) -> None:
        self.client, self.change, self.scratch = client, change, client.scratch

    def request(self, command: str, **arguments: Any) -> dict[str, Any]:
        return self.client.request(command, **self.change(command, arguments))


class ScaledLr:
    """Multiplies all learning rates by 1 + size."""

    name = "learning rate"

    def __init__(self, case: Case, size: float, scratch: Path) -> None:
        self.factor = 1 + size

    def __call__(self, command: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if command != "train":
            return arguments
        return {**arguments, "lrs": [lr * self.factor for lr in arguments["lrs"]]}


class ScaledWeight:
    """Multiplies one weight by 1 + size: of the kernel in the middle of the network, the value of median size."""

    name = "one weight"

    def __init__(self, case: Case, size: float, scratch: Path) -> None:
        self.factor, self.file = 1 + size, scratch / "scaled_weight.npz"
        kernels = [each.name for each in case.network.parameters if each.role == "weight"]
        self.array = kernels[len(kernels) // 2]
        sizes = np.abs(case.weights[self.array]).reshape(-1)
        self.index = int(np.argsort(sizes)[len(sizes) // 2])

    def __call__(self, command: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if command != "set_weights":
            return arguments
        with np.load(arguments["path"], allow_pickle=False) as file:
            weights = dict(file)
        weights[self.array].reshape(-1)[self.index] *= self.factor
        np.savez(self.file, **weights)
        return {**arguments, "path": str(self.file)}


Fault: TypeAlias = type[ScaledWeight | ScaledLr]
FAULTS: tuple[Fault, ...] = (ScaledWeight, ScaledLr)


@dataclass(frozen=True)
class Bracket:
    """A relative change that passes, and a larger one that is refused; None: none up to `LARGEST` is refused.

    first: the first stage and place that differ.
    """

    passes: float
    refused: float | None
    first: StageVerdict | None


def bracket(start: float, refusal: Callable[[float], StageVerdict | None]) -> Bracket:
    """Half of `start` and twice of it, or the changes by further factors of 4 between which the refusals begin."""
    passes, refused, first = start / 2, start * 2, None
    while found := refusal(passes):
        assert passes > np.finfo(float).eps, "refused without a fault"
        passes, refused, first = passes / 4, passes, found
    while not first:
        if refused > LARGEST:
            return Bracket(passes, None, None)
        first = refusal(refused)
        if not first:
            passes, refused = refused, refused * 4
    return Bracket(passes, refused, first)


@dataclass
class _Sound:
    """A case with the evidence of the reference, and by label the errors of the frameworks without the fault."""

    reference: ReferenceEvidence
    files: Path
    errors: dict[str, dict[str, RelativeErrors]] = field(default_factory=dict)  # by precision


class Experiment:
    """The verification of one network with a fault in one framework.

    clients: running workers by label. packages: the package that computes, by label. faulty: label of the framework
    with the fault. scratch: a folder for files. `runs` counts how often a framework computes a case.
    """

    def __init__(
        self,
        network: Network,
        clients: Mapping[str, Commands],
        packages: Mapping[str, str],
        faulty: str,
        seed: int,
        scratch: Path,
    ) -> None:
        self.clients, self.packages, self.faulty, self.scratch = clients, packages, faulty, scratch
        self.first_case = Case.for_network(network, seed, BATCH)
        self.sound: list[_Sound] = []
        self.probed: dict[Fault, RelativeErrors] = {}
        self.runs = 0

    def estimate(self, fault: Fault, precision: str) -> float:
        """The change whose error is at the limit of a place, from the errors of the change `PROBE` in float64."""
        if fault not in self.probed:
            self.probed[fault] = self._faulty_errors(0, "float64", fault, PROBE)
        errors = self.probed[fault]
        amplification = self._sound(0).reference.amplification
        if precision == "float64":
            limits = float64_limits(amplification)
        else:  # the faulty framework is the worst of all
            worst = RelativeErrors(plain=dict.fromkeys(errors.plain, float("inf")))
            limits = float32_limits(
                {**self._others(0, precision), self.faulty: worst}, amplification, dict(self.packages)
            )
        places = [place for place in errors.plain if errors.error(place) and limits(place)]
        return float(f"{min(PROBE * limits(place) / errors.error(place) for place in places):.0e}")

    def refusal(self, fault: Fault, precision: str, size: float) -> StageVerdict | None:
        """The first stage in which a change of this size is refused at all seeds, or None if it passes."""
        refused: dict[str, StageVerdict] | None = None
        for number in range(SEEDS if precision == "float32" else 1):
            verdicts = self.verdicts(number, fault, precision, size)
            differing = {each.stage: each for each in verdicts if each.verdict == "differs"}
            refused = {stage: each for stage, each in (refused or differing).items() if stage in differing}
            if not refused:
                return None
        return next(iter((refused or {}).values()))

    def verdicts(self, number: int, fault: Fault, precision: str, size: float) -> list[StageVerdict]:
        """The verdicts on the faulty framework at the seed of this number."""
        errors = {self.faulty: self._faulty_errors(number, precision, fault, size), **self._others(number, precision)}
        reference = self._sound(number).reference
        by_label = stage_verdicts(
            errors, reference.case, precision, amplification=reference.amplification, packages=self.packages
        )
        return by_label[self.faulty]

    def _sound(self, number: int) -> _Sound:
        while len(self.sound) <= number:
            last = self.sound[-1].reference.case if self.sound else None
            files = Path(tempfile.mkdtemp(dir=self.scratch))
            case = last.with_next_seed() if last else self.first_case
            self.sound.append(_Sound(calm_evidence(case, files, self.scratch), files))
        return self.sound[number]

    def _others(self, number: int, precision: str) -> dict[str, RelativeErrors]:
        """The errors of the other frameworks, on which only a float32 limit rests; computed once."""
        sound = self._sound(number)
        if precision == "float64":
            return {}
        if precision not in sound.errors:
            others = [label for label in self.clients if label != self.faulty]
            with ThreadPoolExecutor(max(1, len(others))) as pool:
                computed = pool.map(lambda label: self._errors(sound, precision, self.clients[label]), others)
                sound.errors[precision] = dict(zip(others, computed))
        return sound.errors[precision]

    def _faulty_errors(self, number: int, precision: str, fault: Fault, size: float) -> RelativeErrors:
        sound = self._sound(number)
        change = fault(sound.reference.case, size, self.scratch)
        return self._errors(sound, precision, FaultyClient(self.clients[self.faulty], change))

    def _errors(self, sound: _Sound, precision: str, client: Commands) -> RelativeErrors:
        """The errors of one framework; the tensors for a diagnosis are dropped."""
        self.runs += 1
        case = sound.reference.case
        collector = EvidenceCollector(client, case, Setting("cpu", precision, 1), sound.files)  # type: ignore[arg-type]
        errors = relative_errors(collector.tensors(), sound.reference, collector.departures, precision)
        return replace(errors, differing={})


HEAD = ("network", "fault", "precision", "passes", "refused", "first difference")


def rows(net: str, experiment: Experiment) -> Iterator[Row]:
    """A row for each fault and precision."""
    for fault in FAULTS:
        for precision in PRECISIONS:
            start = experiment.estimate(fault, precision)
            found = bracket(start, partial(experiment.refusal, fault, precision))
            refused = f"{found.refused:.1e}" if found.refused else "-"
            yield net, fault.name, precision, f"{found.passes:.1e}", refused, _place(found.first)


def _place(verdict: StageVerdict | None) -> str:
    if not verdict:
        return "-"
    place = verdict.place
    return f"{verdict.stage}, {place.tensor}" if place and place.tensor != verdict.stage else verdict.stage


def conditions(framework: str, versions: str, seed: int, runs: int, code: str) -> str:
    """What the table rests on. code: digest of the code that a certificate covers."""
    return (
        f"The fault is in {framework}. {versions}; {command.machine()}; seed {seed}; {runs} runs of a case; code "
        f"{code[:12]}."
    )


@command.research_command("research.sensitivity")
@options.option("--net", type=options.Names(), default=NETS, metavar="NAME,...", heading=options.WHAT, help="Networks.")
@options.option(
    "--fw",
    "framework",
    type=click.Choice(tuple(FRAMEWORKS)),
    default=next(iter(FRAMEWORKS)),
    heading=options.WHAT,
    help="The framework that receives the fault.",
)
@options.option("--seed", type=options.Seed(), default="0", metavar="N", heading=command.HOW, help="The first seed.")
@command.write
def main(net: tuple[str, ...], framework: str, seed: int, write: Path | None) -> None:
    """Measure how small a fault in one framework is when verification refuses it."""
    command.check_page(write, MARKER)
    request = VerifyRequest(net=net, seed=seed)
    networks = request.networks()
    lines: list[Row] = []
    runs = 0
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="onespec-")))
        targets, missing = start_targets(request, folder, stack, command.progress)
        if missing:
            raise BadInput("; ".join(missing))
        clients = {target.label: target.client for target in targets}
        packages = {target.label: target.package for target in targets}
        versions = ", ".join(" ".join(next(iter(target.versions.items()))) for target in targets)
        module = next(target.module for target in targets if target.label == framework)
        code = code_sha256(code_parts(module))
        for name, network in networks.items():
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                experiment = Experiment(network, clients, packages, framework, seed, Path(scratch))
                for row in rows(name, experiment):
                    command.progress(" ".join(row))
                    lines.append(row)
            runs += experiment.runs
            text = f"{markdown(HEAD, lines)}\n\n{conditions(framework, versions, seed, runs, code)}"
            if write:  # after each network, because a large one takes minutes
                markers.put(write, MARKER, f"\n{text}\n", "--write")
    click.echo(text)


if __name__ == "__main__":
    main(prog_name="python -m research.sensitivity")

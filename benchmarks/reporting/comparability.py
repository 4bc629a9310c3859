"""Whether two workloads of two saved runs may be compared, and whether they are the same computation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.records.runs import AnyRun, SpeedRun
from benchmarks.reporting.number_formats import count
from benchmarks.runtime.machine import Machine
from benchmarks.timing.samples import SavedRun, TimedSeries

# Fields of a job that may differ between two runs: names, what depends on the seed, and what is judged separately.
MAY_DIFFER = {
    "cell",
    "framework",
    "version",
    "params",
    "macs",
    "costs",
    "seed",
    "weights_sha256",
    "baseline",
    "control",
}

# How far two loss curves of one computation may diverge, relative to their first loss. Rounding is amplified from step
# to step: float32 LeNets of two correct frameworks diverged by 5e-7 in ten epochs, single steps of networks with ReLU
# by 1e-2, which the mean over an epoch reduces. Leaving out a tenth of the steps moves the first epochs by more.
CURVE_TOLERANCE = {"float64": 1e-4, "float32": 1e-2}
LOW_PRECISION_TOLERANCE = 5e-2  # TF32 and 16-bit formats have 8 to 11 bits

# The reasons with which a speed run refuses a framework whose results are wrong; the second is that of older records.
WRONG_RESULTS = ("results differ from the reference", "another computation")


def incomparable(a: SavedRun, b: SavedRun, before: TimedSeries, after: TimedSeries) -> Iterator[str]:
    """The reasons why a ratio would be meaningless."""
    for run in (a, b):
        if run.kind == "report":
            yield f"{run.path.name} without its records lacks the machine, the threads, the data and the spec"
            return
    if a.kind != b.kind:
        yield f"records of benchmarks.{a.kind} and benchmarks.{b.kind}"
    infos = [run.info for run in (a, b) if run.info]
    machines = [_machines(info, before.key.net) for info in infos]
    for name in ("processor", "cores", "gpu", "governor"):
        a_has, b_has = (list(dict.fromkeys(getattr(machine, name) for machine in of_run)) for of_run in machines)
        for side, several in (("A", a_has), ("B", b_has)):
            if len(several) > 1:
                yield f"machine: {name} of the seeds in {side} {' and '.join(map(short_value, several))}"
        if len(a_has) == len(b_has) == 1:
            yield from _difference(f"machine: {name}", *a_has, *b_has)
    environments = [info.environment if isinstance(info, SpeedRun) else {} for info in infos]
    for name in sorted({name for environment in environments for name in environment}):
        yield from _difference(name, *(environment.get(name) for environment in environments))
    names = {name for work in (before, after) if work.job for name in work.job.__struct_fields__}
    for name in sorted(names - MAY_DIFFER):
        values = [getattr(work.job, name, None) for work in (before, after)]
        yield from _difference(name.replace("_sha256", ""), *values)
    data = [info.data.get(before.key.dataset or "") for info in infos]
    yield from _difference("data files", *(sorted(files.sha256.items()) for files in data if files))


def _machines(info: AnyRun, net: str) -> list[Machine]:
    """The machines that ran a network."""
    if isinstance(info, SpeedRun):
        return [info.machine]
    known = info.machine_by_cell
    return list(dict.fromkeys(known.get(job.cell, info.machine) for job in info.jobs if job.net == net))


def different_computation(before: TimedSeries, after: TimedSeries) -> Iterator[str]:
    """The reasons why the two are not the same computation, although the spec is the same."""
    macs = [getattr(work.job, "macs", None) for work in (before, after)]
    for name, old, new in (
        ("parameters", before.params, after.params),
        ("multiply-adds", macs[0], macs[1]),
        ("certificate", before.certificate, after.certificate),
        ("departures", before.departures, after.departures),
    ):
        if old is not None and new is not None:
            yield from _difference(name, old, new)
    for name, work in (("A", before), ("B", after)):
        if work.reason and work.reason.startswith(WRONG_RESULTS):
            yield f"{name}: {work.reason}"
    known = {} if before.key.tf32 else CURVE_TOLERANCE
    tolerance = known.get(before.key.precision or "", LOW_PRECISION_TOLERANCE)
    for seed in sorted(before.losses.keys() & after.losses.keys()):
        losses = [np.array(work.losses[seed]) for work in (before, after)]
        epochs = min(map(len, losses))
        old, new = (curve[:epochs] for curve in losses)
        diverged = ~np.isclose(old, new, rtol=0, atol=tolerance * abs(old[0]), equal_nan=True)
        if diverged.any():
            epoch = int(np.argmax(diverged))
            yield (
                f"losses diverge in epoch {epoch + 1} of seed {seed}: {old[epoch]:.4g} in A, {new[epoch]:.4g} in B, "
                f"more than {tolerance:g} of the first loss"
            )


def _difference(name: str, old: object = None, new: object = None) -> Iterator[str]:
    if old != new:
        texts = [short_value(value) for value in (old, new)]
        yield f"{name} {texts[0]} in A, {texts[1]} in B" if texts[0] != texts[1] else f"{name} differs"


def short_value(value: Any) -> str:
    """A value in few characters: the beginning of a digest, a number with separators of thousands."""
    if isinstance(value, int) and not isinstance(value, bool):
        return count(value)
    if isinstance(value, list):
        return ", ".join(map(str, value))[:60] or "none"
    text = "none" if value is None else str(value)
    return text[:8] if re.fullmatch(r"[0-9a-f]{64}", text) else text[:60]

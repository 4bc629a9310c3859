"""Verifies frameworks that only predict: their arrays, the output of every layer in evaluation, and their predictions.

The case is that of the frameworks that train, at its first batch. In float64 the limits are theirs, too. In float32
frameworks that train are compared with one another; here a framework is compared with the reference in float64, and its
error may be `HEADROOM` times what one random rounding of the weights gives. Many of these frameworks lack kernels in
float64, so a finding in float32 stands on its own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.runtime.errors import WorkerFailed
from benchmarks.runtime.worker_client import Commands
from benchmarks.verification.case_runner import NetworkVerdict, Target
from benchmarks.verification.cases import Case, Place
from benchmarks.verification.comparison import (
    BLIND,
    HEADROOM,
    ROUNDING,
    UNIT,
    Limits,
    ReferenceEvidence,
    StageVerdict,
    float64_limits,
    relative_errors,
    stage_verdict,
)
from benchmarks.verification.conditioning import CHANGE, ChangedReference
from benchmarks.verification.evidence import PlacedTensor, write_case_files
from benchmarks.verification.reference_client import ReferenceClient
from frameworks.adapter import Setting
from frameworks.errors import Unavailable
from frameworks.numpy_reference import Reference
from frameworks.spec import Auxiliary, Node
from frameworks.training import Training

STAGES = ("parameters", "evaluation")


def verify_inference(
    case: Case,
    name: str,
    targets: Sequence[Target],
    precisions: Sequence[str],
    scratch: Path,
    *,
    threads: int,
    unavailable: Callable[[Target, str, str], object],
) -> Iterator[NetworkVerdict]:
    """The verdicts of the targets on one network.

    scratch: a folder for files. unavailable: called with a target, a precision that it does not have, and the reason.
    """
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        files = Path(folder)
        reference = expected(case, files)
        for target in targets:
            for precision in precisions:
                try:
                    yield _verdict(name, target, precision, reference, files, threads)
                except Unavailable as error:
                    unavailable(target, precision, str(error))


def expected(case: Case, files: Path) -> ReferenceEvidence:
    """What the reference computes, and how much the network amplifies a rounding of its weights at each place.

    files: a folder that gets the files of the case.
    """
    write_case_files(case, files)
    with tempfile.TemporaryDirectory(dir=files) as folder:
        kinds: tuple[type[Reference], ...] = (Reference, ChangedReference)
        clients = [ReferenceClient(Path(folder), (), kind) for kind in kinds]
        setting = Setting(precision="float64")
        exact, changed = ({place: np.array(t) for place, t in tensors(each, case, setting, files)} for each in clients)
    reference = ReferenceEvidence.from_evidence(case, exact)
    errors = relative_errors(iter(changed.items()), reference, (), "float64").plain
    return replace(reference, amplification={place: error / CHANGE for place, error in errors.items()})


def tensors(client: Commands, case: Case, setting: Setting, files: Path) -> Iterator[PlacedTensor]:
    """The arrays of the network in evaluation, the outputs of its layers, and the logits of all images."""
    nodes = [*_evaluated(case.network.nodes)]
    names = {parameter.name for node in nodes for parameter in node.parameters}
    for name, (shape, trained) in client.build(case.network, Training(), setting).arrays.items():
        if name in names:
            yield Place("parameters", "", 0, name), np.array([*shape, trained])
    client.set_weights(files / "weights.npz")
    outputs = client.activations(files / "batch_images.npy", False)
    for node in nodes:
        if node.path in outputs:
            yield Place("evaluation", "", 0, node.path), outputs[node.path]
    client.load("test", files / "images.npy", files / "labels.npy")
    logits = client.predict("test", batch_size=len(case.images) - 1)  # the last batch has one image
    yield Place("evaluation", "predicted", 0, case.network.nodes[-1].path), logits


def _evaluated(nodes: Sequence[Node]) -> Iterator[Node]:
    """The nodes in the order of their outputs, without those of auxiliary classifiers."""
    for node in nodes:
        if not isinstance(node.layer, Auxiliary):
            for branch in node.branches:
                yield from _evaluated(branch)
            yield node


def _verdict(
    name: str,
    target: Target,
    precision: str,
    reference: ReferenceEvidence,
    files: Path,
    threads: int,
) -> NetworkVerdict:
    """The verdict of one target in one precision. Raises Unavailable without that precision."""
    case = reference.case
    setting = target.setting(precision, threads)
    settings = target.client.build(case.network, Training(), setting).settings
    try:
        errors = relative_errors(tensors(target.client, case, setting, files), reference, (), precision)
    except WorkerFailed as error:
        target.restart_if_dead(threads)
        return NetworkVerdict(name, case, precision, target, settings, [], failed=str(error))
    limits = limits_of(reference.amplification, precision)
    verdicts = [_seen(stage_verdict(stage, errors, limits), limits, list(errors.plain), precision) for stage in STAGES]
    return NetworkVerdict(name, case, precision, target, settings, verdicts)


def limits_of(amplification: Mapping[Place, float], precision: str) -> Limits:
    """The limit of the relative error at each place."""
    if precision == "float64":
        return float64_limits(amplification)

    def limit(place: Place) -> float:
        explained = HEADROOM * amplification.get(place, 0.0) * UNIT[precision]
        return 0.0 if place.stage == "parameters" else max(ROUNDING, explained)

    return limit


def _seen(verdict: StageVerdict, limits: Limits, places: Sequence[Place], precision: str) -> StageVerdict:
    """The verdict, unless it is positive only because a limit is so wide that it reveals too little."""
    widest = max((place for place in places if place.stage == verdict.stage), key=limits)
    if verdict.verdict != "ok" or limits(widest) <= BLIND[precision]:
        return verdict
    limit = limits(widest)
    note = f"the network amplifies rounding: an error below {limit:.0e} would not be seen"
    return replace(verdict, verdict="not distinguishable", place=widest, limit=limit, note=note)

"""The list of the articles' experiments, and requests for their runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from benchmarks.articles.experiments import EXPERIMENTS
from benchmarks.records.runs import TrainingRequestInfo
from benchmarks.records.store import RunFolder
from benchmarks.runtime.errors import BadInput
from benchmarks.training import code_references
from benchmarks.training.plan import TrainingRequest
from benchmarks.training.recipes import Recipe


class Listed(NamedTuple):
    """An experiment and variant as the list shows it."""

    recipe: str
    variant: str
    networks: str  # separated by commas
    dataset: str
    epochs: int
    published_figures: int


def listing() -> list[Listed]:
    """Every experiment in every variant."""
    return [
        Listed(name, variant, ",".join(one.nets), one.recipe.dataset, one.recipe.epochs, len(one.published))
        for name, of_name in EXPERIMENTS.items()
        for variant, one in of_name.variants.items()
    ]


def experiment_request(recipe: str, given: Mapping[str, Any]) -> TrainingRequest:
    """The request for an experiment with the options that are not None. Raises BadInput."""
    experiment = EXPERIMENTS.get(recipe)
    if not experiment:
        raise BadInput(f"--recipe {recipe}: no such recipe; there are {', '.join(EXPERIMENTS)}")
    variant = given["variant"]
    if variant not in experiment.variants:
        raise BadInput(f"--variant {variant}: {recipe} has {', '.join(experiment.variants)}")
    options = {name: value for name, value in given.items() if value is not None}
    chosen = experiment.variants[variant]
    return TrainingRequest(net=chosen.nets, experiment=recipe, experiment_recipe=chosen.recipe, **options)


# Options that a resumed run obeys, or that `resumed_request` checks; `recipe` is recorded as the experiment.
OBEYED = {"resume", "nets", "pythons", "adapters", "timeout", "as_json", "quiet", "margin", "target", "forecast"}
RECORDED_AS = {"recipe": "experiment"}


def check_resumed_options(folder: Path, given: Mapping[str, tuple[str, Any]]) -> None:
    """Raise BadInput for an option that a resumed run would ignore: it has another value than the run in the folder.

    given: the options of the command line, each with its name and value, by parameter.
    """
    saved = RunFolder.open(folder).training_run.request
    for option, value in (given[name] for name in ("plan", "shard") if name in given):
        shown = "/".join(map(str, value)) if option == "--shard" else value
        raise BadInput(f"{option} {shown}: {folder} holds its plan, if it has one; leave the option out")
    for parameter, (option, value) in given.items():
        if parameter in OBEYED:
            continue
        owner = saved.images if hasattr(saved.images, parameter) else saved
        recorded = folder.parent if parameter == "out" else getattr(owner, RECORDED_AS.get(parameter, parameter))
        same = value.resolve() == recorded.resolve() if parameter == "out" else _as_list(value) == _as_list(recorded)
        if not same:
            shown = "none" if recorded is None else recorded
            raise BadInput(
                f"{option} {_text(value)}: the run in {folder} has {_text(shown)}, and --resume cannot change it; "
                "leave the option out, or start a new run"
            )


def _as_list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def resumed_experiment(folder: Path, given: Mapping[str, Any]) -> TrainingRequest:
    """The request of an interrupted run of an experiment, with new interpreters and timeout. Raises BadInput."""
    if not RunFolder.open(folder).training_run.request.experiment:
        raise BadInput(f"--resume {folder}: not the run of an experiment; continue it with `onespec run --resume`")
    return resumed_request(folder, given["pythons"], given["timeout"])


def resumed_request(
    folder: Path,
    pythons: Mapping[str, str],
    timeout: float,
    nets: Sequence[str] = (),
    adapters: Sequence[str] = (),
) -> TrainingRequest:
    """The request of an interrupted run, with new interpreters and timeout.

    nets, adapters: given on the command line; they repeat those of the run, and thereby allow its code. Raises BadInput
    for others, for an experiment that does not exist, and for code of the record that this user has neither run nor
    given.
    """
    run = RunFolder.open(folder)
    if run.training_run.merged:
        raise BadInput(f"--resume {folder}: it was merged from shards; resume the shard, and merge again")
    saved = run.training_run.request
    run.records()  # refuses a damaged record before anything is prepared
    given = code_references.references(nets, adapters, pythons)
    code_references.check_repeated("--net", nets, saved.net, f"the run in {folder}")
    code_references.check_repeated("--adapter", adapters, saved.adapters, f"the run in {folder}")
    saved = msgspec.structs.replace(saved, pythons={**saved.pythons, **pythons}, timeout=timeout)
    recorded = code_references.references(saved.net, saved.adapters, saved.pythons)
    code_references.check_known(f"--resume {folder}: its run.json", recorded, given)
    try:
        return TrainingRequest.from_info(saved, recipe_of(saved, f"--resume {folder}"))
    except BadInput as error:
        raise BadInput(f"{folder / 'run.json'}: {error}") from None


def recipe_of(saved: TrainingRequestInfo, source: str) -> Recipe | None:
    """The recipe of the experiment that a saved request names; None if it names none.

    Raises BadInput, which starts with `source`, if there is no such experiment.
    """
    if not saved.experiment:
        return None
    experiment = EXPERIMENTS.get(saved.experiment)
    if experiment is None or saved.variant not in experiment.variants:
        raise BadInput(f"{source}: this version has no experiment {saved.experiment} in the variant {saved.variant}")
    return experiment.variants[saved.variant].recipe

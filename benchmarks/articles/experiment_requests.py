"""The list of the articles' experiments, and requests for their runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from benchmarks.articles.experiments import EXPERIMENTS
from benchmarks.records.store import RunFolder
from benchmarks.runtime.errors import BadInput
from benchmarks.training.plan import TrainingRequest


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


def resumed_experiment(folder: Path, given: Mapping[str, Any]) -> TrainingRequest:
    """The request of an interrupted run of an experiment, with new interpreters and timeout. Raises BadInput."""
    request = resumed_request(folder, given["pythons"], given["timeout"])
    if not request.experiment:
        raise BadInput(f"--resume {folder}: not the run of an experiment; continue it with `onespec run --resume`")
    return request


def resumed_request(folder: Path, pythons: Mapping[str, str], timeout: float) -> TrainingRequest:
    """The request of an interrupted run, with new interpreters and timeout. Raises BadInput."""
    saved = RunFolder.open(folder).training_run.request
    saved = msgspec.structs.replace(saved, pythons={**saved.pythons, **pythons}, timeout=timeout)
    recipe = EXPERIMENTS[saved.experiment].variants[saved.variant].recipe if saved.experiment else None
    return TrainingRequest.from_info(saved, recipe)

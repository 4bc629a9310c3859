"""The commands of `onespec` by name."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """A command as `onespec --help` lists it, without importing it."""

    section: str
    module: str  # in `benchmarks`
    summary: str
    attribute: str = "command"  # of the module


COMMANDS = {
    "run": Entry("Measure", "run", "Train networks side by side in every framework."),
    "speed": Entry("Measure", "speed", "Time training and inference, with confidence intervals."),
    "compare": Entry("Measure", "compare", "Compare two saved runs, row by row."),
    "reproduce": Entry("Measure", "reproduce", "Repeat published experiments and compare the figures."),
    "verify": Entry("Verify", "verify", "Verify that the frameworks compute the same function."),
    "plan": Entry("Several machines", "plan", "Plan a training run for several machines."),
    "merge": Entry("Several machines", "merge", "Merge the shards of a plan into one run."),
    "summary": Entry("Inspect", "summary", "Show a network's layers, shapes, parameters and MACs."),
    "report": Entry("Inspect", "report", "Write the tables of a saved run again."),
    "networks": Entry("Inspect", "networks", "List the networks."),
    "frameworks": Entry("Inspect", "frameworks", "List the frameworks and their versions."),
    "datasets": Entry("Data and weights", "data", "List the data sets and where their files are.", "datasets"),
    "data": Entry("Data and weights", "data", "Describe, fetch and verify data sets."),
    "predict": Entry("Data and weights", "predict", "Predict with trained weights in any framework."),
    "import-weights": Entry(
        "Data and weights", "checkpoint", "Convert PyTorch, Keras or Gluon weights to a checkpoint."
    ),
    "port": Entry("Data and weights", "port", "Write a network as source of a framework, or compare two."),
}

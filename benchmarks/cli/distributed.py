"""`--executor` of a command: its parts run on the nodes of a cluster, and the result is that of one command."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from benchmarks.cli import terminal
from benchmarks.cli.command import command_line, ends_with, when_stopped
from benchmarks.cli.exit_codes import ExitCode
from benchmarks.cli.streams import show, tell
from benchmarks.runtime.errors import BadInput

if TYPE_CHECKING:
    from benchmarks.distribution.coordinator import Distribution
    from benchmarks.distribution.engines import Engine, Needs
    from benchmarks.distribution.training_shards import TrainingDistribution
    from benchmarks.records.store import RunFolder

# What a command with --executor and --resume obeys; all else is in the folder.
OBEYED = {
    *("resume", "nets", "adapters", "pythons", "timeout", "as_json", "quiet"),
    *("executor", "executor_options", "ray_address", "dry_run", "margin", "target"),
}


@dataclass(frozen=True)
class Executor:
    """The options `--executor`, `--executor-option`, `--ray-address` and `--dry-run`."""

    name: str | None
    options: Mapping[str, str]
    ray_address: str | None
    dry_run: bool

    def check(self, shard: tuple[int, int] | None) -> None:
        """Raise BadInput for an option that has no effect."""
        if self.name is None and self.dry_run:
            raise BadInput("--dry-run: --executor is missing; write submitit, submitit:local or ray")
        if self.ray_address is not None and self.name != "ray":
            raise BadInput(f"--ray-address {self.ray_address}: only --executor ray takes it")
        if self.options and not (self.name or "").startswith("submitit"):
            key, text = next(iter(self.options.items()))
            raise BadInput(f"--executor-option {key}={text}: only --executor submitit takes it")
        if self.name and shard:
            raise BadInput(
                f"--shard {shard[0]}/{shard[1]}: --executor {self.name} runs all shards; leave one option out"
            )

    def engine(self, needs: Needs) -> Engine:
        """The engine, imported and connected; raises BadInput. needs: of the shards."""
        if self.name == "ray":
            from benchmarks.distribution.ray_engine import RayEngine

            return RayEngine(self.ray_address, needs, connect=not self.dry_run)
        from benchmarks.distribution.submitit_engine import SubmititEngine

        cluster = "local" if self.name == "submitit:local" else "slurm"
        return SubmititEngine(cluster, self.options, needs, check=not self.dry_run)

    def advice(self, run: TrainingDistribution) -> str:
        """What is saved, and the command that goes on."""
        path = click.get_current_context().command_path
        command = f"{path} --executor {self.name} --resume {shlex.quote(str(run.home))}"
        return f"what has finished is recorded; continue with: {command}"


def check_resumed_options(folder: str, given: Mapping[str, tuple[str, Any]]) -> None:
    """Raise BadInput for an option that the folder decides.

    given: the options of the command line, each with its name and value, by parameter.
    """
    for parameter, (option, value) in given.items():
        if parameter not in OBEYED:
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            raise BadInput(f"{option} {text}: --resume {folder} decides it; leave the option out")


def show_dry_run(run: Distribution, engine: Engine, as_json: bool) -> ExitCode:
    """Print what would run where."""
    from benchmarks.distribution import coordinator
    from benchmarks.reporting import tables

    rows = coordinator.rows(run, engine)
    where = engine.where
    engine.stop()
    if as_json:
        show(json.dumps([dict(zip(run.head, row)) for row in rows], indent=1))
        return ExitCode.OK
    first = [shlex.join(run.command_line(int(rows[0][0].partition("/")[0])))] if rows else []
    show("\n\n".join([tables.fitted(run.head, rows, terminal.width()), f"{where}.", *first]))
    return ExitCode.OK


def distributed(
    executor: Executor,
    run: TrainingDistribution,
    engine: Engine,
    as_json: bool,
    quiet: bool,
    *,
    text: Callable[[RunFolder], str] | None = None,
) -> ExitCode:
    """Run a plan through an engine, and print the merged result; with `--dry-run`, only what would run.

    text: of the merged run; None: its table.
    """
    from benchmarks.cli.shards_display import ShardsDisplay
    from benchmarks.distribution import training_shards
    from benchmarks.reporting import run_report

    if executor.dry_run:
        return show_dry_run(run, engine, as_json)
    when_stopped(executor.advice(run))
    run.display = ShardsDisplay(quiet)
    written = []
    folder, missing = training_shards.execute(
        run, engine, command_line(), write_report=lambda merged: written.append(run_report.write(merged))
    )
    (cells,) = written
    for line in missing:
        tell(line)
    failed = bool(missing) or run_report.has_failed(cells, run.plan.request)
    code = ends_with(ExitCode.FAILED if failed else ExitCode.OK)
    if failed and not quiet:
        tell(executor.advice(run))
    if as_json:
        show(cells.to_json(orient="records", indent=1))
    else:
        show(text(folder) if text else run_report.table(cells, terminal.width()))
        show(str(folder.path))
    return code

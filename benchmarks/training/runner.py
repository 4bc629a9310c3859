"""Train networks side by side in every framework, and report.

    python -m benchmarks.run --net lenet --fw all

The frameworks' workers take turns epoch by epoch on the same pictures in the same order, from the same weights.
From Python: `frame = run(net="lenet", frameworks=["torch", "mxnet"])` gives the table of cells as a DataFrame.
Exit status: 0 done; 1 a framework that was named could not be had, or a cell failed; 2 bad input; 3 data missing or
corrupt; 130 stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from benchmarks.cli.progress import Show
from benchmarks.datasets.registry import DATASETS, Dataset
from benchmarks.records import store
from benchmarks.records.store import Folder
from benchmarks.reporting import run_report
from benchmarks.runtime import cpu_load
from benchmarks.runtime.environments import Environment, environment, parse_frameworks, parse_pythons
from benchmarks.runtime.errors import BadInput, DataError, Parser, WorkerFailed
from benchmarks.runtime.plugins import from_file, register
from benchmarks.timing import schedule
from benchmarks.training.plan import Request, described, plan, too_large
from benchmarks.training.recipes import OPTIMIZERS
from benchmarks.training.trainer import Cell, Job, weights_sha256
from frameworks.errors import Unavailable
from frameworks.registry import FRAMEWORKS


def environments(request: Request, device: str, show: Show) -> dict[str, Environment | str]:
    """Each framework's interpreter by label, or why it cannot be had."""
    found: dict[str, Environment | str] = {}
    for one in parse_frameworks(request.frameworks):
        try:
            found[one.label] = environment(one, request.pythons, device=device, progress=show.note)  # type: ignore[arg-type]
        except Unavailable as error:
            found[one.label] = str(error)
            show.note(f"{one.label}: {error}")
    return found


def side_by_side(cells: Sequence[Cell], found: Mapping[str, Environment | str], timeout: float, show: Show) -> None:
    """Open the cells, let them take turns epoch by epoch, finish them. A cell that fails does not stop the others."""
    launch = time.time_ns()
    for cell in cells:
        with _recorded(cell, show):
            place = found[cell.job.framework]
            if isinstance(place, str):
                raise Unavailable(place)
            cell.open(place.python, FRAMEWORKS[parse_frameworks(cell.job.framework)[0].name], timeout)
    epochs = cells[0].job.epochs
    with show.begin([cell.job.cell for cell in cells], epochs, [cell.epoch for cell in cells]):
        for number, order in schedule.turns(cells, epochs):
            for cell in order:
                if not cell.over and cell.epoch == number:
                    with _recorded(cell, show):
                        show.epoch(cell.job.cell, cell.train_epoch(launch, show.moved))
    for cell in cells:
        if not cell.over:
            with _recorded(cell, show):
                cell.finish()


@contextlib.contextmanager
def _recorded(cell: Cell, show: Show) -> Iterator[None]:
    """What ends a cell before its time becomes its record."""
    try:
        yield
    except (Unavailable, WorkerFailed) as error:
        cell.fail("unavailable" if isinstance(error, Unavailable) else "failed", str(error))
        show.over(cell.job.cell, str(error))


def execute(
    request: Request, show: Show, out: Path, resume: Path | None = None, command: Sequence[str] = ("run(...)",)
) -> Folder:
    """Run all that is asked for and write the report; also when stopped half-way."""
    register(request.adapters)
    groups, data = plan(request, show)
    jobs = [described(job) for group in groups for job in group]
    folder = _resumed(resume, jobs) if resume else Folder.create(out, request.experiment or "-".join(request.net))
    try:
        found = environments(request, groups[0][0].device, show)
    except BadInput:
        if not resume:
            folder.discard()
        raise
    run: dict[str, Any] = folder.run if resume else {"began": datetime.now().astimezone().isoformat(timespec="seconds")}
    run |= {
        "command": run.get("command") or command,
        "request": dataclasses.asdict(request),
        "machine": store.machine(),
        "commit": store.commit(),
        "data": {name: {"sha256": found.sha256, "published": found.published, "source": found.source}
                 for name, found in data.items()},
        "jobs": jobs,
    }  # fmt: skip
    folder.write_run(run)
    try:
        began, before = time.monotonic(), cpu_load.now()
        for group in groups:
            digest = weights_sha256(group[0])  # the same in every framework
            for entry in run["jobs"]:
                if entry["cell"] in {job.cell for job in group}:
                    entry["weights_sha256"] = digest
            folder.write_run(run)
            _run_group(group, data, folder, found, request, show)
        run["others"] = cpu_load.share(before, cpu_load.now(), run["machine"]["cores"])
        folder.write_run({**run, "wall_seconds": run.get("wall_seconds", 0) + time.monotonic() - began})
    finally:
        run_report.write(folder)
    return folder


def _run_group(
    group: Sequence[Job],
    data: Mapping[str, Dataset],
    folder: Folder,
    found: Mapping[str, Environment | str],
    request: Request,
    show: Show,
) -> None:
    histories = folder.histories()
    with tempfile.TemporaryDirectory(prefix="onespec-") as scratch, contextlib.ExitStack() as stack:
        cells = [
            Cell(job, data[job.dataset], folder, Path(scratch), histories.get(job.cell, store.History()), request.save)
            for job in group
        ]
        for cell in cells:
            stack.callback(cell.close)
        living = [cell for cell in cells if not cell.over]
        if reason := too_large([cell.job for cell in living]):
            for cell in living:
                cell.fail("unavailable", reason)
                show.over(cell.job.cell, reason)
        elif living:
            side_by_side(living, found, request.timeout, show)


def _resumed(path: Path, jobs: Sequence[dict[str, Any]]) -> Folder:
    """The folder to go on with, if what it describes is what would be run now."""
    folder = Folder.open(path)
    for then, now in zip(folder.run["jobs"], jobs, strict=True):
        changed = [name for name in now if then.get(name) != now[name]]
        if changed:
            raise BadInput(f"--resume {path}: {now['cell']} is another computation now: {', '.join(changed)} changed")
    folder.mend()
    return folder


def run(
    net: str | Sequence[str] = "lenet",
    frameworks: str | Sequence[str] = "all",
    *,
    out: str | Path = "results",
    quiet: bool = True,
    seeds: int | Sequence[int] = (0,),
    **options: Any,
) -> pd.DataFrame:
    """What the command does, from Python: the table of cells, a row per network, framework and seed.

    Options are those of `Request`. BadInput, DataError: as the command's exit status 2 and 3. An unavailable framework
    or a failed cell is a row with its reason.
    """
    request = Request(
        net=(net,) if isinstance(net, str) else tuple(net),
        frameworks=frameworks if isinstance(frameworks, str) else ",".join(frameworks),
        seeds=(seeds,) if isinstance(seeds, int) else tuple(seeds),
        **options,
    )
    return run_report.frame(execute(request, Show(quiet), Path(out)))


# --- the command ------------------------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    made = Parser(prog="python -m benchmarks.run", description="Train networks side by side in every framework.")
    what = made.add_argument_group("what")
    what.add_argument("--net", default="lenet", metavar="NAME,...", help="networks, `all`, or file.py:function [lenet]")
    what.add_argument("--fw", default="all", metavar="NAME,...", help=f"{', '.join(FRAMEWORKS)}, torch==2.12.1; [all]")
    what.add_argument("--quick", action="store_true", help="2 epochs on 2,000 pictures that come with the package")
    how = made.add_argument_group("how (what is not given is the network's recipe)")
    how.add_argument("--dataset", metavar="NAME", help=", ".join(DATASETS))
    how.add_argument("--epochs", type=int, metavar="N")
    how.add_argument("--batch-size", type=int, metavar="N")
    how.add_argument("--lr", type=float, metavar="RATE", help="learning rate")
    how.add_argument("--optimizer", metavar="NAME", help=", ".join(OPTIMIZERS))
    how.add_argument(
        "--seed", default="0", metavar="N,...", help="of weights, order and dropout; several are several runs"
    )
    how.add_argument("--train-size", type=int, metavar="N", help="only the first N training pictures")
    how.add_argument("--test-size", type=int, metavar="N")
    where = made.add_argument_group("where")
    where.add_argument(
        "--device", default="auto", choices=("auto", "cpu", "cuda"), help="[auto: cuda where there is one]"
    )
    where.add_argument("--threads", type=int, metavar="N", help="of each worker [all cores]")
    where.add_argument(
        "--python", action="append", default=[], metavar="FW=PATH", help="an interpreter that has the framework"
    )
    where.add_argument(
        "--adapter", action="append", default=[], metavar="FILE.py:CLASS", help="a framework of your own, by its class"
    )
    where.add_argument(
        "--timeout", type=float, default=600.0, metavar="S", help="a worker silent for so long has failed"
    )
    kept = made.add_argument_group("results")
    kept.add_argument("--out", type=Path, default=Path("results"), metavar="FOLDER", help="where the run's folder goes")
    kept.add_argument("--resume", type=Path, metavar="FOLDER", help="go on with a run that was stopped")
    kept.add_argument("--save", action="store_true", help="keep the trained weights, for benchmarks.predict")
    kept.add_argument("--quiet", action="store_true", help="no progress, only the table")
    return made


_GIVEN = "dataset epochs batch_size lr optimizer threads device train_size test_size timeout quick save".split()


def _request(options: argparse.Namespace) -> Request:
    pythons = parse_pythons(options.python)
    if options.resume:
        saved = Folder.open(options.resume).run["request"]
        return Request(**{**saved, "pythons": {**saved["pythons"], **pythons}, "timeout": options.timeout})
    given = {name: getattr(options, name) for name in _GIVEN}
    return Request(
        net=tuple(options.net.split(",")),
        frameworks=options.fw,
        seeds=tuple(_seed(text) for text in options.seed.split(",")),
        pythons=pythons,
        adapters=tuple(options.adapter),
        **{name: value for name, value in given.items() if value is not None},
    )


def _seed(text: str) -> int:
    if not text.strip().isdigit():
        raise BadInput(f"--seed {text}: seeds are whole numbers, 0 or more, with commas between")
    return int(text)


def main(arguments: list[str] | None = None) -> int:
    show = Show()
    try:
        options = parser().parse_args(arguments)
        show = Show(options.quiet)
        command = ["python", "-m", "benchmarks.run", *(sys.argv[1:] if arguments is None else arguments)]
        folder = execute(_request(options), show, options.out, options.resume, command)
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    except DataError as error:
        print(error, file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        show.note("stopped; what was finished is kept: go on with --resume and the run's folder")
        return 130
    cells = run_report.frame(folder)
    console = Console() if sys.stdout.isatty() else Console(width=run_report.WIDE)
    console.print(run_report.table(cells, console.width))
    print(folder.path)
    outsiders = [from_file(text).name for text in options.adapter]
    named = cells if options.fw != "all" else cells[cells["framework"].isin(outsiders)]
    wrong = set(cells["status"]) & {"failed", "unfinished"} or "unavailable" in set(named["status"])
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

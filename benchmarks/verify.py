"""`onespec verify`: verify that the frameworks compute the same function, or report the first difference."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmarks.cli import options
from benchmarks.cli.command import announce, command_line, ends_with, is_given, when_stopped
from benchmarks.cli.distributed import Executor, show_dry_run
from benchmarks.cli.exit_codes import ExitCode
from benchmarks.cli.heartbeat import CURRENT
from benchmarks.cli.streams import show, tell
from benchmarks.runtime.errors import BadInput

if TYPE_CHECKING:
    from benchmarks.verification.time_left import WorkLeft


@options.command(
    "verify",
    examples=(
        "--net lenet --fw all",
        "--net all --out results/certificate",
        "--net all --out results/certificate --resume",
        "--fw plainjax --adapter examples/jax_adapter.py:PlainJax",
        "--net lenet_bn --semantics native",
        "--net all --out results/certificate --executor submitit",
        "--net resnet18 --fw torch,jax --precision bfloat16",
    ),
)
@options.nets
@options.frameworks
@options.option(
    "--precision",
    type=click.Choice(("float64", "float32", "both", "bfloat16", "float16")),
    default="both",
    heading=options.WHAT,
    help="float64 finds faults; the others include it. float32 compares the frameworks with one another, bfloat16 and "
    "float16 with what such layers give in the reference.",
)
@options.option(
    "--semantics",
    type=click.Choice(("aligned", "native")),
    default="aligned",
    heading=options.WHAT,
    help="aligned: one definition for all. native: the default of each framework, and what it changes.",
)
@options.option(
    "--size",
    type=click.Choice(("small", "full")),
    default="small",
    heading=options.WHAT,
    help="Input: the smallest that every layer accepts, or that of the paper.",
)
@options.option(
    "--batch-size", type=options.Count(2, 10_000), default=4, metavar="N", heading=options.WHAT, help="Images per step."
)
@options.option(
    "--steps",
    type=options.Count(1, 10_000),
    metavar="N",
    show_default="50; 4 for large networks",
    heading=options.WHAT,
    help="Length of the sequence of training losses.",
)
@options.option(
    "--seed",
    "seeds",
    type=options.SEEDS,
    default="0",
    metavar="N,...",
    heading=options.WHAT,
    help="Seeds of weights and images, such as 0,1,2 or 0-4; each seed is a verification.",
)
@options.option(
    "--threads", type=options.THREADS, default=1, metavar="N", heading=options.WHERE, help="Threads of each worker."
)
@options.device_from("cpu")
@options.pythons
@options.adapters
@options.option(
    "--shard",
    type=options.ShardNumber(),
    metavar="I/N",
    show_default="all parts",
    heading=options.MACHINES,
    help="Verify every Nth part, from part I on: the framework checks, then each network.",
)
@options.executor
@options.option(
    "--out",
    type=options.NEW_FOLDER,
    metavar="FOLDER",
    heading=options.RESULTS,
    help="Write certificate.json and certificate.md to this folder.",
)
@options.option(
    "--resume",
    is_flag=True,
    show_default=False,
    heading=options.RESULTS,
    help="Keep the networks that the certificate in --out already covers.",
)
@options.option(
    "--read",
    type=options.FOLDER,
    metavar="FOLDER",
    heading=options.RESULTS,
    help="Verify nothing; write the pages of the certificate in this folder again.",
)
@options.option(
    "--readme",
    type=options.FILE,
    metavar="FILE",
    heading=options.RESULTS,
    help="Replace the table of certificates in this page.",
)
@options.as_json
@options.quiet
def command(
    nets: tuple[str, ...],
    seeds: tuple[int, ...],
    adapters: tuple[str, ...],
    shard: tuple[int, int] | None,
    executor: str | None,
    executor_options: dict[str, str],
    ray_address: str | None,
    dry_run: bool,
    out: Path | None,
    read: Path | None,
    readme: Path | None,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> ExitCode:
    """Verify that the frameworks compute the same function, or report the first difference.

    Every framework builds the network with the same weights and is compared with a NumPy reference in float64: the
    output of every layer, the loss, every gradient, the steps of every optimizer, the running statistics of batch
    normalization, dropout, and a sequence of training losses. A difference is reported with its layer, its tensor,
    its step and, if known, the likely cause.
    """
    if len(seeds) > 1 and out:
        raise BadInput("--out takes the certificate of a single --seed")
    cluster = Executor(executor, executor_options, ray_address, dry_run)
    cluster.check(shard)
    _check_folder(cluster, shard, out, read)
    if not read:
        announce(f"Verifying {', '.join(nets)} in {options.in_words(given['frameworks'])}.", quiet)
    from benchmarks.records import certificates
    from benchmarks.reporting.certificate_pages import brief, rewrite_pages, summary, verification_text, write_pages
    from benchmarks.reporting.markers import around, put
    from benchmarks.verification.verify_run import VerifyRequest, execute

    if read:
        table = rewrite_pages(read, readme)
        show(certificates.text(certificates.read(read)) if as_json else table)
        return ExitCode.OK
    if readme:
        around(readme, "certificates")  # refuses a page without the table before the work
    when_stopped(_advice(out))
    requests = [VerifyRequest(nets, adapters=adapters, out=out, seed=seed, shard=shard, **given) for seed in seeds]
    missing: list[str] = []
    if executor:
        from benchmarks.cli.shards_display import ShardsDisplay
        from benchmarks.distribution import verification_shards

        run = verification_shards.VerificationDistribution.of(requests[0], command_line())
        engine = cluster.engine(run.needs)
        if dry_run:
            return show_dry_run(run, engine, as_json)
        run.display = ShardsDisplay(quiet)
        verification, missing = verification_shards.execute(run, engine, write_pages=write_pages)
        verifications = [verification]
    else:
        if shard:
            from benchmarks.distribution.verification_merging import remove_shard, write_shard

            remove_shard(requests[0])
        verifications = [
            execute(
                request,
                lambda line: _progress(line, quiet),
                command_line(),
                on_finding=lambda one, left: _progress(
                    f"{one.net} {one.framework} {one.precision}: {brief(one)} ({_left(left)})", quiet
                ),
                doing=CURRENT.doing,
                write_pages=write_pages,
            )
            for request in requests
        ]
        if shard:
            write_shard(requests[0], verifications[0])
    named = given["frameworks"] != "all" or adapters
    failed = bool(missing) or any(not each.same or (each.skipped and named) for each in verifications)
    code = ends_with(ExitCode.FAILED if failed else ExitCode.OK)
    for line in missing:
        tell(line)
    if missing and not quiet:
        tell(_advice(out))
    whole = [verification.certificate for verification in verifications]
    if as_json:
        texts = [certificates.text(certificate) for certificate in whole]
        click.echo(texts[0] if len(texts) == 1 else f"[\n{','.join(texts)}]")
    else:
        for verification in verifications:
            show(verification_text(verification))
    if readme:
        put(readme, "certificates", summary(whole[-1]))
    return code


def _check_folder(cluster: Executor, shard: tuple[int, int] | None, out: Path | None, read: Path | None) -> None:
    """Raise BadInput if shards have no folder, or nothing is verified."""
    option = f"--executor {cluster.name}" if cluster.name else f"--shard {shard[0]}/{shard[1]}" if shard else ""
    if option and read:
        raise BadInput(f"{option}: --read {read} verifies nothing; leave one option out")
    if option and not out:
        raise BadInput(f"{option}: --out is missing; name the folder of the certificate")


def _advice(out: Path | None) -> str:
    if not out:
        return "--out FOLDER saves the networks that are verified"
    again = [*command_line(), *([] if is_given("resume") else ["--resume"])]
    return f"verified networks are saved in {out}; continue with: {shlex.join(again)}"


def _left(left: WorkLeft) -> str:
    """How many findings are made, and how long the others take."""
    from benchmarks.reporting.number_formats import duration

    made = f"{left.done} of {left.total}"
    if left.done == left.total:
        return made
    return f"{made}; about {duration(left.seconds)} left"


def _progress(line: str, quiet: bool) -> None:
    if not quiet:
        tell(line)


if __name__ == "__main__":
    command(prog_name="python -m benchmarks.verify")

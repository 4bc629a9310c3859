"""`onespec networks`: list the networks."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.cli import options, terminal
from benchmarks.cli.exit_codes import ExitCode

_LAYERS = "Only networks that have all of these kinds of layers, such as Multiply or HardSwish."


@options.command("networks", examples=("", "--family resnet,vgg", "--max-params 5M --layer Multiply", "--json"))
@options.option(
    "--family",
    "families",
    type=options.Names(),
    metavar="NAME,...",
    show_default="all",
    heading=options.WHAT,
    help="Only networks of these families.",
)
@options.option(
    "--layer",
    "layers",
    type=options.Names(),
    metavar="KIND,...",
    show_default="any",
    heading=options.WHAT,
    help=_LAYERS,
)
@options.option(
    "--min-params",
    type=options.Quantity(),
    metavar="N",
    heading=options.WHAT,
    help="Only networks with at least this many parameters.",
)
@options.option(
    "--max-params",
    type=options.Quantity(),
    metavar="N",
    heading=options.WHAT,
    help="Only networks with at most this many parameters, such as 500k or 5M.",
)
@options.option(
    "--max-macs",
    type=options.Quantity(),
    metavar="N",
    heading=options.WHAT,
    help="Only networks with at most this many MACs, such as 300M or 1.5G.",
)
@options.option(
    "--readme",
    type=options.FILE,
    metavar="FILE",
    heading=options.RESULTS,
    help="Replace the table of networks in this page.",
)
@options.as_json
@options.quiet
def command(
    families: tuple[str, ...] | None,
    layers: tuple[str, ...] | None,
    min_params: int | None,
    max_params: int | None,
    max_macs: int | None,
    readme: Path | None,
    as_json: bool,
    quiet: bool,
) -> ExitCode:
    """List the networks.

    Shows family, year of the source, input, classes, parameters, multiply-accumulates (MACs) of one image, and the
    layers that a network has beyond the classic ones, which are convolutions, pools, ReLU, batch norm and the like.
    """
    from benchmarks.reporting.markers import put
    from benchmarks.reporting.network_list import Filters, entries, report

    listed = entries(Filters(families or (), layers or (), min_params, max_params, max_macs))
    if readme:
        put(readme, "networks", f"{report(listed, 'markdown', None)}\n")
    click.echo(report(listed, "json" if as_json else "table", terminal.width()))
    return ExitCode.OK


if __name__ == "__main__":
    command(prog_name="python -m benchmarks.networks")

"""`onespec summary`: a network's layers, shapes, parameters and multiply-accumulates. No framework is imported."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.cli import options, terminal
from benchmarks.cli.exit_codes import ExitCode
from benchmarks.reporting import network_summary
from benchmarks.runtime.errors import BadInput
from frameworks.networks import NETWORKS


@options.command(
    "summary",
    examples=(
        "--net lenet",
        "--net all",
        "--net my_net.py:tiny --json",
        "--net googlenet --draw googlenet.svg",
        "--audit --format markdown",
    ),
)
@options.option(
    "--net",
    metavar="NAME",
    heading=options.WHAT,
    help="A network, `all`, or a file: FILE.py:FUNCTION, FILE.onnx, ...; `onespec networks` lists them.",
)
@options.option(
    "--audit",
    is_flag=True,
    show_default=False,
    heading=options.WHAT,
    help="Compare what articles state about these networks with what is counted here.",
)
@options.option(
    "--input",
    "shape",
    type=options.InputShape(),
    metavar="C,H,W",
    show_default="the paper's",
    heading=options.WHAT,
    help="Channels, height, width.",
)
@options.option(
    "--classes",
    type=options.CLASSES,
    metavar="N",
    show_default="the paper's",
    heading=options.WHAT,
    help="Number of classes.",
)
@options.option(
    "--draw",
    type=options.NEW_FILE,
    metavar="FILE",
    heading=options.RESULTS,
    help="Draw the network into this SVG file.",
)
@options.option(
    "--format",
    "form",
    type=click.Choice(("table", "markdown")),
    default=None,
    show_default="by --out, else table",
    heading=options.RESULTS,
    help="Form of the table.",
)
@options.option(
    "--out",
    type=options.NEW_FILE,
    metavar="FILE",
    heading=options.RESULTS,
    help="Write to this file; .md and .json choose the format.",
)
@options.as_json
@options.quiet
def command(
    net: str | None,
    audit: bool,
    shape: tuple[int, ...] | None,
    classes: int | None,
    draw: Path | None,
    form: str | None,
    out: Path | None,
    as_json: bool,
    quiet: bool,
) -> ExitCode:
    """Show a network's layers, shapes, parameters and multiply-accumulates (MACs) of one image.

    No framework is imported or needed.
    """
    if (net is None) == (not audit):
        raise BadInput("--net NAME or --audit: give exactly one")
    if draw:
        if draw.suffix != ".svg":
            raise BadInput(f"--draw {draw}: a drawing is an SVG file; write a name that ends in .svg")
        if net is None or net == "all":
            raise BadInput(f"--draw {draw}: a drawing shows one network; name it with --net")
        from benchmarks.reporting.network_diagrams import svg

        text = svg(network_summary.load(net, classes, shape))
        click.echo(network_summary.write_text("--draw", draw, text))
        return ExitCode.OK
    suffix = out.suffix if out else ""
    width = None if out else terminal.width()
    form = "json" if as_json else form or {".md": "markdown", ".json": "json"}.get(suffix, "table")
    if net is None:
        from benchmarks.articles import claims

        text = claims.report(form)
    elif net == "all":
        text = network_summary.report_all(
            [network_summary.load(name, classes, shape) for name in NETWORKS], form, width
        )
    else:
        text = network_summary.report(network_summary.load(net, classes, shape), form, width)
    click.echo(network_summary.write_text("--out", out, text) if out else text)
    return ExitCode.OK


if __name__ == "__main__":
    command(prog_name="python -m benchmarks.summary")

"""`onespec port`: write a network as source of a framework, or as ONNX."""

from __future__ import annotations

import json
from pathlib import Path

import click

from benchmarks.cli import options
from benchmarks.cli.command import announce
from benchmarks.cli.exit_codes import ExitCode
from benchmarks.runtime.errors import BadInput


@options.command(
    "port",
    examples=(
        "lenet --to torch -o ported",
        "resnet18 --to torch,flax --weights resnet18.pth -o ported",
        "my_net.py:small --to all -o ported",
    ),
)
@click.argument("net", metavar="NET")
@options.option(
    "--to",
    "targets",
    type=options.Names(),
    required=True,
    metavar="NAME,...",
    heading=options.WHAT,
    help="torch, gluon, keras, flax, onnx, or all.",
)
@options.option(
    "--weights",
    type=options.FILE,
    metavar="FILE",
    heading=options.WHAT,
    help="Weights from `onespec run --save`, or of PyTorch or Keras; written in the names of the framework.",
)
@options.option(
    "--classes",
    type=options.CLASSES,
    metavar="N",
    show_default="the network's",
    heading=options.WHAT,
    help="Number of classes.",
)
@options.pythons
@options.option(
    "-o",
    "--out",
    type=options.NEW_FOLDER,
    required=True,
    metavar="FOLDER",
    heading=options.RESULTS,
    help="Folder of the files.",
)
@options.as_json
@options.quiet
def command(
    net: str,
    targets: tuple[str, ...],
    weights: Path | None,
    classes: int | None,
    pythons: dict[str, str],
    out: Path,
    as_json: bool,
    quiet: bool,
) -> ExitCode:
    """Write a network as source of a framework, as a person writes it by hand, or as an ONNX model.

    NET is a network's name, or FILE.py:FUNCTION. The files do not need onespec. With --weights, an .npz file lies
    beside each source, and the source has `load_weights`.
    """
    announce(f"Writing {net} for {', '.join(targets)}.", quiet)
    from benchmarks.cli.progress import ProgressDisplay
    from benchmarks.porting.port_files import parse_targets, weights_of
    from benchmarks.porting.source.export import write
    from benchmarks.runtime.networks import network

    chosen = parse_targets(targets)
    spec, arrays = network(net, classes=classes), None
    if weights is not None:
        spec, arrays = weights_of(weights, spec, pythons, ProgressDisplay(quiet).message)
    try:
        paths = write(spec, chosen, out, arrays, "" if weights is None else weights.name)
    except OSError as error:
        raise BadInput(f"--out {out}: {error.strerror}") from None
    if as_json:
        click.echo(json.dumps({"net": spec.name, "sha256": spec.sha256, "files": [str(path) for path in paths]}))
    else:
        click.echo("\n".join(map(str, paths)))
    return ExitCode.OK


if __name__ == "__main__":
    command(prog_name="python -m benchmarks.port")

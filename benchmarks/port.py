"""`onespec port`: write a network, also one from outside, as source of a framework, as a spec or as ONNX."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
        "model.py:Net --input 3,32,32 --to spec,flax -o ported",
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
    help="torch, gluon, keras, flax, onnx, or all; spec, a network file of onespec.",
)
@options.option(
    "--input",
    "shape",
    type=options.InputShape(),
    metavar="C,H,W",
    heading=options.WHAT,
    help="NET is a torch.nn.Module, and its images have so many channels, rows and columns.",
)
@options.option(
    "--pixels",
    type=click.Choice(("raw", "unit", "imagenet", "half", "caffe")),
    metavar="NAME",
    show_default="no layers",
    heading=options.WHAT,
    help="With --input: the preprocessing that the module expects, as layers in front; raw: pixels from 0 to 255.",
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
    shape: tuple[int, int, int] | None,
    pixels: str | None,
    classes: int | None,
    pythons: dict[str, str],
    out: Path,
    as_json: bool,
    quiet: bool,
) -> ExitCode:
    """Write a network as source of a framework, as a person writes it by hand, as an ONNX model, or as a spec.

    NET is a network's name or FILE.py:FUNCTION, which gives a spec. With --input, NET is FILE.py:CLASS, a module of
    PyTorch: the command executes the file, makes a spec of the module, runs both on the same images in float64, and
    prints the largest difference of their logits. Only the spec needs onespec, the other files do not. With --weights,
    and for a module, an .npz file lies beside each source, and the source has `load_weights`.
    """
    announce(f"Writing {net} for {', '.join(targets)}.", quiet)
    from benchmarks.cli.progress import ProgressDisplay
    from benchmarks.porting import network_import
    from benchmarks.porting.port_files import parse_targets, weights_of, write_all
    from benchmarks.runtime.networks import network

    chosen, progress = parse_targets(targets), ProgressDisplay(quiet).message
    result: dict[str, Any] = {}
    code = ExitCode.OK
    origin = "" if weights is None else weights.name
    if shape is not None:
        for option, value in (("--weights", weights), ("--classes", classes)):
            if value is not None:
                raise BadInput(f"{option}: the weights and classes are those of {net}")
        found = network_import.imported(net, shape, pythons, progress, pixels=pixels or "raw")
        compared = network_import.compared(found)
        spec, arrays, origin = found.network, found.weights, net
        notes = list(found.notes)
        if pixels is None:
            notes.append("the network takes what the module takes; --pixels puts its preprocessing of pixels in front")
        result = {"notes": notes, "difference": compared.difference, "largest_logit": compared.scale}
        result["parted"] = compared.parted
        lines = [*notes, f"{net} and the spec, the same images, float64, evaluation: {compared.text}"]
        code = ExitCode.OK if compared.agrees else ExitCode.DIFFERENT
    else:
        if pixels is not None:
            raise BadInput("--pixels: it is for a module of PyTorch; give --input, too")
        spec, arrays, lines = network(net, classes=classes), None, []
        if weights is not None:
            spec, arrays = weights_of(weights, spec, pythons, progress)
    try:
        paths = write_all(spec, chosen, out, arrays, origin)
    except OSError as error:
        raise BadInput(f"--out {out}: {error.strerror}") from None
    if as_json:
        files = [str(path) for path in paths]
        click.echo(json.dumps({"net": spec.name, "sha256": spec.sha256, "files": files, **result}))
    else:
        click.echo("\n".join([*lines, *map(str, paths)]))
    return code


if __name__ == "__main__":
    command(prog_name="python -m benchmarks.port")

"""`onespec import-weights`: convert weights of torchvision or Keras to a checkpoint that every framework can use."""

from __future__ import annotations

import json
from pathlib import Path

import click

from benchmarks.cli import options
from benchmarks.cli.command import announce
from benchmarks.cli.exit_codes import ExitCode
from benchmarks.runtime.errors import BadInput


@options.command(
    "import-weights",
    examples=("vgg16.pth --net vgg16 --pixels imagenet --out vgg16.npz",),
)
@click.argument("file", metavar="FILE", type=options.FILE)
@options.option(
    "--net", required=True, metavar="NAME", heading=options.WHAT, help="The network's name, or FILE.py:FUNCTION."
)
@options.option(
    "--pixels",
    required=True,
    type=click.Choice(("raw", "unit", "imagenet", "half", "caffe")),
    heading=options.WHAT,
    help="Preprocessing that the weights expect.",
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
    "--out", type=options.NEW_FILE, required=True, metavar="FILE", heading=options.RESULTS, help="The checkpoint, .npz."
)
@options.as_json
@options.quiet
def command(
    file: Path,
    net: str,
    pixels: str,
    classes: int | None,
    pythons: dict[str, str],
    out: Path,
    as_json: bool,
    quiet: bool,
) -> ExitCode:
    """Convert weights of PyTorch or Keras to a checkpoint that every framework can use.

    FILE is a state dict with torchvision's names (.pth, .pt, .safetensors, .npz) or a Keras file (.weights.h5).
    Nothing is unpickled except by PyTorch with weights_only=True, in its own environment.
    """
    announce(f"Importing {file}.", quiet)
    from benchmarks.cli.progress import ProgressDisplay
    from benchmarks.porting.weight_import import PIXELS, imported
    from benchmarks.runtime.networks import network
    from benchmarks.training.checkpoints import save

    spec = network(net, classes=classes)
    found = imported(file, spec, pythons, ProgressDisplay(quiet).message)
    spec = spec.after(*PIXELS[pixels], input=spec.input)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        save(out, spec, found.weights, {"framework": file.suffix, "source": file.name})
    except OSError as error:
        raise BadInput(f"--out {out}: {error.strerror}") from None
    count = len(found.weights)
    summary = {"file": str(out), "net": spec.name, "arrays": count, "notes": found.notes}
    click.echo(json.dumps(summary) if as_json else "\n".join([*found.notes, f"{out}: {spec.name}, {count} arrays"]))
    return ExitCode.OK


if __name__ == "__main__":
    command(prog_name="python -m benchmarks.checkpoint")

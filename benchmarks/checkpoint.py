"""`onespec import-weights`: convert weights of other programs to a checkpoint that every framework can use."""

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
    "--net",
    required=True,
    metavar="NAME",
    heading=options.WHAT,
    help="The network's name, or a file, such as FILE.py:FUNCTION.",
)
@options.option(
    "--pixels",
    required=True,
    type=click.Choice(options.PIXELS),
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
    """Convert weights of PyTorch, Keras or Gluon to a checkpoint that every framework can use.

    FILE is a state dict with the names of the network (.pth, .bin, .ckpt, .safetensors, .npz), also inside a checkpoint
    of a training program, a Keras file (.keras, .weights.h5, .h5) or a Gluon file (.params). The command says what it
    left out or assumed. If the file holds a model, the command runs it and compares the logits; exit status 4 if they
    differ. Nothing is unpickled except by PyTorch with weights_only=True, in its own environment.
    """
    announce(f"Importing {file}.", quiet)
    from benchmarks.cli.progress import ProgressDisplay
    from benchmarks.porting.weight_comparison import compared
    from benchmarks.porting.weight_import import PIXELS, imported
    from benchmarks.runtime.networks import network
    from benchmarks.training.checkpoints import save

    bare, progress = network(net, classes=classes), ProgressDisplay(quiet).message
    found = imported(file, bare, pythons, progress)
    spec = bare.after(*PIXELS[pixels], input=bare.input)
    line, comparison = compared(file, bare, found, pythons, progress, prepared=spec)
    notes = [*found.notes, line]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        save(out, spec, found.weights, {"framework": file.suffix, "source": file.name})
    except OSError as error:
        raise BadInput(f"--out {out}: {error.strerror}") from None
    count = len(found.weights)
    summary: dict[str, object] = {"file": str(out), "net": spec.name, "arrays": count, "notes": notes}
    if comparison:
        summary |= comparison.to_json()
    click.echo(json.dumps(summary) if as_json else "\n".join([*notes, f"{out}: {spec.name}, {count} arrays"]))
    return ExitCode.OK if comparison is None or comparison.agrees else ExitCode.DIFFERENT


if __name__ == "__main__":
    command(prog_name="python -m benchmarks.checkpoint")

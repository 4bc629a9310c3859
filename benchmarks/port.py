"""`onespec port`: write a network, also one from outside, as source, as a spec or as ONNX; or compare two networks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmarks.cli import options
from benchmarks.cli.command import announce
from benchmarks.cli.exit_codes import ExitCode
from benchmarks.runtime.errors import BadInput

if TYPE_CHECKING:
    from benchmarks.porting.sources import Source

COMPARED = "Comparison with OTHER"


@options.command(
    "port",
    examples=(
        "lenet --to torch -o ported",
        "resnet18 --to torch,flax --weights resnet18.pth -o ported",
        "lenet --to torch,gluon,keras,flax --with-training -o ported",
        "lenet --side-by-side -o ported",
        "my_net.py:small --to all -o ported",
        "model.py:Net --input 3,32,32 --to spec,flax -o ported",
        "model.py:Net resnet18 --input 3,224,224",
        "model.onnx --to spec,torch -o ported",
        "model.keras --to spec,flax -o ported",
        "model.py:make --to spec,torch -o ported",
    ),
)
@click.argument("net", metavar="NET")
@click.argument("other", metavar="[OTHER]", required=False)
@options.option(
    "--to",
    "targets",
    type=options.Names(),
    default=None,
    metavar="NAME,...",
    show_default=False,
    heading=options.WHAT,
    help="torch, gluon, keras, flax, onnx, or all; spec, a network file of onespec.",
)
@options.option(
    "--input",
    "shape",
    type=options.InputShape(),
    metavar="C,H,W",
    heading=options.WHAT,
    help="NET is a torch.nn.Module, or a model of any size, and its images have so many channels, rows and columns.",
)
@options.option(
    "--from",
    "program",
    type=click.Choice(("torch", "keras")),
    metavar="NAME",
    show_default="what the file imports",
    heading=options.WHAT,
    help="What the function or class of a Python file gives: torch, a torch.nn.Module; keras, a keras.Model.",
)
@options.option(
    "--pixels",
    type=click.Choice(options.PIXELS),
    metavar="NAME",
    show_default="no layers",
    heading=options.WHAT,
    help="For a NET from outside: the preprocessing that it expects, as layers in front; raw: pixels from 0 to 255.",
)
@options.option(
    "--weights",
    type=options.FILE,
    metavar="FILE",
    heading=options.WHAT,
    help="Weights from `onespec run --save`, or of PyTorch, Keras or Gluon; written in the framework's names.",
)
@options.option(
    "--with-training",
    is_flag=True,
    heading=options.WHAT,
    help="Give each source the training loop of the network's recipe, and the weights at which it begins.",
)
@options.option(
    "--side-by-side",
    "beside",
    is_flag=True,
    heading=options.WHAT,
    help="Also a page with the frameworks of --to in columns, or with all, layer by layer.",
)
@options.option(
    "--classes",
    type=options.CLASSES,
    metavar="N",
    show_default="the network's",
    heading=options.WHAT,
    help="Number of classes.",
)
@options.option(
    "--weights-a",
    type=options.FILE,
    metavar="FILE",
    heading=COMPARED,
    help="Weights of NET; without them both get drawn ones.",
)
@options.option(
    "--weights-b",
    type=options.FILE,
    metavar="FILE",
    heading=COMPARED,
    help="Weights of OTHER; without them it gets those of NET.",
)
@options.option(
    "--training-a",
    metavar="TEXT",
    heading=COMPARED,
    help="Optimizer and loss of NET, such as 'SGD(momentum=0.9), label_smoothing=0.1', or FILE.py:FUNCTION.",
)
@options.option("--training-b", metavar="TEXT", heading=COMPARED, help="Optimizer and loss of OTHER.")
@options.pythons
@options.option(
    "-o",
    "--out",
    type=options.NEW_FOLDER,
    metavar="FOLDER",
    show_default=False,
    heading=options.RESULTS,
    help="Folder of the files.",
)
@options.as_json
@options.quiet
def command(
    net: str,
    other: str | None,
    targets: tuple[str, ...] | None,
    weights: Path | None,
    shape: tuple[int, int, int] | None,
    program: str | None,
    pixels: str | None,
    with_training: bool,
    beside: bool,
    classes: int | None,
    weights_a: Path | None,
    weights_b: Path | None,
    training_a: str | None,
    training_b: str | None,
    pythons: dict[str, str],
    out: Path | None,
    as_json: bool,
    quiet: bool,
) -> ExitCode:
    """Write a network as source of a framework, as a person writes it by hand, as an ONNX model, or as a spec.

    NET is a network's name or FILE.py:FUNCTION, which gives a spec, a module of PyTorch (then --input is its size) or
    a model of Keras; the command executes the file. FILE.onnx, FILE.keras, FILE.json of Keras and NAME-symbol.json of
    Gluon are read and never executed. Of a network of another program the command makes a spec, runs both on the same
    images in float64, and prints the largest difference of their logits. Only the spec needs onespec, the other files
    do not. With --weights, and for a network of another program, an .npz file lies beside each source, and the source
    has `load_weights`. With --with-training, it has `train`, too. --side-by-side writes a page for teaching, which
    loads nothing and needs no script.

    With OTHER, nothing is written: both networks are compared, layer by layer, and by their values in float64 with the
    same weights. The command prints the differences and the likely cause of the first tensor that differs.
    """
    from benchmarks.porting.sources import Source

    if other is not None:
        written: dict[str, object] = {"--to": targets, "--weights": weights, "--out": out}
        written |= {"--with-training": with_training or None, "--side-by-side": beside or None}
        _refuse(written, "with two networks nothing is written")
        announce(f"Comparing {net} with {other}.", quiet)
        files, trainings = (weights_a, weights_b), (training_a, training_b)
        sources = [Source(text, file, shape, classes, pixels, program) for text, file in zip((net, other), files)]
        return _compare(sources, trainings, pythons, as_json, quiet)
    of_two = {
        "--weights-a": weights_a,
        "--weights-b": weights_b,
        "--training-a": training_a,
        "--training-b": training_b,
    }
    _refuse(of_two, f"it is for two networks; name the other one after {net}")
    if out is None or not (targets or beside):
        missing = "--out FOLDER" if targets or beside else "--to NAME,... or --side-by-side"
        raise BadInput(f"{missing} is missing; to compare {net} with another network, name that after it")
    announce(f"Writing {net} for {', '.join(targets) if targets else 'all frameworks, side by side'}.", quiet)
    source = Source(net, weights, shape, classes, pixels, program)
    return _write(source, targets or (), out, with_training, beside, pythons, as_json, quiet)


def _write(
    source: Source,
    targets: tuple[str, ...],
    out: Path,
    with_training: bool,
    beside: bool,
    pythons: dict[str, str],
    as_json: bool,
    quiet: bool,
) -> ExitCode:
    """Write a network for each target, and print what was read and which files were written."""
    from benchmarks.cli.progress import ProgressDisplay
    from benchmarks.porting import port_files
    from benchmarks.porting.sources import SPEC, UNSCALED, program_of, read

    chosen = port_files.parse_targets(targets)
    program = source.program or program_of(source.text)
    if program == SPEC and source.pixels is not None:
        raise BadInput(f"--pixels {source.pixels}: it is for a network of another program, and {source.text} is a spec")
    if program != SPEC and source.classes is not None:
        raise BadInput(f"--classes {source.classes}: the classes are those of {source.text}")
    side = read(source, pythons, ProgressDisplay(quiet).message)
    spec, weights = side.network, side.arrays
    notes, lines = list(side.notes), []
    if program != SPEC and source.pixels is None:
        notes.append(UNSCALED)
    if side.original:
        arrays = f"the arrays of {source.text} and not of {source.weights.name}, " if source.weights else ""
        lines.append(f"{source.text} and the spec, {arrays}the same images, float64, evaluation: {side.original.text}")
    origin = source.weights.name if source.weights else "" if program == SPEC else source.text
    recipe = None
    if with_training:
        spec, weights, origin, recipe = port_files.with_training(spec, chosen, weights, origin)
    try:
        paths = port_files.write_all(spec, chosen, out, weights, origin, recipe)
        if beside:
            paths.append(port_files.write_side_by_side(spec, chosen, out))
    except OSError as error:
        raise BadInput(f"--out {out}: {error.strerror}") from None
    if as_json:
        result: dict[str, Any] = {
            "net": spec.name,
            "sha256": spec.sha256,
            "files": list(map(str, paths)),
            "notes": notes,
        }
        for each in side.comparisons[:1]:
            result |= each.to_json()
        click.echo(json.dumps(result))
    else:
        click.echo("\n".join([*notes, *lines, *map(str, paths)]))
    return ExitCode.OK if all(each.agrees for each in side.comparisons) else ExitCode.DIFFERENT


def _compare(
    sources: Sequence[Source],
    trainings: tuple[str | None, str | None],
    pythons: dict[str, str],
    as_json: bool,
    quiet: bool,
) -> ExitCode:
    """Compare two networks and print the report."""
    from benchmarks.cli.progress import ProgressDisplay
    from benchmarks.porting.between import own_steps, report
    from benchmarks.porting.between.trainings import parsed
    from benchmarks.porting.sources import read

    if (trainings[0] is None) != (trainings[1] is None):
        missing = "--training-a" if trainings[0] is None else "--training-b"
        raise BadInput(f"{missing} is missing: give the trainings of both networks, or of none")
    own = [text for text in trainings if text and own_steps.is_own(text)]
    if len(own) == 1:
        raise BadInput(f"--training-a, --training-b: {own[0]} is a file and the other is none; give two files or none")
    for text in own:
        own_steps.check(text)
    if sources[0].weights is None and sources[1].weights is not None:
        raise BadInput("--weights-b: give --weights-a, too; with it alone, both networks get its weights")
    rules = [parsed(f"--training-{side}", text) for side, text in zip("ab", trainings) if text is not None and not own]
    progress = ProgressDisplay(quiet).message
    a, b = (read(source, pythons, progress) for source in sources)

    def step(text: str) -> report.OwnStep:
        return lambda side, w, x, labels: own_steps.after(side, w, x, labels, text, pythons, progress)

    code = (step(own[0]), step(own[1])) if own else None
    result = report.compared(a, b, (rules[0], rules[1]) if rules else None, code)
    click.echo(json.dumps(result.to_json()) if as_json else result.text)
    return ExitCode.OK if result.same else ExitCode.DIFFERENT


def _refuse(given: Mapping[str, object], why: str) -> None:
    """Raise BadInput for the first option that is given."""
    for option, value in given.items():
        if value is not None:
            raise BadInput(f"{option}: {why}")


if __name__ == "__main__":
    command(prog_name="python -m benchmarks.port")

"""`onespec port`: write a network, also one from outside, as source, as a spec or as ONNX; or compare two networks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from benchmarks.cli import options
from benchmarks.cli.command import announce
from benchmarks.cli.exit_codes import ExitCode
from benchmarks.runtime.errors import BadInput

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
        "model.py:make --from keras --to spec,torch -o ported",
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
    "source",
    type=click.Choice(("torch", "keras")),
    metavar="NAME",
    show_default="torch with --input",
    heading=options.WHAT,
    help="What the function or class of a Python file gives: torch, a torch.nn.Module; keras, a keras.Model.",
)
@options.option(
    "--pixels",
    type=click.Choice(("raw", "unit", "imagenet", "half", "caffe")),
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
    help="Weights from `onespec run --save`, or of PyTorch or Keras; written in the names of the framework.",
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
    source: str | None,
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

    NET is a network's name or FILE.py:FUNCTION, which gives a spec. With --input, NET is FILE.py:CLASS, a module of
    PyTorch, and with --from keras a model of Keras; the command executes the file. FILE.onnx and FILE.keras are read
    and never executed. The command makes a spec of it, runs both on the same images in float64, and prints the largest
    difference of their logits. Only the spec needs onespec, the other files do not. With --weights, and for a NET from
    outside, an .npz file lies beside each source, and the source has `load_weights`. With --with-training, it has
    `train`, too. --side-by-side writes a page for teaching, which loads nothing and needs no script.

    With OTHER, nothing is written: both networks are compared, layer by layer, and by their values in float64 with the
    same weights. The command prints the differences and the likely cause of the first tensor that differs.
    """
    if other is not None:
        written = {"--to": targets, "--weights": weights, "--out": out}
        written |= {"--with-training": with_training or None, "--side-by-side": beside or None}
        _refuse(written, "with two networks nothing is written")
        announce(f"Comparing {net} with {other}.", quiet)
        given, trainings = (weights_a, weights_b), (training_a, training_b)
        return _compare((net, other), given, trainings, shape, classes, pixels, pythons, as_json, quiet)
    compared_options = {
        **{"--weights-a": weights_a, "--weights-b": weights_b},
        **{"--training-a": training_a, "--training-b": training_b},
    }
    _refuse(compared_options, f"it is for two networks; name the other one after {net}")
    if (not targets and not beside) or out is None:
        missing = "--to NAME,... or --side-by-side" if out is not None else "--out FOLDER"
        raise BadInput(f"{missing} is missing; to compare {net} with another network, name that after it")
    targets = targets or ()
    announce(f"Writing {net} for {', '.join(targets) or 'all frameworks, side by side'}.", quiet)
    from benchmarks.cli.progress import ProgressDisplay
    from benchmarks.porting import network_import, port_files
    from benchmarks.porting.port_files import parse_targets, weights_of, write_all
    from benchmarks.runtime.networks import network

    chosen, progress = parse_targets(targets), ProgressDisplay(quiet).message
    result: dict[str, Any] = {}
    code = ExitCode.OK
    origin = "" if weights is None else weights.name
    if shape is not None or source is not None or network_import.is_network_file(net):
        for option, value in (("--weights", weights), ("--classes", classes)):
            if value is not None:
                raise BadInput(f"{option}: the weights and classes are those of {net}")
        found = network_import.imported(net, shape, pythons, progress, pixels=pixels or "raw", source=source or "torch")
        compared = network_import.compared(found)
        spec, arrays, origin = found.network, found.weights, net
        notes = list(found.notes)
        if pixels is None:
            notes.append(
                "the network takes what the original takes; --pixels puts its preprocessing of pixels in front"
            )
        result = {"notes": notes, "difference": compared.difference, "largest_logit": compared.scale}
        result["parted"] = compared.parted
        lines = [*notes, f"{net} and the spec, the same images, float64, evaluation: {compared.text}"]
        code = ExitCode.OK if compared.agrees else ExitCode.DIFFERENT
    else:
        if pixels is not None:
            raise BadInput("--pixels: it is for a network from outside; for a module of PyTorch, give --input, too")
        spec, arrays, lines = network(net, classes=classes), None, []
        if weights is not None:
            spec, arrays, said, comparison = weights_of(weights, spec, pythons, progress)
            result, lines = {"notes": said}, list(said)
            if comparison:
                result |= {"difference": comparison.difference, "largest_logit": comparison.scale}
                result["parted"] = comparison.parted
                code = ExitCode.OK if comparison.agrees else ExitCode.DIFFERENT
    recipe = None
    if with_training:
        spec, arrays, origin, recipe = port_files.with_training(spec, chosen, arrays, origin)
    try:
        paths = write_all(spec, chosen, out, arrays, origin, recipe)
        if beside:
            paths.append(port_files.write_side_by_side(spec, chosen, out))
    except OSError as error:
        raise BadInput(f"--out {out}: {error.strerror}") from None
    if as_json:
        files = [str(path) for path in paths]
        click.echo(json.dumps({"net": spec.name, "sha256": spec.sha256, "files": files, **result}))
    else:
        click.echo("\n".join([*lines, *map(str, paths)]))
    return code


def _refuse(given: Mapping[str, object], why: str) -> None:
    """Raise BadInput for the first option that is given."""
    for option, value in given.items():
        if value is not None:
            raise BadInput(f"{option}: {why}")


def _compare(
    texts: tuple[str, str],
    files: tuple[Path | None, Path | None],
    trainings: tuple[str | None, str | None],
    shape: tuple[int, int, int] | None,
    classes: int | None,
    pixels: str | None,
    pythons: dict[str, str],
    as_json: bool,
    quiet: bool,
) -> ExitCode:
    """Compare two networks and print the report."""
    from benchmarks.cli.progress import ProgressDisplay
    from benchmarks.porting.between import own_steps, report, sides
    from benchmarks.porting.between.trainings import parsed

    if (trainings[0] is None) != (trainings[1] is None):
        missing = "--training-a" if trainings[0] is None else "--training-b"
        raise BadInput(f"{missing} is missing: give the trainings of both networks, or of none")
    own = [text for text in trainings if text and own_steps.is_own(text)]
    if len(own) == 1:
        raise BadInput(f"--training-a, --training-b: {own[0]} is a file and the other is none; give two files or none")
    for text in own:
        own_steps.check(text)
    if files[0] is None and files[1] is not None:
        raise BadInput("--weights-b: give --weights-a, too; with it alone, both networks get its weights")
    rules = [parsed(f"--training-{side}", text) for side, text in zip("ab", trainings) if text is not None and not own]
    sources = [sides.Source(text, file, shape, classes, pixels) for text, file in zip(texts, files)]
    progress = ProgressDisplay(quiet).message
    a, b = (sides.read(source, pythons, progress) for source in sources)

    def step(text: str) -> report.OwnStep:
        return lambda side, w, x, labels: own_steps.after(side, w, x, labels, text, pythons, progress)

    code = (step(own[0]), step(own[1])) if own else None
    result = report.compared(a, b, (rules[0], rules[1]) if rules else None, code)
    click.echo(json.dumps(result.to_json()) if as_json else result.text)
    return ExitCode.OK if result.same else ExitCode.DIFFERENT


if __name__ == "__main__":
    command(prog_name="python -m benchmarks.port")

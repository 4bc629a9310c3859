"""`onespec predict`: predict with trained weights in any framework, whichever framework trained them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchmarks.cli import options
from benchmarks.cli.command import announce
from benchmarks.cli.exit_codes import ExitCode
from benchmarks.runtime.errors import BadInput

if TYPE_CHECKING:
    from benchmarks.cli.progress import ProgressDisplay
    from benchmarks.training.checkpoints import Checkpoint


@options.command(
    "predict",
    examples=(
        "--weights results/RUN/weights/lenet.torch.0.npz --fw all",
        "--weights lenet.npz --fw mxnet --dataset fashion-mnist",
        "--weights lenet.npz --images my_digits --invert",
        "--weights model.onnx --pixels imagenet --images photos",
    ),
)
@options.option(
    "--weights",
    type=options.FILE,
    required=True,
    metavar="FILE",
    heading=options.WHAT,
    help="Weights from `onespec run --save` or `onespec import-weights`; or FILE.onnx, FILE.keras, NAME-symbol.json.",
)
@options.option(
    "--pixels",
    type=click.Choice(options.PIXELS),
    metavar="NAME",
    heading=options.WHAT,
    help=f"For a model of another program: the preprocessing that it expects, {', '.join(options.PIXELS)}.",
)
@options.frameworks
@options.dataset("Predict its test images", heading=options.WHAT, show_default="that of the training")
@options.option(
    "--images",
    type=options.FOLDER,
    metavar="FOLDER",
    heading=options.WHAT,
    help="Predict the image files in this folder: PNG, JPEG, WebP, BMP, GIF, PPM or TIFF.",
)
@options.option(
    "--invert",
    is_flag=True,
    show_default=False,
    heading=options.WHAT,
    help="Invert --images: they are dark on light, MNIST is light on dark.",
)
@options.option(
    "--test-size", type=options.IMAGES, metavar="N", heading=options.WHAT, help="Use the first N test images."
)
@options.device_from("cpu")
@options.option(
    "--threads", type=options.THREADS, default=1, metavar="N", heading=options.WHERE, help="Threads of each worker."
)
@options.timeout
@options.pythons
@options.option(
    "--out",
    type=options.NEW_FOLDER,
    default=Path("predictions"),
    metavar="FOLDER",
    heading=options.RESULTS,
    help="Folder of predictions.csv, confusion.csv and grid.png.",
)
@options.option(
    "--grid",
    type=options.Count(1, 10_000),
    default=96,
    metavar="N",
    heading=options.RESULTS,
    help="Images in grid.png.",
)
@options.option(
    "--wrong-only",
    is_flag=True,
    show_default=False,
    heading=options.RESULTS,
    help="Show only errors in grid.png.",
)
@options.as_json
@options.quiet
def command(
    weights: Path,
    pixels: str | None,
    frameworks: str,
    dataset: str | None,
    images: Path | None,
    invert: bool,
    test_size: int | None,
    device: str,
    threads: int,
    timeout: float,
    pythons: dict[str, str],
    out: Path,
    grid: int,
    wrong_only: bool,
    as_json: bool,
    quiet: bool,
) -> ExitCode:
    """Predict with trained weights in any framework, whichever framework trained them.

    A model of another program is read as `onespec port` reads it: its values and those of its spec are compared first.

    Prints the accuracy, the accuracy by class and the confusion matrix of the first framework, and whether the others
    predict the same labels. grid.png needs Pillow.
    """
    if dataset is not None and images:
        raise BadInput("--dataset and --images: give only one")
    announce(f"Predicting with {weights} in {options.in_words(frameworks)}.", quiet)
    from benchmarks.cli.progress import ProgressDisplay
    from benchmarks.datasets.registry import check_name
    from benchmarks.reporting import prediction_report
    from benchmarks.runtime import devices
    from benchmarks.runtime.environments import parse_frameworks
    from benchmarks.training import prediction

    if dataset is not None:
        check_name(dataset)
    parse_frameworks(frameworks)  # refuses an unknown name before any file is read
    device = devices.resolved(device)
    progress = ProgressDisplay(quiet)
    checkpoint = _read(weights, pixels, pythons, progress)
    chosen = prediction.choose(
        checkpoint, weights, dataset, images, test_size=test_size, invert=invert, progress=progress
    )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"--out {out}: {error.strerror}; name a folder that can be written") from None
    predictions = prediction.predict(
        checkpoint, chosen.images, frameworks, pythons, progress, threads=threads, device=device, timeout=timeout
    )
    for framework, reason in {**predictions.unavailable, **predictions.failed}.items():
        click.echo(f"{framework}: {reason}", err=True)
    if not predictions.logits:
        return ExitCode.FAILED
    lines, all_agree = prediction_report.agreement(predictions.logits)
    if as_json:
        click.echo(
            json.dumps(prediction_report.accuracies(chosen, predictions.logits, predictions.verification), indent=1)
        )
    else:
        first, logits = next(iter(predictions.logits.items()))
        about = checkpoint.about
        origin = f"weights of {about['source']}" if "source" in about else f"trained by {about.get('framework')}"
        click.echo(f"{checkpoint.network.name}, {origin}; {first} predicts:")
        lines += [f"{framework}: {text}" for framework, text in predictions.verification.items()]
        click.echo("\n".join([prediction_report.text(chosen, logits), "", *lines]))
    prediction_report.write(chosen, predictions.logits, out, grid_size=grid, wrong_only=wrong_only, progress=progress)
    if not as_json:
        click.echo(out)
    if predictions.failed or (predictions.unavailable and frameworks != "all"):
        return ExitCode.FAILED
    return ExitCode.OK if all_agree else ExitCode.DIFFERENT


def _read(weights: Path, pixels: str | None, pythons: Mapping[str, str], progress: ProgressDisplay) -> Checkpoint:
    """The network and the weights of a checkpoint, or of a file that holds a model. Raises BadInput."""
    from benchmarks.porting.network_import import is_network_file
    from benchmarks.porting.sources import Source, agreeing, read
    from benchmarks.training.checkpoints import Checkpoint, load

    if not is_network_file(str(weights)):
        if pixels is not None:
            raise BadInput(f"--pixels {pixels}: {weights} has its preprocessing in it; leave the option out")
        return load(weights)
    if pixels is None:
        names = ", ".join(options.PIXELS)
        raise BadInput(
            f"--pixels is missing: {weights} does not say which preprocessing it expects; choose from {names}"
        )
    side = agreeing(read(Source(str(weights), pixels=pixels), pythons, progress.message))
    for line in (side.summary, *side.notes):
        progress.message(line)
    assert side.weights is not None, "a file that holds a network holds its arrays"
    return Checkpoint(side.network, side.weights, {"framework": weights.suffix, "source": weights.name})


if __name__ == "__main__":
    command(prog_name="python -m benchmarks.predict")

"""The model that a file of weights holds, run in its framework, and the network with its weights: the same images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.porting.file_formats import ending
from benchmarks.porting.network_import import IMAGES, Comparison
from benchmarks.porting.scripts import run_script
from benchmarks.porting.weight_import import FORMATS, SCRIPTS
from benchmarks.runtime.environments import FrameworkRequest, environment
from benchmarks.runtime.errors import BadInput
from benchmarks.runtime.temporary_folders import TemporaryFolder
from benchmarks.training.checkpoints import read_npz
from frameworks.adapter import Setting
from frameworks.arrays import Array, Weights
from frameworks.numpy_reference import Reference
from frameworks.spec import Dense, Network, Node
from frameworks.training import Training
from frameworks.weight_files.converted import Converted

OUTPUT = ".output"  # of the script: the logits
ALONE = "there is no original to compare with: the file holds weights, and no model that can be run"


def compared(
    path: Path,
    network: Network,
    found: Converted,
    pythons: Mapping[str, str],
    progress: Callable[[str], None],
    *,
    prepared: Network | None = None,
) -> tuple[str, Comparison | None]:
    """Compare the original with the network, in float64 on random images. Returns a line, and the comparison if any.

    prepared: the network with layers that prepare pixels in front; it is compared with a model that does this itself.
    Without it, the network takes what such a model makes of the pixels.
    Raises Unavailable without the framework.
    """
    if not found.whole:
        return ALONE, None
    images = np.random.default_rng(0).uniform(0, 255 if found.prepares else 1, (IMAGES, *network.input))
    info, weight_format = FORMATS[ending(path)]
    python = environment(FrameworkRequest(info.name), pythons, device="cpu", progress=progress).python
    with TemporaryFolder("import") as folder:
        np.save(folder / "images.npy", images)
        script, arguments = SCRIPTS / weight_format.model, [str(path.absolute()), str(folder)]
        refusal = f"the original is not compared, {info.title} does not run it"
        try:
            run_script(python, script, arguments, [folder / "values.npz"], refusal)
        except BadInput as error:
            return str(error), None
        theirs = read_npz(folder / "values.npz", "file")
    if found.prepares and prepared is not None:
        network = prepared
    elif found.prepares:
        images = theirs[found.prepares]
    reference = Reference(network, Training(), Setting(precision="float64"))
    reference.set_weights(found.weights)
    with np.errstate(all="ignore"):  # values that are not finite are part of the result
        ours = reference.activations(images, training=False)
    last = network.nodes[-1].path
    rounding = weight_format.rounding
    difference, agree = _apart(ours[last], theirs[OUTPUT], rounding)
    comparison = Comparison(difference, float(np.abs(theirs[OUTPUT]).max()))
    if not np.isfinite(theirs[OUTPUT]).all() and not np.isfinite(ours[last]).all():
        comparison = replace(comparison, unbounded=last)
    elif not agree:
        parted = _parted(network, found.layers, ours, theirs, rounding) or last
        comparison = Comparison(comparison.difference, comparison.scale, parted)
    return f"{path.name} in {info.title} and the spec, the same images, float64: {comparison.text}", comparison


def _parted(network: Network, names: Mapping[str, str], ours: Weights, theirs: Weights, rounding: float) -> str:
    """The first layer whose output differs. An activation may be part of the layer before it."""
    for node, follower in _followed(network.nodes):
        value = theirs.get(names.get(node.path, "").removesuffix("/pointwise"))
        if value is None or value.size != ours[node.path].size:
            continue
        paths = [node.path, *([follower.path] if follower and follower.output == node.output else [])]
        if value.ndim == 2 and not isinstance(node.layer, Dense):
            value = np.sort(value)  # flat values of the file may be in another order
            differences = [_apart(np.sort(ours[path]), value, rounding) for path in paths]
        else:
            differences = [_apart(ours[path], value, rounding) for path in paths]
        if not any(agree for _, agree in differences):
            return f"{node.path}, by {min(differences)[0]:.2g} of {np.abs(value).max():.2g}"
    return ""


def _followed(nodes: Sequence[Node]) -> Iterator[tuple[Node, Node | None]]:
    """Each layer in reading order with the next one in its chain."""
    for node, follower in zip(nodes, [*nodes[1:], None]):
        yield node, follower
        for branch in node.branches:
            yield from _followed(branch)


def _apart(ours: Array, theirs: Array, rounding: float) -> tuple[float, bool]:
    """The largest difference, and whether it is rounding."""
    if theirs.size != ours.size:
        return float("inf"), False
    with np.errstate(invalid="ignore"):  # of two infinities
        difference = float(np.abs(ours - theirs.reshape(ours.shape)).max())
    return difference, difference <= rounding * max(float(np.abs(theirs).max()), 1.0)

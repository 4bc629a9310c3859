"""What `onespec port` reads and writes: names of frameworks, weights for a network, and the files of each target."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.porting import spec_source, weight_comparison, weight_import
from benchmarks.porting.network_import import Comparison, own_names
from benchmarks.porting.source import side_by_side
from benchmarks.porting.source.export import TARGETS, WRITERS, file_stem, ported, write
from benchmarks.porting.source.program import Lacking
from benchmarks.records.atomic import replacing, write_text
from benchmarks.runtime.errors import BadInput
from benchmarks.training import checkpoints
from benchmarks.training.recipes import DEFAULT, RECIPES, Recipe
from frameworks import arrays
from frameworks.arrays import Weights
from frameworks.spec import Network

SPEC = "spec"  # of --to: a network file of onespec
INITIAL = "initial values of seed 0"


def parse_targets(names: Sequence[str]) -> tuple[str, ...]:
    """The frameworks of `--to`; `all` stands for every one. Raises BadInput."""
    if tuple(names) == ("all",):
        return TARGETS
    for name in names:
        if name not in (*TARGETS, SPEC):
            raise BadInput(f"--to {','.join(names)}: no {name!r:.40}; there are {', '.join(TARGETS)}, {SPEC}, and all")
    return tuple(names)


def with_training(
    network: Network, targets: Sequence[str], weights: Weights | None, origin: str
) -> tuple[Network, Weights, str, Recipe]:
    """A network as its default recipe trains it, the weights at which it begins, their origin, and the recipe.

    Without weights, the recipe's layers that scale pixels are in front, and the weights are its initial ones of seed 0.
    Raises BadInput where no target has a training loop.
    """
    if not set(targets) & set(WRITERS):
        raise BadInput(f"--with-training: --to names none of {', '.join(WRITERS)}, which have a training loop")
    recipe = RECIPES.get(network.name, DEFAULT)
    if weights is not None:
        return network, weights, origin, recipe
    network = network.after(*recipe.pixels, input=network.input)
    drawn = arrays.initial(network, 0, recipe.initial)
    return network, {name: array.astype(np.float32) for name, array in drawn.items()}, INITIAL, recipe


def write_side_by_side(network: Network, targets: Sequence[str], folder: Path) -> Path:
    """Write the page that has the sources of some frameworks layer by layer; without targets, those of all."""
    columns = [target for target in targets if target in WRITERS] or list(WRITERS)
    sources = {}
    for target in columns:
        try:
            sources[target] = ported(network, target).source
        except Lacking as error:
            sources[target] = str(error)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{file_stem(network)}_side_by_side.html"
    write_text(path, side_by_side.page(network, columns, sources))
    return path


def write_all(
    network: Network,
    targets: Sequence[str],
    folder: Path,
    weights: Weights | None,
    origin: str,
    recipe: Recipe | None = None,
) -> list[Path]:
    """Write a network for each target. Returns the files; raises BadInput and OSError.

    origin: of the weights. recipe: for a training loop in each source file.
    """
    paths = write(network, tuple(each for each in targets if each != SPEC), folder, weights, origin, recipe)
    if SPEC in targets:
        folder.mkdir(parents=True, exist_ok=True)
        paths.append(folder / f"{network.name}_spec.py")
        write_text(paths[-1], spec_source.text(network, origin=origin))
        if weights is not None:
            paths.append(folder / f"{network.name}_spec.npz")
            checkpoints.save(paths[-1], network, weights, {"framework": origin, "source": origin})
            paths += _safetensors(folder / f"{network.name}_spec.safetensors", network, weights)
    return paths


def _safetensors(path: Path, network: Network, weights: Weights) -> list[Path]:
    """Write the arrays under the names of a state_dict, for other programs; nothing without the package safetensors."""
    try:
        from safetensors.numpy import save
    except ImportError:
        return []
    names = own_names(network)
    # safetensors stores the memory of an array, not its values: a transposed array would come back as another.
    content = save({names[name]: np.ascontiguousarray(array) for name, array in weights.items()})
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return [path]


def weights_of(
    path: Path, network: Network, pythons: Mapping[str, str], progress: Callable[[str], None]
) -> tuple[Network, Weights, tuple[str, ...], Comparison | None]:
    """The network that the arrays of a file belong to, and the arrays.

    With them what the import left out, assumed and compared, in lines, and the comparison with the file's own model.

    A checkpoint of onespec brings its network, which has the layers that prepare the pixels in front; its name must be
    that of the given one. Raises BadInput.
    """
    if not _is_checkpoint(path):
        found = weight_import.imported(path, network, pythons, progress)
        line, comparison = weight_comparison.compared(path, network, found, pythons, progress)
        return network, found.weights, (*found.notes, line), comparison
    checkpoint = checkpoints.load(path)
    if checkpoint.network.name != network.name:
        raise BadInput(f"--weights {path}: weights of {checkpoint.network.name}, not of {network.name}")
    notes = tuple(weight_import.not_finite(checkpoint.weights, path.name))
    return checkpoint.network, checkpoint.weights, notes, None


def _is_checkpoint(path: Path) -> bool:
    """Whether it is an .npz file of onespec; a damaged file is no reason to say no, its reader explains it."""
    if path.suffix != ".npz" or not path.is_file():
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return f"{checkpoints.ABOUT}.npy" in archive.namelist()
    except zipfile.BadZipFile:
        return False

"""A state_dict's names: modules are called as the spec calls its layers, as in torchvision."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Set
from typing import Any

from frameworks.arrays import Array, Weights
from frameworks.errors import WeightFileError
from frameworks.spec import Affine, Auxiliary, Network, Node, Parameter, Shape
from frameworks.weight_files.converted import Converted

# What `BatchNorm`, the profiler thop and `AveragedModel` store beside the weights.
_COUNTERS = ("num_batches_tracked", "total_ops", "total_params", "n_averaged")
_ATTRIBUTES = {"gamma": "weight", "beta": "bias", "slope": "weight"}  # of normalizations and PReLU
# What `DataParallel`, `torch.compile`, FSDP and activation checkpoints put into the names of a model, or of a part.
_WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
_HEADS = re.compile(r"aux\d*\.|AuxLogits\.")  # of torchvision's GoogLeNet and Inception: absent in evaluation
# torchvision's published files of DenseNet have names with a dot that its modules no longer have.
_DOTTED = re.compile(r"(\.denselayer\d+\.(?:norm|conv))\.([12])\.")


def canonical(network: Network, arrays: Weights) -> Weights:
    """The arrays under the network's canonical names; unknown ones keep their names.

    An array of a dense layer may serve a 1 x 1 convolution and the other way round: axes of length 1 at the end of a
    shape do not count.
    """
    return converted(network, arrays, {}).weights


def converted(network: Network, arrays: Weights, about: Mapping[str, Any]) -> Converted:
    """The arrays as `canonical` gives them, and what was removed from their names or left out."""
    placed = [(node, each) for _, node in network.walk() for each in node.parameters]
    named = {f"{node.path}.weight": each for node, each in placed if _is_scale(node)}  # of a module of its own
    named |= {state_dict_name(node, each): each for node, each in placed}
    heads = any(isinstance(node.layer, Auxiliary) for _, node in network.walk())
    counters = [name for name in arrays if name not in named and name.rpartition(".")[2] in _COUNTERS]
    kept = {name: array for name, array in arrays.items() if name not in counters}
    names, notes = _unwrapped(kept, set(named))
    weights: Weights = {}
    auxiliary = []
    for name, array in zip(names, kept.values()):
        parameter = named.get(name)
        if not parameter and not heads and _HEADS.match(name):
            auxiliary.append(name)
        elif name in weights or (parameter and parameter.name in weights):
            raise WeightFileError(f"two of its arrays are {name}, one of them behind a prefix")
        elif parameter:
            weights[parameter.name] = _fitted(array, parameter.shape)
        else:
            weights[name] = array
    for kind in sorted({name.rpartition(".")[2] for name in counters}):
        notes.append(f"left out, no weights: {kind}, {sum(name.endswith(kind) for name in counters)} times")
    if auxiliary:
        notes.append(f"left out: {len(auxiliary)} arrays of auxiliary classifiers, which {network.name} lacks")
    return Converted(weights, tuple(notes))


def _unwrapped(names: Iterable[str], wanted: Set[str]) -> tuple[list[str], list[str]]:
    """The names without those of modules around the model or its parts, in order, and a note for each that is removed.

    A name is that of a wrapper if it is one of `_WRAPPERS` and all that is in the module around it is in it. If the
    network has no such name, a module around all arrays, such as `model` of Lightning, is removed, too.
    """
    names = [_DOTTED.sub(r"\1\2.", name) for name in names]
    if wanted <= set(names):
        return names, []
    split = [tuple(name.split(".")) for name in names]
    inside = Counter(parts[:end] for parts in split for end in range(len(parts)))
    removed: Counter[str] = Counter()

    def wraps(parts: tuple[str, ...], at: int) -> bool:
        return parts[at] in _WRAPPERS and inside[parts[:at]] == inside[parts[: at + 1]]

    for index, parts in enumerate(split):
        around = [at for at in range(len(parts) - 1) if wraps(parts, at)]
        removed.update(".".join(parts[: at + 1]) + "." for at in around)
        split[index] = tuple(part for at, part in enumerate(parts) if at not in around)
    roots = {name.split(".")[0] for name in wanted}
    while len({parts[0] for parts in split}) == 1 and len(split[0]) > 1 and split[0][0] not in roots:
        removed[split[0][0] + "."] += len(split)
        split = [parts[1:] for parts in split]
    notes = [f"removed from the names of {count} arrays: {prefix}" for prefix, count in removed.items()]
    return [".".join(parts) for parts in split], notes


def state_dict_name(node: Node, parameter: Parameter) -> str:
    """What PyTorch calls an array of a layer.

    A layer scale, which is `Affine` without beta, is a parameter of the module around it and no module itself.
    """
    if _is_scale(node):
        return node.path
    return f"{node.path}.{_ATTRIBUTES.get(parameter.role, parameter.role)}"


def _is_scale(node: Node) -> bool:
    return isinstance(node.layer, Affine) and not node.layer.beta


def significant(shape: Shape) -> Shape:
    """A shape without the axes of length 1 at its end."""
    return significant(shape[:-1]) if shape[-1:] == (1,) else shape


def _fitted(array: Array, shape: Shape) -> Array:
    return array.reshape(shape) if significant(array.shape) == significant(shape) else array

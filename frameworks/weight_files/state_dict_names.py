"""A state_dict's names: modules are called as the spec calls its layers, as in torchvision."""

from __future__ import annotations

import re

from frameworks.arrays import Array, Weights
from frameworks.spec import Affine, Auxiliary, Network, Node, Parameter, Shape

_COUNTERS = "num_batches_tracked"
_ATTRIBUTES = {"gamma": "weight", "beta": "bias", "slope": "weight"}  # of normalizations and PReLU
# `DataParallel`, `DistributedDataParallel` and `torch.compile` put these before the names of the model that they wrap.
_WRAPPERS = re.compile(r"(?:module\.|_orig_mod\.)+")
_HEADS = re.compile(r"aux\d*\.|AuxLogits\.")  # of torchvision's GoogLeNet and Inception: absent in evaluation
# torchvision's published files of DenseNet have names with a dot that its modules no longer have.
_DOTTED = re.compile(r"(\.denselayer\d+\.(?:norm|conv))\.([12])\.")


def canonical(network: Network, arrays: Weights) -> Weights:
    """The arrays under the network's canonical names; unknown ones keep their names.

    An array of a dense layer may serve a 1 x 1 convolution and the other way round: axes of length 1 at the end of a
    shape do not count.
    """
    named = {state_dict_name(node, each): each for _, node in network.walk() for each in node.parameters}
    if all(map(_WRAPPERS.match, arrays)) and not all(map(_WRAPPERS.match, named)):
        arrays = {_WRAPPERS.sub("", name, count=1): array for name, array in arrays.items()}
    heads = any(isinstance(node.layer, Auxiliary) for _, node in network.walk())
    weights: Weights = {}
    for dotted, array in arrays.items():
        name = _DOTTED.sub(r"\1\2.", dotted)
        if name.endswith(_COUNTERS) or (not heads and _HEADS.match(name)):
            continue
        if parameter := named.get(name):
            weights[parameter.name] = _fitted(array, parameter.shape)
        else:
            weights[name] = array
    return weights


def state_dict_name(node: Node, parameter: Parameter) -> str:
    """What PyTorch calls an array of a layer.

    A layer scale, which is `Affine` without beta, is a parameter of the module around it and no module itself.
    """
    if isinstance(node.layer, Affine) and not node.layer.beta:
        return node.path
    return f"{node.path}.{_ATTRIBUTES.get(parameter.role, parameter.role)}"


def significant(shape: Shape) -> Shape:
    """A shape without the axes of length 1 at its end."""
    return significant(shape[:-1]) if shape[-1:] == (1,) else shape


def _fitted(array: Array, shape: Shape) -> Array:
    return array.reshape(shape) if significant(array.shape) == significant(shape) else array

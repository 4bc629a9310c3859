"""A state_dict's names: modules are called as the spec calls its layers, as in torchvision."""

from __future__ import annotations

import re

from frameworks.arrays import Weights
from frameworks.spec import Auxiliary, Network

_COUNTERS = "num_batches_tracked"
_ATTRIBUTES = {"gamma": "weight", "beta": "bias"}  # of batch normalization
# `DataParallel`, `DistributedDataParallel` and `torch.compile` put these before the names of the model that they wrap.
_WRAPPERS = re.compile(r"(?:module\.|_orig_mod\.)+")
_HEADS = re.compile(r"aux\d*\.|AuxLogits\.")  # of torchvision's GoogLeNet and Inception: absent in evaluation


def canonical(network: Network, arrays: Weights) -> Weights:
    """The arrays under the network's canonical names; unknown ones keep their names."""
    names = {_module_name(parameter.name, parameter.role): parameter.name for parameter in network.parameters}
    if all(map(_WRAPPERS.match, arrays)) and not all(map(_WRAPPERS.match, names)):
        arrays = {_WRAPPERS.sub("", name, count=1): array for name, array in arrays.items()}
    heads = any(isinstance(node.layer, Auxiliary) for _, node in network.walk())
    return {
        names.get(name, name): array
        for name, array in arrays.items()
        if not name.endswith(_COUNTERS) and (heads or not _HEADS.match(name))
    }


def _module_name(name: str, role: str) -> str:
    return name.removesuffix(role) + _ATTRIBUTES.get(role, role)

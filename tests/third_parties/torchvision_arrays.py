"""Prints what arrays torchvision's networks have: {network: {array: [shape, whether it is trained]}}."""

from __future__ import annotations

import json
import sys

from tests.third_parties.torchvision_nets import COUNTERS, model


def arrays(name: str) -> dict[str, tuple[list[int], bool]]:
    net = model(name)
    trained = dict(net.named_parameters())
    state = {key: tensor for key, tensor in net.state_dict().items() if not key.endswith(COUNTERS)}
    return {key: (list(tensor.shape), key in trained) for key, tensor in state.items()}


if __name__ == "__main__":
    print(json.dumps({name: arrays(name) for name in sys.argv[1:]}))

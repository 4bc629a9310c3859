"""Prints what PyTorch counts of our networks in evaluation: {network: floating-point operations of one picture}."""

from __future__ import annotations

import json
import sys

import torch
from torch.utils.flop_counter import FlopCounterMode

from frameworks.networks import NETWORKS
from frameworks.pytorch import chain


def flops(name: str) -> int:
    network = NETWORKS[name]()
    with torch.device("meta"):
        net = chain(network.nodes)
    net.to("meta", torch.float32).eval()  # constants too: they come from NumPy
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(torch.empty(1, *network.input, device="meta"))
    return int(counter.get_total_flops())


if __name__ == "__main__":
    print(json.dumps({name: flops(name) for name in sys.argv[1:]}))

"""Prints the floating-point operations that PyTorch counts for one image in evaluation: {network: operations}."""

from __future__ import annotations

import json
import sys

import torch
from torch.utils.flop_counter import FlopCounterMode

from frameworks.adapter import Setting
from frameworks.networks import NETWORKS
from frameworks.pytorch import PyTorch
from frameworks.training import Training


def flops(name: str) -> int:
    network = NETWORKS[name]()
    net = PyTorch(network, Training(), Setting()).net  # on the meta device until it is given weights
    net.to("meta", torch.float32).eval()  # constants too: they come from NumPy
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(torch.empty(1, *network.input, device="meta"))
    return int(counter.get_total_flops())


if __name__ == "__main__":
    print(json.dumps({name: flops(name) for name in sys.argv[1:]}))

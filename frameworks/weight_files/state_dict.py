"""PyTorch's state_dict, read as weights alone: nothing that a file may hold is run."""

from __future__ import annotations

import sys

import numpy as np
import torch

source, target = sys.argv[1:]
state = torch.load(source, map_location="cpu", weights_only=True)
np.savez(target, **{name: tensor.numpy() for name, tensor in state.items()})

"""PyTorch's state_dict, read as weights alone: nothing that a file may hold is run."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch

ALONE = "save model.state_dict() alone"


def arrays(state: Any) -> dict[str, Any]:
    """The tensors of a state dict as arrays; bfloat16, which NumPy lacks, becomes float32 exactly.

    Exits with the reason in one line if it is not a state dict.
    """
    if not isinstance(state, dict) or not state:
        sys.exit(f"it holds {type(state).__name__} and no state dict; {ALONE}")
    if inner := [key for key, value in state.items() if isinstance(value, dict)]:
        sys.exit(f"its weights are inside the dictionary {inner[0]!r}; save that dictionary alone")
    if other := [key for key, value in state.items() if not isinstance(value, torch.Tensor)]:
        sys.exit(f"{other[0]!r} is {type(state[other[0]]).__name__} and no tensor; {ALONE}")
    wide = {torch.bfloat16: torch.float32}
    return {name: tensor.detach().to(wide.get(tensor.dtype, tensor.dtype)).numpy() for name, tensor in state.items()}


if __name__ == "__main__":
    source, target = sys.argv[1:]
    np.savez(target, **arrays(torch.load(source, map_location="cpu", weights_only=True)))

"""PyTorch's state_dict, also inside a checkpoint, read as weights alone: nothing that a file may hold is run.

python state_dict.py FILE FOLDER    gives FOLDER/arrays.npz and FOLDER/about.json
"""

from __future__ import annotations

import json
import pickle
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

REMEDY = "in the program that made it, torch.save(model.state_dict(), 'weights.pth')"
# Where training programs put the weights, beside the epoch and the state of the optimizer; an average of the weights
# beside them is named and not chosen.
AVERAGES = re.compile(r"(^|_)(ema|swa|averaged?)(_|$)|shadow", re.IGNORECASE)
LISTED = 4  # names in a note


def loaded(file: str) -> Any:
    """The content of a file; exits with the reason in one line if it is more than tensors and plain values."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                sys.exit(f"it is a TorchScript program, whose code is not run here; {REMEDY}")
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # PyTorch's own text advises to allow the class or to load without the check.
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        if not found:
            sys.exit(f"it is damaged, or holds more than tensors and plain values; {REMEDY}")
        sys.exit(f"it holds an object of {found[1]}, and to load such an object can run code of the file; {REMEDY}")


def weights(content: Any, notes: list[str], inside: str = "") -> dict[str, torch.Tensor]:
    """The tensors of the one state dict in the content; what is left out goes to the notes.

    Exits with the reason in one line if there is none, or more than one.
    """
    if not isinstance(content, dict) or not content:
        sys.exit(f"it holds {type(content).__name__} and no state dict; {REMEDY}")
    inner = {str(key): value for key, value in content.items() if _holds_weights(value)}
    averages = [key for key in inner if AVERAGES.search(key)]
    chosen = [key for key in inner if key not in averages] or averages
    if len(chosen) > 1:
        sys.exit(f"it holds several state dicts, {', '.join(map(repr, chosen))}; save the one that is wanted alone")
    left = [str(key) for key, value in content.items() if not isinstance(value, torch.Tensor) and key not in chosen]
    if chosen:
        left += [str(key) for key, value in content.items() if isinstance(value, torch.Tensor)]
        notes.append(f"the weights are those in {inside + chosen[0]!r}")
        notes += [f"{inside + key!r} is an average of weights, and not chosen" for key in averages if key != chosen[0]]
    if left := [inside + key for key in left if key not in averages]:
        notes.append(f"left out, no weights: {_listed(left)}")
    if chosen:
        return weights(inner[chosen[0]], notes, f"{inside}{chosen[0]}/")
    tensors = {str(key): value for key, value in content.items() if isinstance(value, torch.Tensor)}
    return tensors or sys.exit(f"it holds no tensors; {REMEDY}")


def _holds_weights(value: Any) -> bool:
    """Whether it is a state dict, or a dictionary with one; the state of an optimizer has numbers as keys."""
    return isinstance(value, dict) and any(
        isinstance(key, str) and ((isinstance(each, torch.Tensor) and each.ndim > 0) or _holds_weights(each))
        for key, each in value.items()
    )


def arrays(tensors: dict[str, torch.Tensor], notes: list[str]) -> dict[str, Any]:
    """The tensors as arrays; those of 16 bits become float32, which holds their values exactly."""
    short = {name: each.dtype for name, each in tensors.items() if each.dtype in (torch.bfloat16, torch.float16)}
    for dtype in sorted(set(short.values()), key=str):
        count = list(short.values()).count(dtype)
        notes.append(f"converted to float32: {count} arrays of {str(dtype).removeprefix('torch.')}")
    for name, each in tensors.items():
        if each.is_quantized or each.layout != torch.strided or each.dtype.is_complex:
            sys.exit(f"{name} is a tensor of {each.dtype}, {each.layout}, and not an array of floats")
    wide = {name: each.detach().float() if name in short else each.detach() for name, each in tensors.items()}
    return {name: each.contiguous().numpy() for name, each in wide.items()}


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


if __name__ == "__main__":
    source, folder = sys.argv[1:]
    notes: list[str] = []
    found = arrays(weights(loaded(source), notes), notes)
    np.savez(Path(folder) / "arrays.npz", **found)
    (Path(folder) / "about.json").write_text(json.dumps({"notes": notes}), encoding="utf-8")

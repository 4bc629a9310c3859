"""One step of a user's own training code, run by PyTorch's interpreter: `torch_step.py FOLDER`.

FOLDER holds task.json, arrays.npz (a state_dict), images.npy and labels.npy. The task names the module, as for
`torch_module.py`, and the step: a function of a file that is given the module in training mode, images and labels, and
changes the module's arrays. Everything is in float64. Writes after.npz, the state_dict after the step.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import torch


def main(folder: Path) -> None:
    spec = importlib.util.spec_from_file_location("torch_module", Path(__file__).with_name("torch_module.py"))
    assert spec and spec.loader, "a file whose name ends in .py has a loader"
    torch_module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(torch_module)
    task = json.loads((folder / "task.json").read_text())
    net = torch_module.built(task, Path(task["file"]))
    state = net.state_dict()
    with np.load(folder / "arrays.npz") as arrays:
        state.update({name: torch.from_numpy(arrays[name]) for name in arrays.files})
    net.load_state_dict(state)
    net.double().train()
    file = Path(task["step_file"])
    function = getattr(torch_module.loaded(file), task["step"], None)
    if not callable(function):
        sys.exit(f"{file.name} has no function {task['step']!r}")
    images, labels = (torch.from_numpy(np.load(folder / f"{name}.npy")) for name in ("images", "labels"))
    torch.manual_seed(0)
    try:
        function(net, images, labels)
    except BaseException as error:
        torch_module.fail(error, file.parent)
    np.savez(folder / "after.npz", **{name: torch_module.array(each) for name, each in net.state_dict().items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]))

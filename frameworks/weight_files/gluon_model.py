"""What the graph beside a .params file computes in float64: the values of its layers and its logits.

    python gluon_model.py FILE FOLDER    FOLDER/images.npy, N x C x H x W, gives FOLDER/values.npz

values.npz has the output of each operator by name, and `.output`. A softmax at the end is left out, as the spec gives
logits. A failure ends the script with its reason in one line.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np

GRAPH_OF = r"(-\d{4})?\.params$"  # NAME-symbol.json of NAME-0000.params
SOFTMAX = ("softmax", "log_softmax", "SoftmaxOutput", "SoftmaxActivation")

if __name__ == "__main__":
    source, folder = Path(sys.argv[1]), Path(sys.argv[2])
    path = source.with_name(re.sub(GRAPH_OF, "-symbol.json", source.name))
    nodes = json.loads(path.read_text(encoding="utf-8"))["nodes"]
    if own := [node["name"] for node in nodes if node["op"] in ("Custom", "_Native", "_NDArray")]:
        sys.exit(f"{own[0]} is an operator of the user's own, which is not run")
    last = next(node for node in reversed(nodes) if node["op"] not in ("null", *SOFTMAX))
    internals = mx.sym.load(str(path)).get_internals()
    names = [node["name"] for node in nodes if node["op"] not in ("null", *SOFTMAX)]
    outputs = [f"{name}_output" for name in names if f"{name}_output" in internals.list_outputs()]
    group = mx.sym.Group([internals[name] for name in outputs])
    arrays: dict[str, Any] = {
        name.split(":", 1)[-1]: array.astype("float64") for name, array in mx.nd.load(str(source)).items()
    }
    data = [name for name in group.list_inputs() if name not in arrays]
    if len(data) != 1:
        sys.exit(f"the graph has {len(data)} inputs: {', '.join(data)}")
    arrays[data[0]] = mx.nd.array(np.load(folder / "images.npy"), dtype="float64")
    arguments = {name: arrays[name] for name in group.list_arguments()}
    states = {name: arrays[name] for name in group.list_auxiliary_states()}
    executor = group.bind(mx.cpu(), arguments, aux_states=states, grad_req="null")
    values = [value.asnumpy() for value in executor.forward(is_train=False)]
    found = {name.removesuffix("_output").removesuffix("_fwd"): value for name, value in zip(outputs, values)}
    np.savez(folder / "values.npz", **found, **{".output": found[last["name"].removesuffix("_fwd")]})

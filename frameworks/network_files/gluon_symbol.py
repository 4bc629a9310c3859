"""The arrays of a Gluon network that was exported, and what it computes.

    python gluon_symbol.py graph FOLDER     FOLDER/task.json gives arrays.npz
    python gluon_symbol.py values FOLDER    task.json, arrays.npz and images.npy give values.npz, in float64

task.json has `file` (NAME-symbol.json), `params` (NAME-0000.params), `input` (the name of the images) and `values`
(names of the nodes that are wanted; null for all). A failure ends the script with its reason in one line.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

warnings.simplefilter("ignore")  # MXNet 1.9.1 uses names that NumPy deprecates
import mxnet as mx  # noqa: E402

OUTPUT = "_output"  # after the name of a node with one output
SINGLE = ("LRN",)  # operators that MXNet computes in float32 only


def arrays(task: dict[str, Any], folder: Path) -> None:
    loaded = mx.nd.load(task["params"])
    if not isinstance(loaded, dict):
        sys.exit(f"{Path(task['params']).name} has arrays without names")
    named = {name.partition(":")[2] or name: array.asnumpy() for name, array in loaded.items()}
    np.savez(folder / "arrays.npz", **named)


def with_casts(symbol: dict[str, Any]) -> dict[str, Any]:
    """A symbol with casts around the operators that MXNet computes in float32 only."""
    nodes: list[dict[str, Any]] = []
    places: list[list[int]] = []

    def added(node: dict[str, Any]) -> list[int]:
        nodes.append(node)
        return [len(nodes) - 1, 0, 0]

    def cast(name: str, source: list[int], dtype: str) -> list[int]:
        return added({"op": "Cast", "name": name, "attrs": {"dtype": dtype}, "inputs": [source]})

    for node in symbol["nodes"]:
        name, inputs = node["name"], [[places[each[0]][0], *each[1:]] for each in node["inputs"]]
        if node["op"] in SINGLE:
            inputs = [cast(f"{name}_input{number}", each, "float32") for number, each in enumerate(inputs)]
            places.append(cast(name, added({**node, "name": f"{name}_single", "inputs": inputs}), "float64"))
        else:
            places.append(added({**node, "inputs": inputs}))
    variables = [place for place, node in enumerate(nodes) if node["op"] == "null"]
    heads = [[places[head[0]][0], *head[1:]] for head in symbol["heads"]]
    return {"nodes": nodes, "arg_nodes": variables, "heads": heads, "attrs": symbol.get("attrs", {})}


def values(task: dict[str, Any], folder: Path) -> None:
    symbol = with_casts(json.loads(Path(task["file"]).read_text(encoding="utf-8")))
    symbol = mx.sym.load_json(json.dumps(symbol)).get_internals()
    images = np.load(folder / "images.npy")
    with np.load(folder / "arrays.npz") as saved:
        given = {name: mx.nd.array(saved[name], dtype="float64") for name in saved.files}
    given[task["input"]] = mx.nd.array(images, dtype="float64")
    shapes, _, _ = symbol.infer_shape(**{task["input"]: images.shape})
    for name, shape in zip(symbol.list_arguments(), shapes):
        given.setdefault(name, mx.nd.zeros(shape, dtype="float64"))  # a label
    arguments = {name: given[name] for name in symbol.list_arguments()}
    states = {name: given[name] for name in symbol.list_auxiliary_states()}
    executor = symbol.bind(mx.cpu(), arguments, aux_states=states, grad_req="null")
    outputs = executor.forward(is_train=False)
    wanted = task["values"]
    kept = {}
    for name, output in zip(symbol.list_outputs(), outputs):
        node = name[: -len(OUTPUT)] if name.endswith(OUTPUT) else name
        if wanted is None or node in wanted:
            kept[node] = output.asnumpy()
    np.savez(folder / "values.npz", **kept)


def main(work: str, folder: Path) -> None:
    task = json.loads((folder / "task.json").read_text())
    try:
        (arrays if work == "graph" else values)(task, folder)
    except mx.base.MXNetError as error:
        sys.exit(f"MXNet cannot {'read' if work == 'graph' else 'compute'} it: {str(error).strip().splitlines()[-1]}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

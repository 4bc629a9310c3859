"""Writes modules of user_modules.py as ONNX files by both exporters of PyTorch, with the logits of the modules.

    python onnx_exports.py FOLDER

The interpreter has torch 2.13.0, onnx 1.22.0 and onnxscript 0.7.2, which no environment of the tests has. The files
NAME.script.onnx and NAME.dynamo.onnx in the folder onnx_exports were written by it; logits.pytorch.npz has images and
float64 logits of each module.
"""

from __future__ import annotations

import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import onnx
import torch
import user_modules

SHAPES = {"ResNet6": (3, 16, 16), "SENet": (3, 16, 16), "ShuffleNet": (3, 16, 16), "ConvNeXt": (3, 16, 16)}


def main(folder: Path) -> None:
    found = {}
    for name, shape in SHAPES.items():
        torch.manual_seed(0)
        net = getattr(user_modules, name)().eval()
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-1, 1)
                module.running_var.uniform_(0.5, 2)
        images = torch.rand(2, *shape)
        free = {"input_names": ["x"], "dynamic_axes": {"x": {0: "n"}}}
        torch.onnx.export(net, (images,), folder / f"{name}.script.onnx", dynamo=False, **free)
        program = torch.onnx.export(net, (images,), dynamo=True, verbose=False)
        onnx.save(without_metadata(program.model_proto), folder / f"{name}.dynamo.onnx")
        with torch.no_grad():
            logits = deepcopy(net).double()(images.double())
        found |= {f"{name}.images": images.numpy(), f"{name}.logits": logits.numpy()}
    np.savez(folder / "logits.pytorch.npz", **found)


def without_metadata(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without stack traces, which are most of its bytes and name folders of this machine."""
    for part in (*model.graph.node, *model.graph.value_info, model.graph):
        del part.metadata_props[:]
    return model


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""torchvision's own networks, without memory or values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

try:
    import torchvision
except RuntimeError:  # operator torchvision::nms does not exist
    # torchvision's wheel is built for CUDA: beside a PyTorch that is not, its library of operators cannot be loaded,
    # and the import fails when it registers these two. Declaring them avoids this; no network calls them.
    operators = torch.library.Library("torchvision", "DEF")  # the declarations exist as long as this object
    for operator in ("nms", "qnms"):
        operators.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision

COUNTERS = "num_batches_tracked"  # batch norm's count of batches, which only a momentum of None reads


def model(name: str) -> nn.Module:
    """The network of that name on the meta device; `inception_v3_aux` is `inception_v3` with its auxiliary head."""
    heads = {"aux_logits": name.endswith("_aux"), "init_weights": False}
    options = heads if name.startswith(("googlenet", "inception")) else {}
    with torch.device("meta"), _widths_computed():
        net: nn.Module = torchvision.models.get_model(name.removesuffix("_aux"), **options)
    return net


@contextmanager
def _widths_computed() -> Iterator[None]:
    """RegNet computes its widths with tensors, which need values."""
    blocks = torchvision.models.regnet.BlockParams
    compute = blocks.from_init_params

    def on_the_cpu(*arguments: Any, **options: Any) -> Any:
        with torch.device("cpu"):
            return compute(*arguments, **options)

    with patch.object(blocks, "from_init_params", on_the_cpu):
        yield

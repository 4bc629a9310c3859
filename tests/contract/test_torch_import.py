"""PyTorch modules as people write them become networks of the spec that compute the same."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from benchmarks.port import command
from benchmarks.porting import network_import, spec_source
from benchmarks.porting.network_import import Imported
from benchmarks.runtime import networks
from benchmarks.runtime.errors import BadInput
from benchmarks.training import checkpoints
from frameworks.networks import NETWORKS
from frameworks.spec import (
    AdaptiveAvgPool,
    Add,
    Affine,
    Auxiliary,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    GlobalAvgPool,
    HardSwish,
    Layer,
    LayerNorm,
    MaxPool,
    Multiply,
    Network,
    Normalize,
    ReLU,
    Residual,
    Scale,
    Select,
    Shape,
    SiLU,
    StochasticDepth,
)
from frameworks.weight_files.state_dict_names import significant
from tests.command_line import exit_code_of
from tests.conftest import Bench
from tests.contract.test_third_parties import COUNTED, equal, output_of

THIRD_PARTIES = Path(__file__).parents[1] / "third_parties"
MODULES = THIRD_PARTIES / "user_modules.py"
COUNTERS = "num_batches_tracked"
SHAPES: dict[str, Shape] = {
    "LeNet": (1, 28, 28),
    "ResNet6": (3, 16, 16),
    "PaddedShortcut": (3, 9, 8),
    "GoogLeNet": (3, 16, 16),
    "SENet": (3, 16, 16),
    "ShuffleNet": (3, 16, 16),
    "ConvNeXt": (3, 16, 16),
    "DenseNet": (3, 8, 8),
}


@pytest.fixture(scope="module")
def found(bench: Bench) -> Callable[[str], Imported]:
    """Imports a class of user_modules.py, once."""
    python = str(bench.python("torch"))
    known: dict[str, Imported] = {}

    def load(name: str) -> Imported:
        if name not in known:
            shape = SHAPES[name]
            known[name] = network_import.imported(f"{MODULES}:{name}", shape, {"torch": python}, print)
        return known[name]

    return load


def layers(network: Network, kind: type[Layer]) -> list[Layer]:
    return [node.layer for _, node in network.walk() if isinstance(node.layer, kind)]


@pytest.mark.parametrize("name", SHAPES)
def test_names_and_counts(found: Callable[[str], Imported], name: str) -> None:
    """Arrays have the names of the state_dict, and the same values."""
    result = found(name)
    buffers = {"mean", "std"} if name == "ConvNeXt" else set()  # constants, which the spec's layer holds
    theirs = {key: array for key, array in result.original.arrays.items() if not key.endswith(COUNTERS)}
    names = network_import.own_names(result.network)
    assert set(names.values()) == theirs.keys() - buffers
    assert result.weights.keys() == names.keys()
    for ours, own in names.items():
        assert significant(result.weights[ours].shape) == significant(theirs[own].shape)
        assert np.array_equal(result.weights[ours].ravel(), theirs[own].ravel())


@pytest.mark.parametrize("name", SHAPES)
def test_logits(found: Callable[[str], Imported], name: str) -> None:
    comparison = network_import.compared(found(name))
    assert comparison.agrees
    assert comparison.difference <= 1e-10 * max(comparison.scale, 1)


@pytest.mark.parametrize("name", SHAPES)
def test_the_printed_file_is_the_network(found: Callable[[str], Imported], tmp_path: Path, name: str) -> None:
    network = found(name).network
    file = tmp_path / "spec.py"
    file.write_text(spec_source.text(network, origin=name), encoding="utf-8")
    assert networks.network(f"{file}:{network.name}").sha256 == network.sha256


def test_what_is_cut_off_is_said(found: Callable[[str], Imported]) -> None:
    assert found("LeNet").notes == ("the final log_softmax is cut off: the network gives logits",)
    assert found("SENet").notes == ("the final softmax is cut off: the network gives logits",)
    assert found("ResNet6").notes == ()


def test_functional_dropout_keeps_its_rate(found: Callable[[str], Imported]) -> None:
    assert layers(found("LeNet").network, Dropout) == [Dropout(rate=0.5)]
    assert layers(found("SENet").network, Dropout) == [Dropout(rate=0.2)]


def test_a_head_of_training_is_an_auxiliary_classifier(found: Callable[[str], Imported]) -> None:
    result = found("GoogLeNet")
    (head,) = layers(result.network, Auxiliary)
    assert head.name == "aux"
    assert any(note.startswith("auxiliary classifiers: 1 with weight 0.3") for note in result.notes)
    assert layers(result.network, Dropout) == [Dropout(rate=0.4)]


def test_residual_blocks(found: Callable[[str], Imported]) -> None:
    blocks = cast(list[Residual], layers(found("ResNet6").network, Residual))
    assert [len(block.shortcut) for block in blocks] == [0, 0, 2, 0]
    assert [layer.name for layer in blocks[2].shortcut] == ["layer2.0.shortcut.0", "layer2.0.shortcut.1"]


def test_activations_written_as_arithmetic(found: Callable[[str], Imported]) -> None:
    network = found("SENet").network
    assert len(layers(network, SiLU)) == len(layers(network, HardSwish)) == 1


def test_channels_last(found: Callable[[str], Imported]) -> None:
    network = found("ConvNeXt").network
    assert [layer.name for layer in layers(network, Affine)] == ["stages.0.gamma", "stages.1.gamma"]
    assert len(layers(network, LayerNorm)) == 3
    assert layers(network, StochasticDepth) == [StochasticDepth(rate=0.1)]
    assert [layer.kernel for layer in cast(list[Conv], layers(network, Conv))][:4] == [4, 7, 1, 1]
    means = [layer.mean for layer in cast(list[Normalize], layers(network, Normalize)) if any(layer.mean)]
    assert np.allclose(means, [(123.675, 116.28, 103.53)])


def test_a_channel_shuffle_is_one_layer(found: Callable[[str], Imported]) -> None:
    maps = [layer.maps for layer in cast(list[Select], layers(found("ShuffleNet").network, Select))]
    assert maps.count((0, 4, 1, 5, 2, 6, 3, 7)) == 2


def test_arguments_of_batch_norm(found: Callable[[str], Imported]) -> None:
    norms = cast(list[BatchNorm], layers(found("DenseNet").network, BatchNorm))
    assert (norms[-1].momentum, norms[-1].gamma, norms[-1].beta) == (0.2, False, False)


def test_pixels_are_scaled_on_request(bench: Bench) -> None:
    """Before the module's own layers; the module is then given what these layers give."""
    python = str(bench.python("torch"))
    result = network_import.imported(f"{MODULES}:LeNet", (1, 28, 28), {"torch": python}, print, pixels="unit")
    assert result.network.layers[0].name == "pixels"
    assert network_import.compared(result).agrees


def test_literal_arguments(bench: Bench) -> None:
    python = str(bench.python("torch"))
    text = f"{MODULES}:LeNet(num_classes=7)"
    assert network_import.imported(text, (1, 28, 28), {"torch": python}, print).network.classes == 7


@pytest.mark.parametrize("kind", [Conv, BatchNorm])
def test_the_first_layer_that_parts_is_named(found: Callable[[str], Imported], kind: type[Layer]) -> None:
    """Of a network in which one layer has other values than the original."""
    result = found("ResNet6")
    path = [node.path for _, node in result.network.walk() if isinstance(node.layer, kind)][2]
    role = "weight" if kind is Conv else "gamma"
    wrong = {f"{path}.{role}": result.weights[f"{path}.{role}"] + 0.1}
    comparison = network_import.compared(replace(result, weights=result.weights | wrong))
    assert not comparison.agrees
    assert comparison.parted.startswith(f"{path}, by ")


# --- refusals ---------------------------------------------------------------------------------------------------------

HEAD = """
import torch
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        {init}
        self.fc = nn.Linear(3, 10)

    def forward(self, x):
        x = self.conv(x)
        {forward}
        return self.fc(x.mean([2, 3]))
"""
LINE = 15  # of the first line of `forward` in HEAD


def imported(bench: Bench, folder: Path, init: str, forward: str) -> Imported:
    return of_text(bench, folder, HEAD.format(init=init or "pass", forward=forward or "pass").lstrip())


def of_text(bench: Bench, folder: Path, text: str, name: str = "Net") -> Imported:
    file = folder / "net.py"
    file.write_text(text, encoding="utf-8")
    return network_import.imported(f"{file}:{name}", (3, 8, 8), {"torch": str(bench.python("torch"))}, print)


# What a network has in __init__ and in forward, and the layers that it is between `conv` and the mean.
WAYS: dict[str, tuple[str, str, list[Layer]]] = {
    "results not assigned": ("", "x.mul_(2.0); F.relu(x, inplace=True)", [Scale(factor=2.0), ReLU()]),
    "two names of one tensor": ("", "y = x; y += 1; x = x * y",
                                [Normalize(mean=(-1.0,)), Multiply("", [[], []])]),
    "a shortcut changed in place": ("self.act = nn.ReLU(inplace=True); self.c2 = nn.Conv2d(3, 3, 1)",
                                    "x = x + self.c2(self.act(x))", [ReLU(), Residual("", [Conv("c2", 3, 1)])]),
    "a part changed in place": ("", "a, b = x[:, :1], x[:, 1:]; b.relu_(); x = torch.cat([a, b], 1)",
                                [Concat("", [[Select("", (0,))], [Select("", (1, 2)), ReLU()]])]),
    "modules made in forward": ("", "x = nn.ReLU(inplace=True)(nn.MaxPool2d(2)(x))", [MaxPool("", 2, 2), ReLU()]),
    "sizes computed": ("", "x = F.max_pool2d(x, (x.size(2) // 4, int(x.shape[3] / 4)))", [MaxPool("", 2, 2)]),
    "sizes of a view": ("", "n, c = x.size()[:2]; x = x.view(n, c, -1).view(n, int(c * 1.), 8, x.numel() // n // 24)",
                        []),
    "means of rows": ("", "x = x.mean(3).mean(2)[:, :, None, None]", [GlobalAvgPool()]),
    "means of some channels": ("self.c2 = nn.Conv2d(2, 3, 1)", "x = self.c2(x[:, 1:].mean((2, 3), keepdim=True))",
                               [Select("", (1, 2)), GlobalAvgPool(), Conv("c2", 3, 1)]),
    "a sum from 0 on": ("self.c = nn.ModuleList(nn.Conv2d(3, 3, 1) for _ in range(2))", "x = sum(c(x) for c in self.c)",
                        [Add("", [[Conv("c.0", 3, 1)], [Conv("c.1", 3, 1)]])]),
    "moved axes": ("", "x = F.relu(x.movedim(1, -1)).moveaxis((1, 2), (2, 3))", [ReLU()]),
    "differences": ("", "x = F.avg_pool2d(x, 3, 1, 1) - x; x = torch.rsub(x, F.relu(x)); x = 1 - x",
                    [Add("", [[AvgPool("", 3, 1, 1)], [Scale(factor=-1.0)]]),
                     Add("", [[ReLU()], [Scale(factor=-1.0)]]), Scale(factor=-1.0), Normalize(mean=(-1.0,))]),
    "a factor for each channel": ("self.scale = nn.ParameterDict({'weight': nn.Parameter(torch.rand(3, 1, 1) + 0.5)})",
                                  "x = x * self.scale['weight']", [Affine("scale", beta=False)]),
    "a factor and a summand": ("self.scale = nn.ParameterDict({'weight': nn.Parameter(torch.rand(3, 1, 1) + 0.5),"
                               " 'bias': nn.Parameter(torch.rand(3, 1, 1))})",
                               "x = x * self.scale['weight'] + self.scale['bias']", [Affine("scale")]),
    "means of columns": ("", "x = F.relu(x.mean(2, keepdim=True))", [AdaptiveAvgPool("", 1, 8), ReLU()]),
    "channels of zeros": ("self.c2 = nn.Conv2d(5, 3, 1)",
                          "x = self.c2(torch.cat((x, torch.zeros(x.size(0), 2, *x.shape[2:])), 1))",
                          [Select("", (0, 1, 2, None, None)), Conv("c2", 3, 1)]),
    "new channels of zeros": ("self.c2 = nn.Conv2d(4, 3, 1)",
                              "x = self.c2(torch.cat([x.new_zeros(x.size(0), 1, 8, 8), x], dim=1))",
                              [Select("", (None, 0, 1, 2)), Conv("c2", 3, 1)]),
    "drop connect": ("", "x = x.div(0.8) * torch.empty([x.size(0), 1, 1, 1]).bernoulli_(0.8) if self.training else x",
                     [StochasticDepth(rate=0.2)]),
    "drop connect in place": ("", "self.training and x.div_(.8).mul_(torch.rand(len(x), 1, 1, 1).add_(.8).floor_())",
                              [StochasticDepth(rate=0.2)]),
    "dropout of single values": ("self.drop = nn.Dropout2d(0.2)", "x = self.drop(F.adaptive_avg_pool2d(x, 1))",
                                 [GlobalAvgPool(), Dropout(rate=0.2)]),
    "no dropout of channels": ("self.drop = nn.Dropout2d(0)", "x = self.drop(x)", []),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_ways_to_write_a_layer(bench: Bench, tmp_path: Path, way: str) -> None:
    init, forward, expected = WAYS[way]
    result = imported(bench, tmp_path, init, forward)
    assert list(result.network.layers[1:-3]) == expected
    assert network_import.compared(result).agrees


def test_the_rate_of_a_random_mask_is_said_to_be_assumed(bench: Bench, tmp_path: Path) -> None:
    result = imported(bench, tmp_path, *WAYS["drop connect"][:2])
    assert result.notes == (f"net.py:{LINE}: 0 or 1 for each image is taken as stochastic depth of 0.2",)


# What a network has in __init__ and in forward; what the message says. {line} is the line of `forward`.
REFUSED = {
    "bicubic": ("self.up1 = nn.Upsample(scale_factor=2, mode='bicubic')", "x = self.up1(x)",
                "no layer for aten.upsample_bicubic2d (up1, net.py:{line})"),
    "twice": ("", "x = self.conv(x)", "the layer conv is called twice (conv, net.py:{line})"),
    "control flow": ("", "x = x if x.sum() > 0 else -x", "net.py:{line}: control flow on values"),
    "hook": ("self.conv.register_forward_hook(lambda module, inputs, output: 2 * output)", "",
             "no layer for nn.Conv2d (conv, net.py:14): a hook changes what it computes"),
    "weight norm": ("self.conv = nn.utils.parametrizations.weight_norm(self.conv)", "",
                    "no layer for nn.Conv2d (conv, net.py:14): its weights are computed from others"),
    "standardized weights": ("", "x = F.conv2d(x, F.layer_norm(self.conv.weight, (3, 1, 1)))",
                             "no layer for F.layer_norm (net.py:{line}): it computes from arrays of the network"),
    "one array": ("self.other = nn.Conv2d(3, 3, 1); self.other.weight = self.conv.weight", "x = self.other(x)",
                  "conv.weight and other.weight are one array"),
    "dropout in evaluation": ("", "x = F.dropout(x, 0.5)", "in evaluation it gives other values at a second call"),
    "dropout of channels": ("self.drop = nn.Dropout2d(0.5)", "x = self.drop(x)",
                            "no layer for nn.Dropout2d (drop, net.py:{line}): it drops whole channels"),
    "dropout of channels by a function": ("", "x = F.dropout2d(x, 0.5, self.training)",
                                          "no layer for F.dropout2d (net.py:{line}): it drops whole channels"),
    "mask alone": ("", "x = x * torch.empty([x.size(0), 1, 1, 1]).bernoulli_(0.8) if self.training else x",
                   "no layer for * (net.py:{line}): a factor for each image"),
    "part changed before the whole": ("", "x[:, :1].mul_(2); x = F.relu(x)",
                                      "net.py:{line}: TypeError: it takes a tensor after another form or a part of it"),
    "made in forward": ("", "x = nn.Conv2d(3, 3, 1)(x)",
                        "net.py:{line}: TypeError: Conv2d has arrays and is no submodule"),
    "in a list": ("self.c = [nn.Conv2d(3, 3, 1)]", "x = self.c[0](x)",
                  "net.py:{line}: TypeError: Conv2d has arrays and is no submodule"),
    "softmax inside": ("", "x = x.softmax(1)", "no layer for .softmax (net.py:{line})"),
    "one slope": ("self.act = nn.PReLU()", "x = self.act(x)", "no layer for nn.PReLU (act, net.py:{line}): one slope"),
    "no running statistics": ("self.bn = nn.BatchNorm2d(3, track_running_stats=False)", "x = self.bn(x)",
                              "no layer for nn.BatchNorm2d (bn, net.py:{line}): it has no running statistics"),
    "reflected padding": ("self.c2 = nn.Conv2d(3, 3, 3, padding=1, padding_mode='reflect')", "x = self.c2(x)",
                          "no layer for nn.Conv2d (c2, net.py:{line}): its padding is reflect values"),
    "transposed": ("self.up = nn.ConvTranspose2d(3, 3, 2, 2)", "x = self.up(x)",
                   "no layer for nn.ConvTranspose2d (up, net.py:{line})"),
    "quotient": ("", "x = x / F.relu(x)", "no layer for / (net.py:{line}): a quotient of two tensors"),
    "another function in training": ("", "x = F.relu(x) if self.training else x",
                                     "auxiliary classifiers aside: F.relu (net.py:{line}) in training alone"),
    "another function in evaluation": ("", "x = x if self.training else torch.sigmoid(x)",
                                       "aside: torch.sigmoid (net.py:{line}) in evaluation alone"),
    "another number in training": ("", "x = x * (2 if self.training else 3)",
                                   "auxiliary classifiers aside: * (net.py:{line})"),
    "attention": ("self.attn = nn.MultiheadAttention(8, 1)",
                  "s = x.mean(3); x = self.attn(s, s, s, need_weights=False)[0][..., None]",
                  "no layer for nn.MultiheadAttention (attn, net.py:{line})"),
    "attention with weights": ("self.attn = nn.MultiheadAttention(8, 1)",
                               "s = x.mean(3); s, w = self.attn(s, s, s); x = s[..., None]",
                               "no layer for nn.MultiheadAttention (attn, net.py:{line})"),
    "states": ("self.rnn = nn.LSTM(8, 8)", "s, (h, c) = self.rnn(x.mean(3)); x = s[..., None]",
               "no layer for nn.LSTM (rnn, net.py:{line})"),
    "channels last": ("self.f2 = nn.Linear(192, 10)", "return self.f2(x.permute(0, 2, 3, 1).reshape(len(x), -1))",
                      "no layer for .reshape (net.py:{line}): the channels are last before it"),
    "one of the logits": ("", "return x.mean([2, 3]).transpose(0, 1)", "no layer for .transpose (net.py:{line})"),
    "an order at the end": ("", "return x.flatten(2).transpose(1, 2).flatten(1)",
                            "no layer for this order of values, 3x8x8 of 3x8x8 (.flatten, net.py:{line})"),
    "no nested form": ("self.c = nn.ModuleList(nn.Conv2d(3, 3, 1) for _ in range(4))",
                       "a, b = self.c[0](x), self.c[1](x); x = (a + self.c[2](a + b)) * (b + self.c[3](b))",
                       "no nested form for c.0, net.py:{line}"),
    "raised": ("", "raise ValueError('not\\nready')", "net.py:{line}: for an input of 3x8x8: ValueError: not ready"),
    "raised in init": ("self.n = 1 / 0", "", "net.py:10: ZeroDivisionError: division by zero"),
    "values mixed": ("", "x = F.relu(x.transpose(2, 3))", "no layer for this order of values"),
    "batch mixed": ("", "x = x.flip(0)", "no layer for .flip (net.py:{line}): it mixes the images of a batch"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(bench: Bench, tmp_path: Path, case: str) -> None:
    init, forward, message = REFUSED[case]
    with pytest.raises(BadInput) as caught:
        imported(bench, tmp_path, init, forward)
    said = str(caught.value)
    assert said.startswith(f"{tmp_path / 'net.py'}:Net: ") and "\n" not in said
    assert message.format(line=LINE) in said


# An operator as it is written, and its name in the message.
NAMES = {
    "F.pad(x, (1, 1, 1, 1), 'reflect')": "F.pad",
    "F.normalize(x)": "F.normalize",
    "torch.sin(x)": "torch.sin",
    "x.sin()": ".sin",
    "torch.flip(x, [0])": "torch.flip",
    "x.repeat(1, 1, 2, 1)": ".repeat",
    "x ** 2": "**",
    "-x": "-",
    "x @ x": "@",
    "(x > 0).float()": ">",
    "torch.special.expit(x)": "torch.special.expit",
    "torch.nn.functional.logsigmoid(x)": "F.logsigmoid",
}


@pytest.mark.parametrize("code", NAMES)
def test_a_refused_operator_has_the_name_that_the_user_writes(bench: Bench, tmp_path: Path, code: str) -> None:
    with pytest.raises(BadInput, match=rf"no layer for {re.escape(NAMES[code])} \(net\.py:{LINE}\)"):
        imported(bench, tmp_path, "", f"x = {code}")


# --- what training differs in -----------------------------------------------------------------------------------------

FREEZE = "for p in self.{}.parameters(): p.requires_grad = False"
STAYS = "stays in evaluation in training: the port trains it as batch norm"
# What a network has in __init__ and in forward, and its notes of what is trained otherwise. {line} as above.
UNTRAINED = {
    "a frozen layer": (FREEZE.format("conv"), "",
                       "conv.weight, conv.bias have requires_grad=False: the port trains them"),
    "one frozen array": ("self.conv.bias.requires_grad_(False)", "",
                         "conv.bias has requires_grad=False: the port trains it"),
    "many frozen arrays": ("self.b = nn.Sequential(*(nn.Conv2d(3, 3, 1) for _ in range(4))); "
                           + "self.b.requires_grad_(False)", "x = self.b(x)",
                           "b.* (8 arrays) have requires_grad=False: the port trains them"),
    "frozen in forward": ("", "self.conv.requires_grad_(False)",
                          "conv.weight, conv.bias have requires_grad=False: the port trains them"),
    "detach": ("", "x = x.detach()", ".detach() (net.py:{line}): the port has its gradient"),
    "torch.detach": ("", "x = torch.detach(x)", ".detach() (net.py:{line}): the port has its gradient"),
    "data": ("", "x = x.data", ".detach() (net.py:{line}): the port has its gradient"),
    "batch norm by a function": ("self.bn = nn.BatchNorm2d(3)",
                                 "x = F.batch_norm(x, self.bn.running_mean, self.bn.running_var, self.bn.weight,"
                                 " self.bn.bias, False)", f"F.batch_norm (net.py:{{line}}) {STAYS}"),
    "batch norm in evaluation": ("self.bn = nn.BatchNorm2d(3)", "self.bn.eval(); x = self.bn(x)",
                                 f"nn.BatchNorm2d (bn, net.py:{{line}}) {STAYS}"),
    "a hook of gradients": ("self.conv.register_full_backward_hook(lambda m, i, o: None)", "",
                            "conv has a hook of its gradient: the port has none"),
}  # fmt: skip
# Methods of a network, and its forward.
PARTS = {
    "no_grad": (
        "with torch.no_grad():\n            x = F.relu(x)",
        "",
        "torch.no_grad() around F.relu (net.py:{after}): the port has the gradient",
    ),
    "inference mode": (
        "with torch.inference_mode():\n            x = F.relu(x)",
        "",
        "torch.no_grad() around F.relu (net.py:{after}): the port has the gradient",
    ),
    "gradients off": (
        "torch.set_grad_enabled(False)\n        x = F.relu(x)\n        torch.set_grad_enabled(True)",
        "",
        "torch.no_grad() around F.relu (net.py:{after}): the port has the gradient",
    ),
    "a train of its own": (
        "x = self.bn(x)",
        "def train(self, mode=True):\n        super().train(mode); self.bn.eval()",
        f"nn.BatchNorm2d (bn, net.py:{{line}}) {STAYS}",
    ),
    "a gradient of its own": (
        "x = Half.apply(x)",
        "",
        "Half.backward (net.py:6): the port has the gradient of its forward",
    ),
    "a gradient ended twice": (
        "x = x.detach()\n        x = x.detach()",
        "",
        ".detach() (net.py:{line}): the port has its gradient",
    ),
}
HALF = """class Half(torch.autograd.Function):
    forward = staticmethod(lambda ctx, x: F.relu(x))
    backward = staticmethod(lambda ctx, gradient: gradient / 2)
"""


@pytest.mark.parametrize("case", UNTRAINED)
def test_what_is_trained_otherwise_is_said(bench: Bench, tmp_path: Path, case: str) -> None:
    init, forward, note = UNTRAINED[case]
    result = imported(bench, tmp_path, init, forward)
    assert result.untrained == (note.format(line=LINE),)
    assert set(result.untrained) <= set(result.notes)
    assert network_import.compared(result).agrees


@pytest.mark.parametrize("case", PARTS)
def test_parts_that_are_trained_otherwise_are_said(bench: Bench, tmp_path: Path, case: str) -> None:
    forward, method, note = PARTS[case]
    text = HEAD.format(init="self.bn = nn.BatchNorm2d(3)", forward=forward).lstrip() + f"\n    {method}\n"
    text = text.replace("\n\nclass Net", f"\n{HALF}\n\nclass Net") if "Half" in forward else text
    result = of_text(bench, tmp_path, text)
    assert result.untrained[:1] == (note.format(line=LINE, after=LINE + 1),)
    assert network_import.compared(result).agrees


# Code whose gradient reaches no trained array, or which forward does not use for the logits.
TRAINED = {
    "the image": ("", "x = x + 0"),
    "a number": ("", "x = x * float(len(x.detach()))"),
    "no use": ("", "self.last = x.detach()"),
    "dropout in evaluation": ("self.drop = nn.Dropout(0.5)", "self.drop.eval(); x = self.drop(x)"),
    "dropout by a function": ("", "x = F.dropout(x, 0.5, False)"),
}


@pytest.mark.parametrize("case", TRAINED)
def test_what_is_trained_alike_has_no_note(bench: Bench, tmp_path: Path, case: str) -> None:
    result = imported(bench, tmp_path, *TRAINED[case])
    assert result.untrained == ()
    assert not layers(result.network, Dropout)


# --- outputs, constants, classes --------------------------------------------------------------------------------------

# What forward returns, with the outputs that are left out or are heads.
OUTPUTS = {
    "self.fc(x.mean([2, 3])), x.mean([2, 3])": ["output 2 of forward is no row of 10 logits: left out"],
    "self.fc(x.mean([2, 3])), self.two(x.mean([2, 3]))": ["output 2 of forward is no row of 10 logits: left out",
                                                          "two.weight is used for no logits: left out",
                                                          "two.bias is used for no logits: left out"],
    "self.fc(x.mean([2, 3])), x.transpose(2, 3)": ["output 2 of forward is no row of 10 logits: left out"],
    "self.fc(x.mean([2, 3])), F.pixel_shuffle(x.repeat(1, 4, 1, 1), 2)": [
        "output 2 of forward is no row of 10 logits: left out"],
    "(lambda e: (self.last(e), e))(self.ten(x.mean([2, 3])))": [
        "output 2 of forward has no arrays of its own: left out"],
    "self.fc(x.mean([2, 3])), self.ten(x.mean([2, 3]))": ["auxiliary classifiers: 1 with weight 0.3 in the loss: the "
                                                          "file does not say its own"],
}  # fmt: skip
SEVERAL = "in evaluation forward gives several tensors: the first is the network's output"


@pytest.mark.parametrize("returned", OUTPUTS)
def test_a_further_output_is_a_classifier_or_left_out(bench: Bench, tmp_path: Path, returned: str) -> None:
    init = "self.two, self.ten, self.last = nn.Linear(3, 2), nn.Linear(3, 10), nn.Linear(10, 10)"
    result = imported(bench, tmp_path, init, f"return {returned}")
    unused = [each for each in result.notes if each.endswith(" is not used in forward: left out")]
    assert [each for each in result.notes if each not in unused] == [SEVERAL, *OUTPUTS[returned]]
    assert bool(layers(result.network, Auxiliary)) == OUTPUTS[returned][0].startswith("auxiliary")
    assert network_import.compared(result).agrees


@pytest.mark.parametrize(
    "forward",
    [
        "x = (x - self.mean) / self.std",
        "x = (x - self.mean.view(1, 3, 1, 1)) / self.std.reshape(1, 3, 1, 1)",
        "x = x * (1 / self.std); x = x - self.mean * 2",
    ],
)
def test_constants_that_forward_uses_are_not_left_out(bench: Bench, tmp_path: Path, forward: str) -> None:
    """Buffers that a layer of the spec holds as numbers."""
    values = "torch.tensor([0.5, 2.0, 4.0]).view(1, 3, 1, 1)"  # float32, in which the importer computes, is exact here
    init = "; ".join(f"self.register_buffer('{name}', {values})" for name in ("mean", "std", "none"))
    result = imported(bench, tmp_path, init, forward)
    assert result.notes == ("none is not used in forward: left out",)
    assert network_import.compared(result).agrees


@pytest.mark.parametrize(
    "returned",
    ["x.squeeze(1)", "x.squeeze(-1)", "x.flatten()", "x[:, 0]", "torch.sigmoid(x.squeeze())", "x.select(1, 0)", "x"],
)
def test_one_class(bench: Bench, tmp_path: Path, returned: str) -> None:
    """Logits of a single class, whose axis forward may take away."""
    result = imported(bench, tmp_path, "self.one = nn.Linear(3, 1)", f"x = self.one(x.mean([2, 3])); return {returned}")
    assert result.network.output == (1,)
    assert network_import.compared(result).agrees


# What a name stands for besides a class: code after the network, and the name.
FORMS = {
    "a module": "form = Net()",
    "DataParallel": "form = lambda: nn.DataParallel(Net())",
    "a compiled module": "form = lambda: torch.compile(Net())",
    "a module compiled in place": "form = Net(); form.compile()",
    "both": "form = torch.compile(nn.DataParallel(Net()))",
    "compiled code": "Net.forward = torch.compile(Net.forward); form = Net",
    "half": "form = lambda: Net().half()",
    "bfloat16": "form = lambda: Net().bfloat16()",
    "double": "form = lambda: Net().double()",
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_a_module(bench: Bench, tmp_path: Path, form: str) -> None:
    result = of_text(bench, tmp_path, HEAD.format(init="pass", forward="pass").lstrip() + f"\n{FORMS[form]}\n", "form")
    assert set(network_import.own_names(result.network).values()) == {
        "conv.weight", "conv.bias", "fc.weight", "fc.bias"
    }  # fmt: skip
    types = {"half": "float16", "bfloat16": "bfloat16"}
    notes = [f"its arrays are of {types[form]}: those of the port have float32"] if form in types else []
    assert list(result.notes) == notes
    assert network_import.compared(result).agrees


@pytest.mark.parametrize(
    ("code", "name", "message"),
    [
        ("form = torch.jit.script(Net())", "form", "form is made by torch.jit, which hides what forward computes"),
        ("def form(): return nn.Sequential(torch.jit.script(Net()))", "form", "its 0 is made by torch.jit"),
        ("form = Net()", "form(num_classes=3)", "form is a module and no class or function"),
        ("def form(a): pass", "form", "missing a required argument: 'a'; give it: net.py:form(a=...)"),
        ("def form(a, b, *c, d, e=1): pass", "form(3)", "give it: net.py:form(3, b=..., d=...)"),
        ("def form(a=1): pass", "form(c=3)", "got an unexpected keyword argument 'c'; its arguments: a"),
    ],
)
def test_names_that_give_no_module_for_these_arguments(
    bench: Bench, tmp_path: Path, code: str, name: str, message: str
) -> None:
    with pytest.raises(BadInput) as caught:
        of_text(bench, tmp_path, HEAD.format(init="pass", forward="pass").lstrip() + f"\n{code}\n", name)
    assert message in str(caught.value)


# The text after the file, the input, and what the message says.
WRONG = {
    "no such class": ("Nett", (3, 8, 8), "it has no class or function 'Nett'; it has Net, Head, number"),
    "missing arguments": ("Head", (3, 8, 8), "Head(): missing a required argument: 'classes'; give it: "),
    "no literal": ("Head(classes=n)", (3, 8, 8), "arguments are literals"),
    "no module": ("number", (3, 8, 8), "number() gives int and no torch.nn.Module"),
    "wrong input": ("Net", (1, 8, 8), "for an input of 1x8x8: RuntimeError: "),
    "no image": ("Net", (8,), "--input 8: write channels, height and width"),
    "no row of logits": ("Head(classes=2)", (3, 8, 8), "its output is 2x8x8; a classifier gives one row of logits"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_inputs(bench: Bench, tmp_path: Path, case: str) -> None:
    name, shape, message = WRONG[case]
    file = tmp_path / "net.py"
    init = "    def __init__(self, classes):\n        super().__init__(nn.Conv2d(3, classes, 1))\n\n"
    more = f"class Head(nn.Sequential):\n{init}"
    text = HEAD.format(init="pass", forward="pass").lstrip() + f"\n\n{more}\ndef number():\n    return 3\n"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        network_import.imported(f"{file}:{name}", shape, {"torch": str(bench.python("torch"))}, print)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_no_python_or_imports_what_is_missing(bench: Bench, tmp_path: Path) -> None:
    pythons = {"torch": str(bench.python("torch"))}
    file = tmp_path / "net.py"
    with pytest.raises(BadInput, match="no file"):
        network_import.imported(f"{file}:Net", (3, 8, 8), pythons, print)
    with pytest.raises(BadInput, match=r"write FILE\.py:NAME"):
        network_import.imported(str(file), (3, 8, 8), pythons, print)
    file.write_text("x = 1\ndef f(:\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"net\.py:2: invalid syntax"):
        network_import.imported(f"{file}:Net", (3, 8, 8), pythons, print)
    file.write_text("import no_such_package\n", encoding="utf-8")
    with pytest.raises(
        BadInput, match=r"net\.py:1: .*--python: ModuleNotFoundError: No module named 'no_such_package'"
    ):
        network_import.imported(f"{file}:Net", (3, 8, 8), pythons, print)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os; os._exit(0)", "the process that reads it ends with exit code 0 and gives no reason"),
        ("import os; os._exit(3)", "the process that reads it ends with exit code 3 and gives no reason"),
        ("import os; os.abort()", "the process that reads it is ended by SIGABRT"),
        ("[None for _ in iter(int, 1)]", "not ready within 8 s; long loops or downloads?"),
        ("import sys; sys.exit('no weights')", "no weights"),
    ],
)
@pytest.mark.parametrize("place", ["init", "forward"])
def test_a_file_that_ends_or_occupies_the_process(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, code: str, message: str
) -> None:
    if message.startswith("not ready"):  # the others may take longer on a loaded machine
        monkeypatch.setattr("benchmarks.porting.scripts.LIMIT", 8.0)
    file = tmp_path / "net.py"
    lines = {"init": "pass", "forward": "pass", place: code}
    file.write_text(HEAD.format(**lines).lstrip(), encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        network_import.imported(f"{file}:Net", (3, 8, 8), {"torch": str(bench.python("torch"))}, print)
    assert str(caught.value).startswith(f"{file}:Net: ") and str(caught.value).endswith(message)


# --- the command ------------------------------------------------------------------------------------------------------


def port(*arguments: str) -> int:
    return exit_code_of(command)(list(arguments))


def test_port_writes_a_spec_that_computes_what_the_module_computes(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module, python = f"{MODULES}:LeNet", f"--python=torch={bench.python('torch')}"
    assert port(module, "--input", "1,28,28", "--to", "spec,flax", "-o", str(tmp_path), python) == 0
    output = capsys.readouterr().out
    assert "float64, evaluation: the logits differ by at most" in output and "--pixels" in output
    stem = next(tmp_path.glob("*_spec.py")).stem.removesuffix("_spec")
    network = networks.network(f"{tmp_path / stem}_spec.py:{stem}")
    saved = checkpoints.load(tmp_path / f"{stem}_spec.npz")
    assert saved.network.sha256 == network.sha256
    assert "No layer scales the pixels." in (tmp_path / f"{stem}_flax.py").read_text(encoding="utf-8")


def test_port_names_the_layer_from_which_a_spec_differs(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = network_import.imported

    def changed(*arguments: Any, **options: Any) -> Imported:
        found = sound(*arguments, **options)
        name = next(each for each in found.weights if each.endswith(".weight"))
        return replace(found, weights=found.weights | {name: 2 * found.weights[name]})

    monkeypatch.setattr(network_import, "imported", changed)
    module, python = f"{MODULES}:LeNet", f"--python=torch={bench.python('torch')}"
    assert port(module, "--input", "1,28,28", "--pixels", "unit", "--to", "spec", "-o", str(tmp_path), python) == 4
    assert "beyond rounding from conv1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["lenet", "--pixels", "unit"],
            "--pixels unit: it is for a network of another program, and lenet is a spec",
        ),
        (
            ["net.py:Net", "--input", "1,8,8", "--classes", "5"],
            "--classes 5: the classes are those of net.py:Net",
        ),
    ],
)
def test_options_of_port_that_do_not_fit(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text("import torch\n")
    assert port(*arguments, "--to", "spec", "-o", str(tmp_path)) == 2
    assert message in capsys.readouterr().err


# --- torchvision ------------------------------------------------------------------------------------------------------

SMALL = ("resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "convnext_tiny", "googlenet")
OURS = {theirs: ours for whose, theirs, ours, counts in COUNTED if whose == "torchvision" and counts is equal}
WITH_HEADS = {"googlenet": "googlenet_bn_aux", "inception_v3": "inception_v3_aux"}
SIDES = {"alexnet": 224, "vgg": 224, "inception": 299, "googlenet": 80}


def check_torchvision(bench: Bench, name: str) -> None:
    """Its arrays, counts and logits, and the printed file."""
    side = next((side for start, side in SIDES.items() if name.startswith(start)), 64)
    text = f"{THIRD_PARTIES / 'torchvision_user.py'}:net({json.dumps(name)})"
    result = network_import.imported(text, (3, side, side), {"torch": str(bench.python("torchvision"))}, print)
    ours = NETWORKS[WITH_HEADS.get(name, OURS[name])]()
    assert (result.network.params, result.network.buffers) == (ours.params, ours.buffers)
    assert set(network_import.own_names(result.network).values()) == {*network_import.own_names(ours).values()}
    comparison = network_import.compared(result)
    assert comparison.agrees, comparison


@pytest.mark.parametrize("name", SMALL)
def test_small_networks_of_torchvision(bench: Bench, name: str) -> None:
    check_torchvision(bench, name)


@pytest.mark.skipif(not os.environ.get("ONESPEC_SLOW"), reason="takes half an hour: set ONESPEC_SLOW=1")
@pytest.mark.timeout(7200)
def test_all_convolutional_classifiers_of_torchvision(bench: Bench) -> None:
    theirs = cast(list[str], output_of(bench, "torchvision", "torchvision_names"))
    names = [name for name in theirs if not name.startswith(("vit_", "swin_", "maxvit"))]
    assert len(names) == 68
    for name in names:
        check_torchvision(bench, name)

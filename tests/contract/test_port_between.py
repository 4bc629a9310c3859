"""`onespec port A B` on the command line: catalogue, spec files, weight files and PyTorch modules."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.port import command
from benchmarks.porting import sources
from benchmarks.porting.between import own_steps, report
from benchmarks.porting.between.trainings import parsed
from benchmarks.runtime.errors import BadInput
from benchmarks.verification.case_weights import revealing_weights
from frameworks.networks import NETWORKS
from frameworks.training import SGD, Adam, Training
from tests.command_line import exit_code_of
from tests.conftest import Bench

SPEC = """
from frameworks.spec import AvgPool, Conv, Dense, Flatten, Network, Sigmoid


def mine(classes: int = 10) -> Network:
    layers = [
        Conv("first", 6, 5, padding=2), Sigmoid(), AvgPool("p", 2, 2), Conv("second", 16, 5), Sigmoid(),
        AvgPool("q", 2, 2), Flatten(), Dense("a", 120), Sigmoid(), Dense("b", 84), Sigmoid(), Dense("c", classes),
    ]
    return Network("mine", (1, 28, 28), layers)
"""

MODULE = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, stride=2, ceil=False, order=False, softmax=False, eps=1e-5):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride, 1)
        norm, act = nn.BatchNorm2d(8, eps=eps), nn.ReLU()
        self.rest = nn.Sequential(*((act, norm) if order else (norm, act)), nn.MaxPool2d(3, 2, ceil_mode=ceil))
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.fc = nn.Linear(32, 5)
        self.softmax = softmax

    def forward(self, x):
        x = self.fc(self.pool(self.rest(self.conv(x))).flatten(1))
        return x.softmax(1) if self.softmax else x
"""

# Arguments of B's module, and the layer and the words of the cause.
MISTAKES = {
    "stride": ("stride=1", "conv: stride is 2 in A, 1 in B"),
    "rounding": ("ceil=True", "the number of windows is rounded up in B"),
    "order": ("order=True", "BatchNorm, ReLU in A, ReLU, BatchNorm in B"),
    "softmax": ("softmax=True", "the output: B ends in softmax, A gives logits"),
    "epsilon": ("eps=1e-3", "rest.0: epsilon is 1e-05 in A, 0.001 in B"),
}


def port(*arguments: str) -> int:
    return exit_code_of(command)([*arguments, "-q"])


@pytest.fixture
def spec(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(SPEC, encoding="utf-8")
    return f"{tmp_path / 'mine.py'}:mine"


def test_a_spec_file_and_the_catalogue(spec: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert port("lenet", spec) == 0
    assert "The same function." in capsys.readouterr().out
    assert port("lenet_relu", spec) == 4
    assert "Another function. Likely cause: C1 | first: padding is 0 in A, 2 in B" in capsys.readouterr().out


def test_json(spec: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert port("lenet_bn", spec, "--json") == 4
    result = json.loads(capsys.readouterr().out)
    assert result["same"] is False and result["a"] == "lenet_bn" and result["b"] == spec
    assert result["differences"][0] == {
        **{"a": "C1", "b": "first", "what": "padding", "in_a": "0", "in_b": "2"},
        "cause": "padding is 0 in A, 2 in B",
    }
    assert result["parted"]["a"] == "C1" and result["cause"].startswith("C1 | first: ")


def test_classes_and_input_are_those_of_both(spec: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert port("lenet", spec, "--classes", "3", "--input", "1,32,32", "--json") == 0
    assert json.loads(capsys.readouterr().out)["differences"] == []


def test_weight_files(spec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Under the names of a state dict; those of B are not those of A."""
    weights = revealing_weights(NETWORKS["lenet"](), 3)
    names = dict(zip(["C1", "C3", "C5", "F6", "output"], ["first", "second", "a", "b", "c"]))
    renamed = {f"{names[key.split('.')[0]]}.{key.split('.')[1]}": array for key, array in weights.items()}
    np.savez(tmp_path / "a.npz", **weights)  # type: ignore[arg-type]
    np.savez(tmp_path / "b.npz", **renamed)  # type: ignore[arg-type]
    files = "--weights-a", str(tmp_path / "a.npz"), "--weights-b", str(tmp_path / "b.npz")
    assert port("lenet", spec, *files) == 0
    assert port("lenet", spec, *files[:2]) == 0
    renamed["second.weight"] = renamed["second.weight"][:, :, ::-1, ::-1].astype(np.float32)
    np.savez(tmp_path / "b.npz", **renamed)  # type: ignore[arg-type]
    capsys.readouterr()
    assert port("lenet", spec, *files) == 4
    printed = capsys.readouterr().out
    assert "1 difference:\n  C3 | second, weight: the kernel is rotated by 180 degrees" in printed
    assert "differs from C3 | second on" in printed


@pytest.mark.parametrize("mistake", MISTAKES)
def test_modules(bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str], mistake: str) -> None:
    """Two modules of PyTorch; each is compared with its own spec first."""
    file, (arguments, cause) = tmp_path / "net.py", MISTAKES[mistake]
    file.write_text(MODULE, encoding="utf-8")
    python = f"--python=torch={bench.python('torch')}"
    assert port(f"{file}:Net", f"{file}:Net({arguments})", "--input", "3,16,16", python) == 4
    printed = capsys.readouterr().out
    assert printed.count("it and its spec: the logits differ by at most") == 2
    assert "1 difference:" in printed and cause in printed.splitlines()[-1]


# Code at the end of __init__ of a module that trains otherwise than its spec, and the start of the note.
UNTRAINED = {
    "frozen": ("self.conv.requires_grad_(False)", "conv.weight, conv.bias have requires_grad=False"),
    "a hook": ("self.conv.register_full_backward_hook(lambda m, i, o: None)", "conv has a hook of its gradient"),
}


@pytest.mark.parametrize("case", UNTRAINED)
def test_training_that_differs_from_the_layers_is_not_compared(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    """A side whose original trains otherwise than its spec: the values of the specs show nothing of that."""
    code, note = UNTRAINED[case]
    plain, other = tmp_path / "plain.py", tmp_path / "other.py"
    plain.write_text(MODULE, encoding="utf-8")
    other.write_text(
        MODULE.replace("        self.softmax = softmax\n", f"        self.softmax = softmax\n        {code}\n")
    )
    options = ["--input", "3,16,16", f"--python=torch={bench.python('torch')}"]
    assert port(f"{plain}:Net", f"{other}:Net", *options) == 4
    printed = capsys.readouterr().out
    assert f"   B: {note}" in printed
    assert re.search(r"forward in evaluation +agrees", printed)
    assert re.search(r"gradients +not decided: B trains otherwise", printed)
    assert printed.splitlines()[-1].startswith("The same function in evaluation, another training: B trains otherwise")
    assert port(f"{other}:Net", f"{other}:Net", *options, "--json") == 0
    stages = {each["stage"]: each["agrees"] for each in json.loads(capsys.readouterr().out)["stages"]}
    assert stages["forward in evaluation"] is True
    assert {stages["forward in training"], stages["gradients"]} == {None}


STEPS = """
import torch
from torch.nn import functional as F


def mean(model, images, labels):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    F.cross_entropy(model(images), labels).backward()
    optimizer.step()


def smooth(model, images, labels):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    F.cross_entropy(model(images), labels, label_smoothing=0.1).backward()
    optimizer.step()


def wrong(model, images, labels):
    F.cross_entropy(model(images), labels, no_such=1)
"""


def test_own_training_code(bench: Bench, tmp_path: Path) -> None:
    """Of two modules that are equal; pixels are scaled by a layer in front, which the module itself does not have."""
    net, steps = tmp_path / "net.py", tmp_path / "steps.py"
    net.write_text(MODULE, encoding="utf-8")
    steps.write_text(STEPS.lstrip(), encoding="utf-8")
    pythons = {"torch": str(bench.python("torch"))}
    side = sources.read(sources.Source(f"{net}:Net", input=(3, 16, 16), pixels="unit"), pythons, print)

    def step(name: str) -> report.OwnStep:
        return lambda side, w, x, labels: own_steps.after(side, w, x, labels, f"{steps}:{name}", pythons, print)

    assert report.compared(side, side, own_code=(step("mean"), step("mean"))).same
    result = report.compared(side, side, own_code=(step("mean"), step("smooth")))
    assert not result.same and result.stages[-1].parted
    assert result.cause == "the training: label smoothing is 0 in A, 0.1 in B"
    with pytest.raises(BadInput, match=r"steps\.py:wrong: steps\.py:18: TypeError: "):
        report.compared(side, side, own_code=(step("mean"), step("wrong")))


def test_own_training_code_of_a_spec(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "steps.py").write_text(STEPS, encoding="utf-8")
    step = f"{tmp_path / 'steps.py'}:mean"
    assert port("lenet", "lenet", "--training-a", step, "--training-b", step) == 2
    assert "own training code is for a module of PyTorch, and lenet is none" in capsys.readouterr().err


# --- refusals ---------------------------------------------------------------------------------------------------------

WRONG = {
    "written": (["lenet", "lenet", "--to", "torch"], "--to: with two networks nothing is written"),
    "folder": (["lenet", "lenet", "-o", "x"], "--out: with two networks nothing is written"),
    "one network": (["lenet", "--weights-b", "x.npz"], "--weights-b: it is for two networks; name the other one"),
    "no target": (["lenet"], "--to NAME,... or --side-by-side is missing; to compare lenet with another network"),
    "no folder": (["lenet", "--to", "torch"], "--out FOLDER is missing"),
    "one training": (["lenet", "lenet", "--training-a", "SGD()"], "--training-b is missing"),
    "no training": (["lenet", "lenet", "--training-a", "SGD()", "--training-b", "Lion()"],
                    "--training-b 'Lion()': no optimizer Lion; there are SGD, Adam, RMSprop, Adadelta"),
    "one file": (["lenet", "lenet", "--training-a", "a.py:step", "--training-b", "SGD()"],
                 "a.py:step is a file and the other is none; give two files or none"),
    "no step": (["lenet", "lenet", "--training-a", "a.py:step", "--training-b", "a.py:step"],
                "a.py:step: write FILE.py:FUNCTION, a file that exists"),
    "second weights": (["lenet", "lenet", "--weights-b", "a.npz"], "--weights-b: give --weights-a, too"),
    "no network": (["lenet", "lenett"], "--net lenett: no such network. Did you mean lenet?"),
    "no file": (["lenet", "none.py:Net"], "none.py:Net: no file none.py"),
    "no weights": (["lenet", "lenet", "--weights-a", "none.npz"], "none.npz: no such file"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_refused(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, message = WRONG[case]
    monkeypatch.chdir(tmp_path)
    assert port(*arguments) == 2
    printed = capsys.readouterr().err
    assert message in printed and printed.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_module_without_an_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net.py").write_text(MODULE, encoding="utf-8")
    assert port("lenet", f"{tmp_path / 'net.py'}:Net") == 2
    assert (
        "net.py:Net: a module of PyTorch does not say the size of its images; give --input C,H,W"
        in capsys.readouterr().err
    )


TRAININGS = {
    "": Training(),
    "Adam": Training(Adam()),
    "SGD(momentum=0.9, nesterov=True), label_smoothing=0.1, decay_all=True": Training(
        SGD(momentum=0.9, nesterov=True), 0.1, True
    ),
    "Adam(weight_decay=1e-2, decoupled=True), clip_norm=1.0": Training(
        Adam(weight_decay=1e-2, decoupled=True), clip_norm=1.0
    ),
    "lr_factors=(('*.bias', 2.0),)": Training(lr_factors=(("*.bias", 2.0),)),
}


@pytest.mark.parametrize("text", TRAININGS)
def test_a_training_as_text(text: str) -> None:
    assert parsed("--training-a", text) == TRAININGS[text]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SGD(0.9)", "write the arguments of SGD with their names"),
        ("SGD(lr=0.1)", "SGD has no argument lr; it has momentum, nesterov"),
        ("SGD(momentum=2.0)", "0 <= momentum < 1"),
        ("SGD(nesterov=1)", "nesterov is 1, not True or False"),
        ("SGD(momentum='a')", "momentum is 'a', not a number"),
        ("SGD(momentum=open('x'))", "open('x') is no literal"),
        ("SGD(), Adam()", "write one optimizer"),
        ("SGD()) or (print('x')", "write one optimizer"),
        ("SGD(", "was never closed"),
        ("smoothing=0.1", "Training has no argument smoothing; it has label_smoothing"),
        ("**{'a': 1}", "Training has no argument None"),
        ("clip_norm='a'", "not supported between instances"),
    ],
)
def test_a_text_that_is_no_training(text: str, message: str) -> None:
    """Nothing of the text is executed."""
    with pytest.raises(BadInput) as caught:
        parsed("--training-a", text)
    assert message in str(caught.value) and str(caught.value).startswith("--training-a ")
    assert "\n" not in str(caught.value)

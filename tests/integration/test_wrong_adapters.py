"""A user's adapter that raises or returns something wrong becomes a row with the user's own file and line."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from benchmarks.cli.exit_codes import ExitCode
from benchmarks.run import command
from benchmarks.training import kept_states
from tests.command_line import exit_code_of

SMALL = ["--quick", "--train-size", "32", "--test-size", "8", "--epochs", "2", "--threads", "1", "--device", "cpu"]
FILE = """import numpy as np
from frameworks.adapter import Trained
from frameworks.numpy_reference import Reference

class Mine(Reference):
    {method}
        {action}
"""
VERSIONS, INIT = "@staticmethod\n    def versions():", "def __init__(self, network, training, setting):"
SETTINGS, GET = "def settings(self):", "def get_weights(self):"
SET, LOAD = "def set_weights(self, weights):", "def load(self, split, images, labels):"
TRAIN, PREDICT = "def train(self, order, batch_size, lrs, seed):", "def predict(self, split, batch_size):"
MEMORY = "def peak_memory(self):"
RAISING = (INIT, SETTINGS, GET, SET, LOAD, TRAIN, PREDICT, MEMORY, VERSIONS)
WRONG = [
    (VERSIONS, "return None", "Mine.versions gives NoneType; the contract asks for a dictionary of texts by name"),
    (VERSIONS, "return {}", "Mine.versions gives dict; the contract asks for the version of the framework"),
    (VERSIONS, "return {'mine': 1.0}", "Mine.versions gives dict"),
    (INIT, "pass", "Mine.__init__ gives NoneType; the contract asks for (shape, trained) by name in `arrays`"),
    (INIT, "self.arrays = {'a': 3}", "(shape, trained) by name in `arrays`"),
    (SETTINGS, "return ['fast']", "Mine.settings gives list"),
    (GET, "return {}", "Mine.get_weights gives dict; the contract asks for all arrays of the network; "),
    (GET, "return [1]", "Mine.get_weights gives list; the contract asks for NumPy arrays by name"),
    (TRAIN, "return None", "Mine.train gives NoneType; the contract asks for frameworks.adapter.Trained"),
    (TRAIN, "return 0.5, 3", "Mine.train gives tuple"),
    (TRAIN, "return Trained(np.zeros(99), 0)", "an array of float64, 99; the contract asks for losses of shape (1,)"),
    (TRAIN, "return Trained('a', 0)", "Mine.train gives 'a'; the contract asks for losses of shape (1,)"),
    (TRAIN, "return Trained(np.zeros(len(lrs)), 'a')", "'a'; the contract asks for a number of correct images"),
    (TRAIN, "return Trained(np.zeros(len(lrs)), 10**6)", "1000000; the contract asks for a number of correct images"),
    (PREDICT, "return None", "Mine.predict gives NoneType; the contract asks for a NumPy array of floats, 8 x 10"),
    (PREDICT, "return np.zeros((8, 3))", "gives an array of float64, 8 x 3; the contract asks for"),
    (PREDICT, "return np.zeros((7, 10))", "gives an array of float64, 7 x 10; the contract asks for"),
    (PREDICT, "return np.zeros((8, 10), int)", "gives an array of int64, 8 x 10; the contract asks for"),
    (MEMORY, "return 5", "Mine.peak_memory gives 5; the contract asks for bytes by name"),
]


@pytest.fixture(autouse=True)
def state_after_the_first_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """`get_weights` is called for a state; without this, epochs of milliseconds would keep none."""
    monkeypatch.setattr(kept_states, "PRICE", float("inf"))


def row(tmp_path: Path, source: str) -> tuple[str, str]:
    """The status and reason of the adapter in a file."""
    file = tmp_path / "mine.py"
    file.write_text(source)
    arguments = ["--net", "mlp", "--fw", "mine", "--adapter", f"{file}:Mine", "--out", str(tmp_path / "out"), "-q"]
    assert exit_code_of(command)([*arguments, *SMALL]) == ExitCode.FAILED
    (folder,) = (tmp_path / "out").iterdir()
    table = pd.read_csv(folder / "report.csv").iloc[0]
    return str(table["status"]), str(table["reason"])


@pytest.mark.parametrize("method", RAISING)
@pytest.mark.parametrize("action", ["1 / 0", "raise SystemExit(3)"])
def test_an_error_names_the_line_of_the_adapter(method: str, action: str, tmp_path: Path) -> None:
    status, reason = row(tmp_path, FILE.format(method=method, action=action))
    error = "ZeroDivisionError: division by zero" if action == "1 / 0" else "SystemExit: 3"
    line = 7 + method.count("\n")
    assert (status, reason) == ("failed", f"{error} ({tmp_path / 'mine.py'}, line {line})")


@pytest.mark.parametrize(("method", "action", "words"), WRONG, ids=lambda value: value[:50])
def test_a_wrong_result_names_the_method_of_the_adapter(method: str, action: str, words: str, tmp_path: Path) -> None:
    status, reason = row(tmp_path, FILE.format(method=method, action=action))
    assert status == "failed" and words in reason
    assert reason.endswith(f"({tmp_path / 'mine.py'}, line 6)")


def test_an_abstract_adapter_names_the_missing_methods(tmp_path: Path) -> None:
    source = "from frameworks.adapter import Adapter\nclass Mine(Adapter):\n    @staticmethod\n    def versions():\n"
    status, reason = row(tmp_path, f"{source}        return {{'mine': '1'}}\n")
    assert status == "failed" and reason.endswith(f"({tmp_path / 'mine.py'})")
    assert "abstract" in reason and "predict" in reason

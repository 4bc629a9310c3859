"""A silent command says what it is doing; a quiet one does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cli.heartbeat import SWITCH

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys, time
from benchmarks.cli import heartbeat
from benchmarks.cli.command import announce
from benchmarks.cli.streams import tell
heartbeat.FIRST, heartbeat.EVERY = 0.05, 0.1
{body}
"""


def lines_of(body: str, **variables: str) -> list[str]:
    program = PROGRAM.format(body=body)
    environment = {name: value for name, value in os.environ.items() if name != SWITCH} | variables
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, env=environment
    )
    assert not done.stdout
    return done.stderr.splitlines()


def test_a_silent_command_says_what_it_is_doing() -> None:
    body = """
with heartbeat.heartbeat("onespec run is starting.", quiet=False):
    time.sleep(0.5)
    announce("Training lenet in all frameworks.", quiet=False)
    time.sleep(0.5)
    tell("lenet.torch.0: epoch 1")
    time.sleep(0.5)
time.sleep(0.5)
"""
    lines = lines_of(body)
    order = list(dict.fromkeys(lines))
    assert order == ["onespec run is starting.", "Training lenet in all frameworks.", "lenet.torch.0: epoch 1"]
    assert lines.count("lenet.torch.0: epoch 1") > 1, "repeated while nothing else is printed"


@pytest.mark.parametrize("end", ["", "raise SystemExit"])
def test_a_quiet_command_and_a_finished_command_say_nothing(end: str) -> None:
    body = f"""
with heartbeat.heartbeat("x is starting.", quiet=True):
    time.sleep(0.3)
try:
    with heartbeat.heartbeat("x is starting.", quiet=False):
        {end or "pass"}
except SystemExit:
    pass
time.sleep(0.3)
"""
    assert lines_of(body) == []


@pytest.mark.parametrize("activity, variables", [("", {}), ("x is starting.", {SWITCH: "0"})])
def test_a_command_without_an_activity_and_a_switched_off_heartbeat_say_nothing(
    activity: str, variables: dict[str, str]
) -> None:
    body = f"""
with heartbeat.heartbeat({activity!r}, quiet=False):
    time.sleep(0.3)
"""
    assert lines_of(body, **variables) == []


def test_nothing_is_printed_between_live_bars() -> None:
    body = """
from benchmarks.cli.progress import ProgressDisplay
from rich.console import Console
import io
display = ProgressDisplay(console=Console(file=io.StringIO(), force_terminal=True))
with heartbeat.heartbeat("x is starting.", quiet=False):
    with display.start_cells(["a"], 3, [0]):
        time.sleep(0.3)
    heartbeat.CURRENT.doing("afterwards")
    time.sleep(0.3)
"""
    assert set(lines_of(body)) == {"afterwards"}


def test_a_closed_stream_does_not_end_the_command() -> None:
    body = """
import os
os.close(2)
with heartbeat.heartbeat("x is starting.", quiet=False):
    time.sleep(0.3)
"""
    assert lines_of(body) == []

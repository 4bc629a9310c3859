"""Seeded generators of damaged records and of users' files: every command ends with one line, or with a result.

`ONESPEC_FUZZ_CASES` sets the number of cases of each generator. No worker starts: every framework is unavailable.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from benchmarks.cli.exit_codes import ExitCode
from benchmarks.cli.group import onespec
from benchmarks.records.certificates import write
from benchmarks.records.store import RunFolder
from benchmarks.runtime import environments
from benchmarks.training import checkpoints
from benchmarks.training.plan import TrainingRequest
from benchmarks.training.shards import planned
from frameworks import arrays
from frameworks.errors import Unavailable
from frameworks.networks import NETWORKS
from tests import records
from tests.unit.test_damaged_files import CERTIFICATE, write_run
from tests.unit.test_shards import shard as write_shard

CASES = int(os.environ.get("ONESPEC_FUZZ_CASES", "200"))

# --- records ----------------------------------------------------------------------------------------------------------

VALUES = (
    None, True, 0, -1, 3, 10**30, -(10**30), 1.5, 1e308, "", "x", "../../x", "\x1b[31m\n", "é" * 300, "a" * 5000, [],
    {}, [[]], [None], {"a": 1}, "torch", "lenet", 1.7976931348623157e308, "9" * 400, [1, "a", None],
)  # fmt: skip
# The command, and the file that is damaged; {} stands for the folder.
TARGETS = (
    ("report {}/run", "run/run.json"),
    ("report {}/run", "run/cells.jsonl"),
    ("report {}/speed", "speed/run.json"),
    ("report {}/certificate", "certificate/certificate.json"),
    ("compare {}/run {}/run", "run/run.json"),
    ("compare {}/run {}/run", "run/cells.jsonl"),
    ("compare {}/speed {}/speed", "speed/run.json"),
    ("run --resume {}/run", "run/run.json"),
    ("run --resume {}/run", "run/cells.jsonl"),
    ("run --resume {}/run --epochs 12", "run/run.json"),
    ("run --plan {}/plan.json", "plan.json"),
    ("run --plan {}/plan.json --shard 2/2", "plan.json"),
    ("run --resume {}/shard", "shard/run.json"),
    ("run --resume {}/shard", "shard/plan.json"),
    ("merge {}/shard -o {}/merged", "shard/run.json"),
    ("merge {}/shard -o {}/merged", "shard/plan.json"),
    ("merge {}/shard -o {}/merged", "shard/cells.jsonl"),
    ("report {}/whole", "whole/run.json"),
    ("reproduce --resume {}/run", "run/run.json"),
    ("reproduce --write {}", "run/run.json"),
    ("verify --read {}/certificate", "certificate/certificate.json"),
    ("verify --net mlp --fw torch --out {}/certificate --resume", "certificate/certificate.json"),
    ("predict --weights {}/weights.npz --out {}/predictions", "weights.npz"),
    ("import-weights {}/weights.npz --net mlp --pixels unit --out {}/new.npz", "weights.npz"),
    ("compare {}/run/report.csv {}/run/report.csv", "run/report.csv"),
)


@pytest.fixture(autouse=True)
def _without_frameworks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(*arguments: object) -> Path:
        raise Unavailable("no environment in this test")

    monkeypatch.setattr(environments, "satisfied", lambda requirement: False)
    monkeypatch.setattr(environments, "_cached", unavailable)
    monkeypatch.setenv("ONESPEC_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Valid records of every kind."""
    folder = tmp_path_factory.mktemp("valid")
    for name in ("run", "speed", "certificate"):
        (folder / name).mkdir()
    write_run(RunFolder(folder / "run"))
    job = msgspec.structs.replace(records.speed_job(), baseline=True)
    RunFolder(folder / "speed").write_info(records.speed_run([job]))
    write(CERTIFICATE, folder / "certificate")
    plan = planned(TrainingRequest(("lenet", "mlp"), "torch,mxnet", quick=True, threads=1, device="cpu"), print)
    (folder / "plan.json").write_text(plan.text)
    write_shard(folder / "shard", plan, 1, 1)
    assert CliRunner().invoke(onespec, ["merge", str(folder / "shard"), "-o", str(folder / "whole")]).exit_code == 0
    net = NETWORKS["mlp"]()
    checkpoints.save(folder / "weights.npz", net, arrays.initial(net, 0), {"dataset": "fashion-mnist-mini"})
    assert CliRunner().invoke(onespec, ["report", str(folder / "run")]).exit_code == 0  # writes report.csv
    return folder


def places(record: Any, place: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Where the values of a JSON document are."""
    items = record.items() if isinstance(record, dict) else enumerate(record) if isinstance(record, list) else ()
    return [place, *(inner for key, value in items for inner in places(value, (*place, key)))]


def changed_value(stream: random.Random, record: Any) -> Any:
    """A JSON document in which a value is replaced, removed or repeated."""
    place = stream.choice(places(record)[1:] or [()])
    if not place:
        return stream.choice(VALUES)
    inside = record
    for key in place[:-1]:
        inside = inside[key]
    action = stream.choice(("replace", "replace", "replace", "remove", "repeat"))
    if action == "remove":
        del inside[place[-1]]
    elif action == "repeat" and isinstance(inside, list):
        inside.append(inside[place[-1]])
    else:
        inside[place[-1]] = stream.choice(VALUES)
    return record


def changed_bytes(stream: random.Random, content: bytes) -> bytes:
    """A file that is cut off, overwritten, or has other bytes in it."""
    start = stream.randrange(len(content) + 1)
    noise = stream.randbytes(stream.choice((1, 4, 200)))
    return stream.choice(
        (content[:start], content[:start] + noise, content[:start] + noise + content[start + len(noise) :], noise)
    )


def damaged(stream: random.Random, name: str, content: bytes) -> bytes:
    """The content of a record after one change."""
    if stream.random() < 0.25 or not name.endswith((".json", ".jsonl")):
        return changed_bytes(stream, content)
    if name.endswith(".json"):
        return json.dumps(changed_value(stream, json.loads(content))).encode()
    lines = content.splitlines()
    number = stream.randrange(len(lines))
    lines[number] = json.dumps(changed_value(stream, json.loads(lines[number]))).encode()
    return b"\n".join(lines) + b"\n"


def check(arguments: list[str], named: Callable[[str], bool]) -> None:
    """Call a command: its exit code is documented, there is no traceback, and a refusal is a line with its cause."""
    result = CliRunner().invoke(onespec, arguments, prog_name="onespec")
    shown = f"{arguments}\n{result.output}\n{result.exception!r}"
    assert result.exception is None or isinstance(result.exception, SystemExit), shown
    assert result.exit_code in set(ExitCode) - {ExitCode.STORAGE_FAILED, ExitCode.STOPPED}, shown
    assert "Traceback" not in result.output, shown
    if result.exit_code == ExitCode.BAD_INPUT:
        last = result.stderr.splitlines()[-1]
        assert named(result.stderr) and last.isprintable() and len(last) < 2000, shown
        assert not result.stdout, shown


@pytest.mark.parametrize("number", range(CASES))
def test_a_changed_record_is_read_or_refused(number: int, valid: Path, tmp_path: Path) -> None:
    stream = random.Random(number)
    line, name = stream.choice(TARGETS)
    folder = tmp_path / "records"
    shutil.copytree(valid, folder)
    (folder / name).write_bytes(damaged(stream, name, (folder / name).read_bytes()))
    arguments = [word.replace("{}", str(folder)) for word in line.split()]
    check(arguments, lambda error: str(folder) in error.replace("\n", "") or "--net" in error)


# --- users' files -----------------------------------------------------------------------------------------------------

NUMBERS = (
    "0",
    "-1",
    "1",
    "2",
    "3",
    "5",
    "10**9",
    "10**15",
    "1.5",
    "None",
    "'3'",
    "True",
    "float('nan')",
    "[]",
    "(3, 3)",
)
LAYERS = (
    "Conv({name}, {0}, {1}, {2}, {3})", "MaxPool({name}, {0}, {1}, {2})", "AvgPool({name}, {0}, {1}, {2})", "Flatten()",
    "Dense({name}, {0})", "BatchNorm({name}, eps={0}, momentum={1})", "Dropout(rate={0})", "ReLU()", "GlobalAvgPool()",
    "LocalResponseNorm({name}, {0}, k={1})", "Resize({name}, {0}, {1})", "Select({name}, ({0}, {1}))",
    "Scale(factor={0})",
    "Concat({name}, [[ReLU()], [Conv({name}, {0}, 1)]])", "Residual({name}, [Conv({name}, {0}, {1})])",
    "Normalize(mean=({0},), std=({1},))", "Auxiliary({name}, [Flatten(), Dense({name}, {0})], {1})", "{0}", "ReLU",
)  # fmt: skip
NAMES = ("'a'", "'b'", "'c'", "'a'", "''", "5", "None", "'../x'", "'n' * 200", "'\\n'")
ACTIONS = (
    "pass", "pass", "pass", "pass", "1 / 0", "raise SystemExit(3)", "import sys; sys.exit('enough')", "import nothing_",
    "[0] * 10**18", "import os; os._exit(0)", "import os; os.abort()", "print('hello')",
    "raise BaseException('all')", "raise ValueError('two\\nlines')", "assert False", "open('/no/such/file')",
    "import warnings; warnings.warn('careful')", "f = lambda: f()\n    f()", "return 5", "return None", "(", "yield 1",
    "raise type('Odd', (Exception,), {'__str__': lambda self: 1 / 0})", "del Network",
    "import os; os.kill(os.getpid(), 9)",
)  # fmt: skip
FILE = """
from frameworks.spec import *
{at_import}
def net({arguments}):
    {action}
    return Network({name}, {input}, [{layers}])
"""


def file_of(stream: random.Random) -> str:
    """A network file with one action, and layers with arguments that may be impossible."""
    rows = []
    for _ in range(stream.randrange(5)):
        numbers = [stream.choice(NUMBERS) for _ in range(4)]
        rows.append(stream.choice(LAYERS).format(*numbers, name=stream.choice(NAMES)))
    action = stream.choice(ACTIONS)
    importing = stream.random() < 0.3 and "return" not in action and "\n" not in action
    return FILE.format(
        at_import=action if importing else "",
        arguments=stream.choice(("", "", "", "classes=10", "width", "*rest", "classes=None")),
        action="pass" if importing else action,
        name=stream.choice(("'tiny'", "'tiny'", "'../evil'", "''", "5", "'=1+2'", "'n' * 300")),
        input=stream.choice(("(1, 8, 8)", "(1, 8, 8)", "(3, 4)", "()", "(0, 8, 8)", "'abc'", "8", "(1, 10**9, 10**9)")),
        layers=", ".join([*rows, *stream.choice(((), ("Flatten()", "Dense('end', 10)")))]),
    )


COMMANDS = ("summary --net {}", "summary --net {} --json", "summary --net {} --classes 7", "run --net {} --quick",
            "verify --net {}", "speed --net {}", "summary --net {} --input 3,16,16")  # fmt: skip


@pytest.mark.parametrize("number", range(CASES))
def test_a_users_file_is_used_or_refused(number: int, tmp_path: Path) -> None:
    stream = random.Random(number)
    file = tmp_path / "net.py"
    file.write_text(file_of(stream))
    arguments = stream.choice(COMMANDS).replace("{}", f"{file}:net").split()
    # A refusal names the file, or the network and the layer in it.
    check(arguments, lambda error: "net.py" in error or "tiny" in error or "--classes" in error or "--net" in error)

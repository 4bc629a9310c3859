"""Names of networks are not paths, and texts in CSV files are not formulas."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pytest

from benchmarks.records.csv_cells import csv_text, neutral, original
from benchmarks.records.store import RunFolder, file_name
from benchmarks.reporting import prediction_report, run_report, speed_report
from benchmarks.reproduce import command as reproduce
from benchmarks.run import command as run
from benchmarks.runtime.errors import BadInput
from benchmarks.runtime.networks import network
from benchmarks.speed import command as speed
from benchmarks.timing.samples import read
from benchmarks.training import checkpoints
from benchmarks.training.prediction import ImageSet
from benchmarks.training.progress import Progress
from benchmarks.verify import command as verify
from frameworks import arrays
from frameworks.networks import NETWORKS
from frameworks.spec import Dense, Flatten, Network
from tests import records
from tests.command_line import exit_code_of

NETWORK = """
from frameworks.spec import Dense, Flatten, Network
def net():
    return Network({name!r}, (1, 28, 28), [Flatten(), Dense("fc", 10)])
"""
WRONG = ["../../../evil", "/", "/tmp/evil", "a/b", "", ".", "..", ".hidden", "x" * 300, "a\nb", "a\0b", "\x1b[2J",
         "a b", "=1+2", "-x", "@x", "a:b", 7, None, ["a"], b"a"]  # fmt: skip
FORMULAS = ["=1+2", "+cmd|' /C calc'!A0", "-2+3+cmd", "@SUM(1)", "\t=1", "\r=1", "'=1", "''+x"]
PLAIN = ["lenet", "", "1=2", "'quoted'", "'", "-1.5", "+3", "-inf", "1e-5", "naïve"]


@pytest.mark.parametrize("name", WRONG, ids=repr)
def test_a_name_that_is_not_a_name_is_refused_when_the_network_is_loaded(
    name: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my.py").write_text(NETWORK.format(name=name))
    arguments = ["--net", f"{tmp_path}/my.py:net", "--quick", "--fw", "torch", "--out", str(tmp_path / "a" / "out")]
    assert exit_code_of(run)(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"--net {tmp_path}/my.py:net: its network has the name ") and error.count("\n") == 1
    assert len(error) < 400 + len(str(tmp_path)) and error[:-1].isprintable()
    assert sorted(path.name for path in tmp_path.iterdir()) in (["__pycache__", "my.py"], ["my.py"])


@pytest.mark.parametrize("name", [*NETWORKS, "LeNet-5", "net_2.0+bn", "7", "réseau", "x" * 64])
def test_a_name_is_accepted(name: str, tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(NETWORK.format(name=name))
    assert network(f"{tmp_path}/my.py:net").name == name


def test_a_checkpoint_cannot_bring_such_a_name(tmp_path: Path) -> None:
    net = Network("../evil", (1, 2, 2), [Flatten(), Dense("fc", 2)])
    checkpoints.save(tmp_path / "weights.npz", net, arrays.initial(net, 0), {})
    with pytest.raises(BadInput, match="its network has the name"):
        checkpoints.load(tmp_path / "weights.npz")


NETWORKS_OF_ONE_NAME = """
from frameworks.spec import Dense, Flatten, Network
def tiny(units=10, name="tiny"):
    return Network(name, (1, 28, 28), [Flatten(), Dense("fc", units)])
def same():
    return tiny()
def wide():
    return tiny(12)
def lenet():
    return tiny(name="lenet")
"""
REPEATED = {
    "--net {file}:tiny,{file}:wide": "{file}:tiny and {file}:wide have the name tiny; rename one",
    "--net {file}:tiny,{file}:same": "{file}:tiny and {file}:same are the same network",
    "--net lenet,{file}:lenet": "lenet and {file}:lenet have the name lenet; rename one",
    "--net {file}:lenet,mlp,lenet": "{file}:lenet and lenet have the name lenet; rename one",
    "--net mlp,cnn,mlp": "mlp is listed twice",
    "--seed 0,0,0": "0 is listed twice",
    "--seed 0-4,2": "2 is listed twice",
    "--fw torch,mxnet,torch": "torch is listed twice",
}
SPEED_ALONE = {
    "--threads 1,1": "1 is listed twice",
    "--batch-size 8,16,8": "8 is listed twice",
    "--what train,train": "train is listed twice",
    "--precision float32,float32": "float32 is listed twice",
}
LISTS = [
    *((run, f"--quick --out {{out}} {options}", error) for options, error in REPEATED.items()),
    *((verify, f"--out {{out}} {options}", error) for options, error in REPEATED.items()),
    *((speed, f"--out {{out}} {options}", error) for options, error in REPEATED.items() if "--seed" not in options),
    *((speed, f"--out {{out}} {options}", error) for options, error in SPEED_ALONE.items()),
    (reproduce, "--recipe d2l-lenet --out {out} --seed 0,0,0", "0 is listed twice"),
    (reproduce, "--recipe d2l-lenet --out {out} --fw torch,torch", "torch is listed twice"),
]


@pytest.mark.parametrize(
    ("command", "options", "error"), LISTS, ids=lambda value: str(getattr(value, "name", value)).replace("{out}", "out")
)
def test_two_rows_that_would_be_one_are_refused_before_the_start(
    command: click.Command, options: str, error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my.py").write_text(NETWORKS_OF_ONE_NAME)
    names = {"file": tmp_path / "my.py", "out": tmp_path / "out"}
    assert exit_code_of(command)(options.format(**names).split()) == 2
    captured = capsys.readouterr().err
    assert captured.splitlines()[-1].endswith(error.format(**names)), captured
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["lenet.torch.0", "lenet.torch:compile==2.12.1+cpu.0"])
def test_a_cell_names_its_file(name: str) -> None:
    assert file_name(name) == name


@pytest.mark.parametrize("name", ["../../evil", "/", "..", ".", "a/b", "a_b/", "x" * 300, "a\nb", "a\0b"])
def test_any_name_becomes_a_safe_name_of_a_file(name: str) -> None:
    safe = file_name(name)
    assert Path(safe).name == safe and not safe.startswith(".") and safe.isprintable() and len(safe) <= 120
    assert file_name(name) != file_name(f"{name}_")


@pytest.mark.parametrize("text", FORMULAS, ids=repr)
def test_a_formula_is_neutralized_and_restored(text: str) -> None:
    assert neutral(text) == f"'{text}" and original(neutral(text)) == text


@pytest.mark.parametrize("value", [*PLAIN, 1, -2.5, None], ids=repr)
def test_other_cells_stay(value: object) -> None:
    assert neutral(value) == value and original(neutral(value)) == value


def test_numbers_are_written_as_before() -> None:
    table = pd.DataFrame({"a": [1, None], "b": [-0.1, 2e-9], "c": ["x", "=1"], "d": [3, 4]}, dtype=object)
    assert csv_text(table, index=False) == table.to_csv(index=False).replace("=1", "'=1")


def test_a_report_has_no_formula_and_is_read_back(tmp_path: Path) -> None:
    cell = "=1+2.torch.0"
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.write_info(records.training_run([records.training_job(net="=1+2")]))
    for event in (records.start(cell), records.epoch(cell, 1), records.end(cell, "failed", "@reason")):
        folder.record(event, durable=False)
    run_report.write(folder)
    for name in ("report.csv", "curves.csv"):
        text = (folder.path / name).read_text()
        texts = [value for row in csv.reader(io.StringIO(text)) for value in row]
        assert not [value for value in texts if value[:1] in tuple("=+-@\t\r") and neutral(value) != value]
        assert "'=1+2" in texts
    (tmp_path / "report.csv").write_text((folder.path / "report.csv").read_text())
    (series,) = read(tmp_path / "report.csv").series
    assert (series.key.net, series.reason) == ("=1+2", "@reason")


# PEP 383: a byte of a file name that is not UTF-8.
NOT_UTF8 = "caf\udce9"


def reported(folder: RunFolder, kind: str) -> pd.DataFrame:
    """The table of a run whose network and reason are NOT_UTF8; its files are written."""
    folder.path.mkdir()
    if kind == "speed":
        job = records.speed_job(net=NOT_UTF8, baseline=True)
        folder.write_info(records.speed_run([job]))
        folder.record(records.end(job.cell, "failed", NOT_UTF8), durable=False)
        return speed_report.write(folder)
    trained = records.training_job(net=NOT_UTF8)
    folder.write_info(records.training_run([trained], command=["run", NOT_UTF8]))
    end = records.end(trained.cell, "failed", NOT_UTF8)
    for event in (records.start(trained.cell), records.epoch(trained.cell, 1), end):
        folder.record(event, durable=False)
    return run_report.write(folder)


@pytest.mark.parametrize("kind", ["train", "speed"])
def test_reports_take_text_that_is_not_utf8(tmp_path: Path, kind: str) -> None:
    """Arrow, where pandas uses it, refuses such text; so do files and pandas' JSON."""
    folder = RunFolder(tmp_path / "run")
    cells = reported(folder, kind)
    texts = [text for table in (cells, cells.T) for text in table.to_numpy().ravel() if isinstance(text, str)]
    assert r"caf\udce9" in texts
    for text in texts:
        text.encode()
    assert r"caf\\udce9" in cells.to_json(orient="records")
    report = run_report if kind == "train" else speed_report
    assert report.frame(folder)["reason"].tolist() == [r"caf\udce9"]
    for name in ("report.csv", "report.md"):
        assert r"caf\udce9" in (folder.path / name).read_text(encoding="utf-8")
    if kind == "train":
        assert r"caf\udce9" in run_report.text(folder, cells, 80)
        assert r"caf\udce9" in (folder.path / "curves.csv").read_text(encoding="utf-8")
        assert r"caf\udce9" in (folder.path / "report.html").read_text(encoding="utf-8")
    (tmp_path / "report.csv").write_text((folder.path / "report.csv").read_text(encoding="utf-8"), encoding="utf-8")
    (series,) = read(tmp_path / "report.csv").series
    assert (series.key.net, series.reason) == (r"caf\udce9", r"caf\udce9")


def test_predictions_take_names_that_are_not_utf8(tmp_path: Path) -> None:
    images = ImageSet(np.zeros((1, 1, 2, 2), np.uint8), (NOT_UTF8,), np.array([0]), (NOT_UTF8, "b"))
    logits = {"torch": np.array([[0.0, 1.0]])}
    prediction_report.write(images, logits, tmp_path, grid_size=1, wrong_only=False, progress=Progress())
    text = (tmp_path / "predictions.csv").read_text(encoding="utf-8")
    assert text.startswith("image,label,torch,torch_probability\n" + r"caf\udce9,caf\udce9,b,")
    assert (tmp_path / "confusion.csv").read_text(
        encoding="utf-8"
    ) == "class," + r"caf\udce9,b" + "\n" + r"caf\udce9,0,1" + "\nb,0,0\n"
    assert (tmp_path / "grid.png").exists()


def test_predictions_have_no_formula(tmp_path: Path) -> None:
    images = ImageSet(np.zeros((1, 1, 2, 2), np.uint8), ("=image.png",), np.array([0]), ("=a", "=a"))
    logits = {"torch": np.array([[1.0, 0.0]])}
    prediction_report.write(images, logits, tmp_path, grid_size=1, wrong_only=True, progress=Progress())
    assert (
        (tmp_path / "predictions.csv").read_text().startswith("image,label,torch,torch_probability\n'=image.png,'=a,")
    )
    assert (tmp_path / "confusion.csv").read_text().startswith("class,'=a,'=a\n'=a,1,0\n")

"""The documents: every link leads to a file, and every column, command and public name is documented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import api
from benchmarks.cli.commands import COMMANDS
from benchmarks.reporting import run_report, speed_report
from tests.faults import FAULTS

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "results" / "README.md"])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_to_files(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text)
    assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("column", sorted({*run_report.COLUMNS, *speed_report.COLUMNS}))
def test_every_column_of_a_report_is_documented(column: str) -> None:
    documented = (ROOT / "docs" / "reference" / "records.md").read_text(encoding="utf-8")
    assert f"`{re.sub('_(low|high)$', '', column)}`" in documented


def test_every_public_name_is_documented() -> None:
    documented = (ROOT / "docs" / "reference" / "python-api.md").read_text(encoding="utf-8")
    assert [name for name in api.__all__ if not re.search(rf"\b{name}\b", documented)] == []


def test_the_figures_of_readme_are_those_of_the_repository() -> None:
    """The four figures in the text; the tables are generated."""
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    false_alarms = (ROOT / "results" / "false_alarms.md").read_text(encoding="utf-8")
    assert f"cover all {len(api.NETWORKS)} networks" in readme
    assert f"insert {len(FAULTS)} faults" in readme
    assert f"the {api.DATASETS['fashion-mnist'].counts[0]:,} training images of Fashion-MNIST" in readme
    assert "200 verifications" in readme and "--count 200" in false_alarms


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_in_a_document_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if path.name == "CHANGELOG.md":  # it also names commands of earlier versions
        text = re.sub(r"\| before \| now \|.*?\n\n", "", text, flags=re.DOTALL)
    code = "\n".join(part.strip("`") for part in re.findall(r"```.*?```|`[^`]+`", text, flags=re.DOTALL))
    modules = set(re.findall(r"python -m ((?:benchmarks|research)(?:\.[a-z]\w*)+)", code))
    commands = set(re.findall(r"^(?:\w+: )?onespec ([a-z][\w-]*)", code, flags=re.MULTILINE))
    files = {module: ROOT / (module.replace(".", "/") + ".py") for module in modules}
    assert [module for module, file in files.items() if not file.exists()] == []
    assert commands - set(COMMANDS) == set()

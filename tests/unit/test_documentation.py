"""The documents: every link leads to a place, and every column, command and public name is documented."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import click
import msgspec
import pytest

from benchmarks import api
from benchmarks.cli.command import RENAMED
from benchmarks.cli.commands import COMMANDS
from benchmarks.records import certificates, events, plans, runs
from benchmarks.records.certificates import read
from benchmarks.reporting import run_report, speed_report
from benchmarks.reporting.certificate_pages import of_networks
from benchmarks.runtime.machine import Machine
from tests.faults import CHECK_FAULTS, FAULTS

ROOT = Path(__file__).parents[2]
STRICT = ("torch", "mxnet", "keras")  # of which the text says how many networks are certified in float64
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "results" / "README.md"])
RESULTS = sorted((ROOT / "results").rglob("*.md"))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_to_files_and_headings(path: Path) -> None:
    links = re.findall(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)", _without_code(path))
    targets = [(path.parent / file if file else path, anchor) for file, anchor in links]
    assert [file for file, _ in targets if not file.exists()] == []
    assert [(file.name, anchor) for file, anchor in targets if anchor and anchor not in _anchors(file)] == []


def _without_code(path: Path) -> str:
    return re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)


def _anchors(path: Path) -> set[str]:
    """By GitHub's rule: lower case without punctuation, hyphens for spaces, and a number if a heading occurs again."""
    headings = re.findall(r"^#+ (.+?) *$", _without_code(path), flags=re.MULTILINE)
    slugs = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    numbers = [slugs[:index].count(slug) for index, slug in enumerate(slugs)]
    return {f"{slug}-{number}" if number else slug for slug, number in zip(slugs, numbers)}


@pytest.mark.parametrize("column", sorted({*run_report.COLUMNS, *speed_report.COLUMNS}))
def test_every_column_of_a_report_is_documented(column: str) -> None:
    documented = (ROOT / "docs" / "reference" / "records.md").read_text(encoding="utf-8")
    assert f"`{re.sub('_(low|high)$', '', column)}`" in documented


@pytest.mark.parametrize(
    ("title", "module"),
    [("run.json", runs), ("plan.json", plans), ("cells.jsonl", events), ("certificate.json", certificates)],
)
def test_every_field_of_a_record_is_documented(title: str, module: ModuleType) -> None:
    page = (ROOT / "docs" / "reference" / "records.md").read_text(encoding="utf-8")
    section = page.split(f"## `{title}`")[1].split("\n## ")[0]
    structs = [each for each in vars(module).values() if isinstance(each, type) and issubclass(each, msgspec.Struct)]
    if module is plans:  # the request and the jobs are those of run.json
        structs = [each for each in structs if each.__module__ == plans.__name__]
    fields = {field.encode_name for struct in structs for field in msgspec.structs.fields(struct)}
    documented = set(re.findall(r"`(\w+)`", section))
    if module is certificates:  # the fields of a machine are those of run.json
        fields -= set(Machine.__struct_fields__)
    assert fields - documented == set()


def test_every_public_name_is_documented() -> None:
    documented = (ROOT / "docs" / "reference" / "python-api.md").read_text(encoding="utf-8")
    assert [name for name in api.__all__ if not re.search(rf"\b{name}\b", documented)] == []


def test_the_figures_of_readme_are_those_of_the_repository() -> None:
    """The four figures in the text; the tables are generated."""
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    false_alarms = (ROOT / "results" / "false_alarms.md").read_text(encoding="utf-8")
    findings = [each for each in of_networks(read(ROOT / "results" / "certificate").findings) if each.certified]
    strict = [
        {each.net for each in findings if (each.framework, each.precision) == (name, "float64")} for name in STRICT
    ]
    assert f"cover {len(set.intersection(*strict))} of the {len(api.NETWORKS)} networks" in readme
    assert f"insert {len(FAULTS) + len(CHECK_FAULTS)} faults" in readme
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


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_that_a_result_names_exists(path: Path) -> None:
    """Under its present name, which results/README.md has for modules of earlier versions."""
    names = (ROOT / "results" / "README.md").read_text(encoding="utf-8")
    present = dict(re.findall(r"`([\w.]+)` is now\s+`([\w.]+)`", names))
    modules = set(re.findall(r"python -m ([\w.]+)", path.read_text(encoding="utf-8")))
    files = {module: ROOT / (present.get(module, module).replace(".", "/") + ".py") for module in modules}
    assert [module for module, file in files.items() if not file.exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_option_of_a_command_in_a_document_exists(path: Path) -> None:
    text = re.sub(r"\| before \| now \|.*?\n\n", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    parts = re.findall(r"```.*?```|`[^`]+`", text, flags=re.DOTALL)
    code = "\n".join(part if part.startswith("```") else " ".join(part.strip("`").split()) for part in parts)
    modules = {entry.module: name for name, entry in reversed(COMMANDS.items())}
    for program, name, arguments in re.findall(r"\b(onespec |python -m benchmarks\.)([a-z][\w-]*)([^\n#]*)", code):
        name = name if program == "onespec " else modules.get(name, "")
        if name in COMMANDS:
            options = set(re.findall(r"(?<!\S)--[a-z][\w-]*", arguments.split("&&")[0].split("|")[0]))
            assert options <= _options(name), f"onespec {name}{arguments}"


def _options(name: str) -> set[str]:
    """The options of a command and of its sub-commands."""
    entry = COMMANDS[name]
    command = getattr(importlib.import_module(f"benchmarks.{entry.module}"), entry.attribute)
    commands = [command, *(command.commands.values() if isinstance(command, click.Group) else ())]
    return {option for each in commands for parameter in each.params for option in parameter.opts} | {"--help"}


def test_no_document_uses_a_renamed_option() -> None:
    """Except the pages that list the new names."""
    pages = [path for path in DOCUMENTS if path.name not in ("CHANGELOG.md", "cli.md")]
    used = [
        (path.name, old) for path in pages for old in RENAMED if re.search(rf"{old}(?![\w-])", path.read_text("utf-8"))
    ]
    assert used == []

"""README: its commands exist and its example network works. No file contains a path of a developer's machine."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TEXT_FILES = {".py", ".md", ".toml", ".json", ".jsonl", ".csv", ".j2", ".css"}


@pytest.mark.parametrize("module", sorted(set(re.findall(r"python -m (benchmarks[.\w]*)", README))))
def test_a_command_of_readme_exists(module: str) -> None:
    command = [sys.executable, "-m", module, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and module in done.stdout, done.stderr


def test_the_network_of_readme_works(tmp_path: Path) -> None:
    block = re.search(r"```python\n(from frameworks\.spec.*?)```", README, re.DOTALL)
    assert block
    (tmp_path / "my_net.py").write_text(block[1], encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.summary", "--net", f"{tmp_path / 'my_net.py'}:tiny"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "3,354" in done.stdout, done.stderr


def test_no_file_names_a_path_of_a_machine() -> None:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("no git checkout: nothing to list")
    paths = [ROOT / name for name in done.stdout.splitlines() if Path(name).suffix in TEXT_FILES]
    named = [path.name for path in paths if re.search(r"/(root|work|home/\w+)/", path.read_text(encoding="utf-8"))]
    assert named == []

"""The wheels that a machine without a network needs, in a folder to carry there.

    python -m research.wheels --fw keras@jax,keras@torch --have torch,jax --out wheels

The folder holds onespec, built from this checkout, and the frameworks with all that they depend on, except the packages
of --have, which the other machine has. The command prints how to install them there.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from benchmarks.cli import options
from benchmarks.cli.exit_codes import ExitCode
from benchmarks.cli.streams import show
from benchmarks.runtime.devices import Kind
from benchmarks.runtime.environments import parse_frameworks, requirements
from benchmarks.runtime.errors import BadInput
from frameworks.registry import FRAMEWORKS
from research import command

CHECKOUT = Path(__file__).parents[1]


def wanted(frameworks: str, device: Kind, have: Iterable[str]) -> list[str]:
    """The requirements of frameworks, each once, without the packages of `have`. Raises BadInput for two versions."""
    absent = set(map(canonicalize_name, have))
    chosen: dict[str, Requirement] = {}
    for asked in parse_frameworks(frameworks):
        for each in requirements(FRAMEWORKS[asked.name], asked.version, device):
            name = canonicalize_name(each.name)
            earlier = chosen.setdefault(name, each)
            if name not in absent and earlier.specifier != each.specifier:
                raise BadInput(f"--fw {frameworks}: {earlier} and {each}; make a folder for each")
    return [str(each) for name, each in chosen.items() if name not in absent]


def downloads(folder: Path, packages: Sequence[str], python: str | None) -> list[list[str]]:
    """The commands of pip that fill the folder. python: the version on the other machine; None: as here."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    own = [*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(CHECKOUT)]
    version = ["--python-version", python] if python else []
    options_ = ["--quiet", "--only-binary", ":all:", *version, "--dest", str(folder), "--find-links", str(folder)]
    return [own, [*pip, "download", *options_, "onespec", *packages]]


@command.research_command("research.wheels")
@options.frameworks
@options.option(
    "--have", default="", metavar="NAME,...", heading=options.WHERE, help="Packages that the other machine has: torch."
)
@options.option(
    "--python-version",
    metavar="X.Y",
    show_default="as here",
    heading=options.WHERE,
    help="Python of the other machine.",
)
@options.option(
    "--device",
    type=click.Choice(("cpu", "cuda")),
    default="cuda",
    heading=options.WHERE,
    help="Device of the other machine.",
)
@options.option(
    "--out", type=options.NEW_FOLDER, required=True, metavar="FOLDER", heading=options.RESULTS, help="The folder."
)
def main(frameworks: str, have: str, python_version: str | None, device: Kind, out: Path) -> ExitCode:
    """Collect the wheels that a machine without a network needs, in a folder to carry there."""
    present = [name.strip() for name in have.split(",") if name.strip()]
    packages = wanted(frameworks, device, present)
    out.mkdir(parents=True, exist_ok=True)
    for each in downloads(out.absolute(), packages, python_version):
        command.progress("building the wheel of onespec" if "wheel" in each else f"downloading {', '.join(packages)}")
        done = subprocess.run(each, cwd=CHECKOUT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["ERROR: it failed"]
            raise BadInput(f"--out {out}: pip: {reason[-1].removeprefix('ERROR: ')}")
    wheels = sorted(out.glob("*.whl"))
    size = sum(wheel.stat().st_size for wheel in wheels)
    install = "env/bin/python -m pip install --no-index --find-links"
    show(
        f"{len(wheels)} wheels, {size / 1e6:,.0f} MB, in {out}. On the other machine:\n\n"
        f"    python3 -m venv --system-site-packages env\n"
        f"    {install} {out.name} {' '.join(['onespec', *map(quoted, packages)])}\n"
        f"    env/bin/onespec run --net lenet --fw {frameworks} --device {device} "
        + " ".join(f"--python {each.name}=env/bin/python" for each in parse_frameworks(frameworks))
    )
    return ExitCode.OK


def quoted(requirement: str) -> str:
    return f"'{requirement}'"


if __name__ == "__main__":
    main(prog_name="python -m research.wheels")

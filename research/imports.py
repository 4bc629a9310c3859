"""Which networks of other libraries does `onespec port` import, and what does an import cost?

    python -m research.imports --out docs/imports.md

Every convolutional classifier of torchvision and keras.applications, and one or two of each convolutional family of
timm, are imported at their published size, in a process of their own; of keras.applications, all but NASNet, which is
no nest of joins. Arrays are counted on both sides. Then the original
and its spec compute the same images in float64, at a smaller size if the network takes more than `LARGEST`
multiply-adds and has a smaller size.

The result of every network is appended to --results at once; a command that is given again continues there.
"""

from __future__ import annotations

import contextlib
import csv
import json
import multiprocessing
import re
import resource
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pandas as pd

from benchmarks.cli import options
from benchmarks.cli.exit_codes import ExitCode
from benchmarks.porting import network_import
from benchmarks.porting.network_import import Comparison, Imported
from benchmarks.reporting.number_formats import count
from benchmarks.reporting.tables import markdown
from benchmarks.runtime import checkout
from benchmarks.runtime.environments import FrameworkRequest, environment
from benchmarks.runtime.errors import BadInput
from benchmarks.runtime.temporary_folders import TemporaryFolder
from frameworks.adapter import resident_peak
from frameworks.errors import OnespecError
from frameworks.spec import Shape
from research import command

LARGEST = 1.2e9  # multiply-adds of a network that is compared at its published size
SMALLER = (64, 96, 128, 160, 192, 224)  # sides at which a larger one is compared: the smallest that it accepts
# No arrays of the network: the counters of PyTorch's batch normalization, and constants of Keras' Normalization, which
# become arguments.
NO_ARRAYS = re.compile(r"(.*\.)?num_batches_tracked|normalization(_\d+)?/(mean|variance|count)")
COLUMNS = (
    *("library", "name", "version", "input", "values", "values_imported", "compared_at", "difference", "largest_logit"),
    *("import_seconds", "import_mib", "framework_seconds", "framework_mib", "compare_seconds", "compare_mib"),
    *("problem", "commit"),
)
HEAD = (
    *("library", "networks", "imported", "arrays equal", "logits equal", "largest difference"),
    *("seconds, median", "seconds, most", "MiB, most", "of these, the library"),
)
WRONG_HEAD = ("library", "network", "what is wrong")

# Of timm, whose list has more than 1000 names: small networks of every family without attention.
TIMM = """
resnet18 resnet18d resnet26t resnext50_32x4d seresnet18 ecaresnet26t resnetblur18 skresnet18 resnest14d res2net50_14w_8s
resnetv2_18 resnetv2_50x1_bit nf_resnet26 nfnet_l0 tresnet_m gernet_s repvgg_a0 mobileone_s0 regnetx_002 regnety_002
regnetz_c16 densenet121 rdnet_tiny dpn68 dla34 dla46x_c hrnet_w18_small vgg11_bn ese_vovnet19b_dw selecsls42
legacy_seresnet18 inception_v4 inception_resnet_v2 legacy_xception xception41 nasnetalarge pnasnet5large darknet53
cspresnet50 cs3darknet_focus_s hgnet_tiny hgnetv2_b0 efficientnet_lite0 efficientnet_es tf_efficientnet_b0 mixnet_s
tinynet_a mnasnet_small mobilenetv2_100 spnasnet_100 fbnetc_100 hardcorenas_a lcnet_050 mobilenetv3_large_100 fbnetv3_b
mobilenetv4_conv_small ghostnet_100 ghostnetv2_100 repghostnet_050 rexnet_100 repvit_m0_9 starnet_s1 fasternet_t0
convmixer_768_32 convnext_atto convnext_atto_rms convnextv2_atto inception_next_atto mambaout_femto poolformer_s12
""".split()
# How a program imports a library, how it lists the networks, as pairs of a name and a side, and the user's file that
# gives one. torchvision's wheel, which timm imports, is built for CUDA: beside another PyTorch its import stops unless
# these two operators, which no network calls, are declared.
_DECLARED = """
import torch
if not torch.version.cuda:
    declared = torch.library.Library("torchvision", "DEF")  # a declaration lasts as long as its object
    for operator in ("nms", "qnms"):
        declared.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""
_START = {
    "torchvision": f"{_DECLARED}import torchvision\n",
    "timm": f"{_DECLARED}import timm\n",
    "keras.applications": "import keras\n",
}
_LISTED = {
    "torchvision": """
import json
from torchvision import models
names = [n for n in models.list_models(module=models) if not n.startswith(("vit_", "swin_", "maxvit"))]
print(json.dumps([(n, models.get_model_weights(n).DEFAULT.transforms().crop_size[0]) for n in names]))
""",
    "timm": f"""
import json
print(json.dumps([(n, timm.get_pretrained_cfg(n).input_size[-1]) for n in {TIMM}]))
""",
    "keras.applications": """
import inspect, json
found = [n for n, each in vars(keras.applications).items() if inspect.isfunction(each) and "NASNet" not in n]
# MobileNetV3 takes images of any size; 224 is the published one.
print(json.dumps([(n, 224 if n.startswith("MobileNetV3") else 0) for n in sorted(found)]))
""",
}
_FILES = {
    "torchvision": """
def net(name):
    options = {"init_weights": False} if name.startswith(("googlenet", "inception")) else {}
    return torchvision.models.get_model(name, **options)
""",
    "timm": """
def net(name):
    return timm.create_model(name)
""",
    "keras.applications": """
def net(name, side=0):
    options = {"input_shape": (side, side, 3)} if side else {}
    return getattr(keras.applications, name)(weights=None, **options)
""",
}


@dataclass(frozen=True)
class Library:
    """A library of networks. framework: what imports it; environment: the extra that has the library."""

    name: str
    framework: str
    environment: str
    module: str  # the distribution whose version is the library's

    @property
    def file(self) -> str:
        """The name of the user's file, which is not that of the library: the file's folder is on Python's path."""
        return f"nets_of_{self.name.replace('.', '_')}.py"

    def python(self, pythons: Mapping[str, str]) -> Path:
        request = FrameworkRequest(self.environment)
        return environment(request, pythons, device="cpu", progress=command.progress).python

    def listed(self, python: Path) -> list[tuple[str, int]]:
        """The names of the networks, each with the side of its images, 0 where the model says it."""
        program = _START[self.name] + _LISTED[self.name]
        return [(name, side) for name, side in json.loads(output(python, program).splitlines()[-1])]

    def text(self, folder: Path, name: str, side: int, smaller: bool = False) -> tuple[str, Shape | None]:
        """What `imported` takes for a network. side: of its images, 0 where the model says it."""
        made_for = smaller and self.framework == network_import.KERAS
        call = f'net("{name}", side={side})' if made_for else f'net("{name}")'
        return f"{folder}/{self.file}:{call}", (3, side, side) if side and not made_for else None


LIBRARIES = (
    Library("torchvision", network_import.TORCH, "torchvision", "torchvision"),
    Library("keras.applications", network_import.KERAS, "keras", "keras"),
    Library("timm", network_import.TORCH, "timm", "timm"),
)


def output(python: Path, program: str) -> str:
    """What a program prints in a framework's interpreter. Raises BadInput."""
    done = subprocess.run([str(python), "-c", program], capture_output=True, text=True)
    if done.returncode:
        raise BadInput(f"{python}: {(done.stderr.strip().splitlines() or ['it ended'])[-1]}")
    return done.stdout


def peaks() -> tuple[float, float]:
    """Peak resident MiB of this process, and of the largest process that it started."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # KiB on Linux
    return resident_peak() / 2**20, children / 2**10


def import_of_library(python: Path, library: str) -> tuple[float, float]:
    """Seconds and peak MiB of a process that imports the library and does nothing else."""
    began = time.perf_counter()
    output(python, _START[library])
    return time.perf_counter() - began, peaks()[1]


def measured(library: Library, name: str, side: int, python: str, folder: Path) -> dict[str, Any]:
    """Import a network and compare it with its spec, in this process."""
    text, shape = library.text(folder, name, side)
    began = time.perf_counter()
    try:
        found = imported(library, text, shape, python)
    except OnespecError as error:
        return {"problem": str(error).removeprefix(f"{text}: ")}
    result = {
        "input": "x".join(map(str, found.network.input)),
        "values": sum(each.size for key, each in found.original.arrays.items() if not NO_ARRAYS.fullmatch(key)),
        "values_imported": sum(each.size for each in found.weights.values()),
        "import_seconds": time.perf_counter() - began,
        "import_mib": max(peaks()),
    }
    began = time.perf_counter()
    try:
        if found.network.macs > LARGEST:
            found = smaller(library, name, python, folder) or found
        comparison = network_import.compared(found)
    except OnespecError as error:
        return result | {"problem": str(error)}
    return result | {
        "compared_at": "x".join(map(str, found.network.input)),
        "difference": comparison.difference,
        "largest_logit": comparison.scale,
        "compare_seconds": time.perf_counter() - began,
        "compare_mib": max(peaks()),
        "problem": problem_of(comparison),
    }


def problem_of(comparison: Comparison) -> str:
    """What is wrong with a comparison, or what it cannot show; empty if the logits are equal."""
    if not comparison.agrees:
        return f"beyond rounding from {comparison.parted}"
    return f"rounding hides differences from {comparison.hidden} on" if comparison.hidden else ""


def smaller(library: Library, name: str, python: str, folder: Path) -> Imported | None:
    """The network at the smallest of `SMALLER` sides that it accepts; None if there is none."""
    for side in SMALLER:
        with contextlib.suppress(OnespecError):
            return imported(library, *library.text(folder, name, side, smaller=True), python)
    return None


def imported(library: Library, text: str, shape: Shape | None, python: str) -> Imported:
    return network_import.imported(text, shape, {library.framework: python}, _silent, source=library.framework)


def _silent(line: str) -> None:
    """No progress: the measurement has its own lines."""


def tasks(pythons: Mapping[str, str]) -> Iterator[tuple[Library, Path, str, int]]:
    """Every network of every library, with the interpreter of the library and the side of its images."""
    for library in LIBRARIES:
        python = library.python(pythons)
        for name, side in library.listed(python):
            yield library, python, name, side


def read(path: Path) -> pd.DataFrame:
    """The results in a file."""
    text = {name: str for name in ("version", "commit", "problem")}
    empty = pd.DataFrame(columns=list(COLUMNS))
    return pd.read_csv(path, keep_default_na=False, dtype=text) if path.exists() else empty


def _append(path: Path, line: Mapping[str, Any]) -> None:
    new = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(line)


def row(library: str, results: pd.DataFrame) -> tuple[str, ...]:
    """The row of a library."""
    done = results[results["values"] != ""]
    compared = done[(done["difference"] != "") & ~done["problem"].str.startswith("rounding hides")]
    number = {name: pd.to_numeric(done[name]) for name in ("import_seconds", "import_mib", "framework_mib")}
    framework = pd.to_numeric(done["framework_seconds"])
    relative = pd.to_numeric(compared["difference"]) / pd.to_numeric(compared["largest_logit"])
    equal = (done["values"].astype(float) == done["values_imported"].astype(float)).sum()
    return (
        library,
        count(len(results)),
        count(len(done)),
        count(int(equal)),
        count(int((compared["problem"] == "").sum())),
        f"{relative.max():.1g}" if len(relative) else "",
        f"{number['import_seconds'].median():.1f}",
        f"{number['import_seconds'].max():.1f}",
        count(round(number["import_mib"].max())),
        f"{framework.median():.1f} s, {count(round(number['framework_mib'].max()))} MiB",
    )


def report(results: pd.DataFrame) -> str:
    """The table of all results, and the networks with which something is wrong."""
    groups = list(results.groupby("library", sort=False))
    versions = ", ".join(f"{name} {', '.join(dict.fromkeys(group['version']))}" for name, group in groups)
    text = markdown(HEAD, [row(str(name), group) for name, group in groups])
    different = results["values"].astype(str) != results["values_imported"].astype(str)
    wrong = results[(results["problem"] != "") | different]
    lines = [
        (each["library"], each["name"], each["problem"] or f"{each['values_imported']} of {each['values']} values")
        for _, each in wrong.iterrows()
    ]
    rest = f"\n\n{markdown(WRONG_HEAD, lines)}" if lines else ""
    commits = ", ".join(dict.fromkeys(results["commit"].astype(str)))
    of_timm = int((results["library"] == "timm").sum())
    listed = f" Of the {len(TIMM)} networks of timm in the list, {of_timm} so far." if 0 < of_timm < len(TIMM) else ""
    return (
        f"{text}{rest}\n\nSeconds and MiB: of the import at the published size, in the larger of the two processes, "
        "with the start of the library, which the last column has alone. Largest difference: of the logits of two "
        f"images in float64, relative to the largest logit.{listed} {versions}; {command.machine()}; commit "
        f"{commits}.\n"
    )


@command.research_command("research.imports")
@options.option("--only", metavar="TEXT", heading=options.WHAT, help="Only networks whose name contains this.")
@options.pythons
@options.option(
    "--results",
    type=options.FILE,
    default=Path("results/imports.csv"),
    metavar="FILE",
    heading=options.RESULTS,
    help="The results of all networks; finished ones are not repeated.",
)
@command.out_file
def main(only: str | None, pythons: Mapping[str, str], results: Path, out: Path | None) -> ExitCode:
    """Import the networks of other libraries, compare them with their specs, and measure time and memory."""
    known = read(results)
    done = set(zip(known["library"], known["name"]))
    alone: dict[str, tuple[str, float, float]] = {}
    with TemporaryFolder("imports") as folder:
        for library in LIBRARIES:
            (folder / library.file).write_text(_START[library.name] + _FILES[library.name], encoding="utf-8")
        for library, python, name, side in tasks(pythons):
            if (library.name, name) in done or (only or "") not in name:
                continue
            if library.name not in alone:
                package = f"import importlib.metadata as m; print(m.version('{library.module}'))"
                alone[library.name] = (
                    output(python, package).strip(),
                    *_apart(import_of_library, python, library.name),
                )
            version, *cost = alone[library.name]
            line = {"library": library.name, "name": name, "version": version}
            line |= dict(zip(("framework_seconds", "framework_mib"), cost))
            line |= _apart(measured, library, name, side, str(python), folder)
            line["commit"] = checkout.short(checkout.commit() or "none")
            _append(results, line)
            shown = ("import_seconds", "import_mib", "difference", "compare_seconds", "problem")
            command.progress(f"{library.name} {name}: {', '.join(f'{key} {line.get(key)}' for key in shown)}")
    table = read(results)
    text = report(table)
    click.echo(text)
    command.write_page(
        out, f"# Imported networks of other libraries\n\nWritten by `python -m research.imports`.\n\n{text}"
    )
    return ExitCode.FAILED if (table["problem"] != "").any() else ExitCode.OK


def _apart(function: Any, *arguments: Any) -> Any:
    """The result of a function in a process of its own, whose peak memory is that of this call."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


if __name__ == "__main__":
    main(prog_name="python -m research.imports")

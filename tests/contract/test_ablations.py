"""An adapter without one of its choices computes what the adapter computes; otherwise their times mean nothing."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.runtime.environments import FrameworkRequest
from benchmarks.runtime.worker_client import WorkerClient
from frameworks.adapter import Setting
from frameworks.arrays import initial
from frameworks.registry import FRAMEWORKS, trained
from frameworks.spec import AvgPool, BatchNorm, Conv, Dense, Flatten, MaxPool, Network, ReLU, Scale
from frameworks.training import SGD, Training
from research import ablations, profile
from research.ablations import ADAPTER_ABLATIONS, PROCESS_ABLATIONS, loops
from research.baselines import compare
from tests.conftest import THREADS, Bench

EACH = [(framework, ablation.choice) for framework in trained() for ablation in ablations.ablations(framework)]

# A layer for each choice: a grey image, padded and unpadded windows, convolutions in groups and one for each channel.
NET = Network(
    "every_choice",
    (1, 28, 28),
    [
        Conv("conv1", 8, 5, padding=2),
        BatchNorm("bn1"),
        ReLU(),
        MaxPool("pool1", 3, 2, padding=1),
        Conv("in_groups", 12, 3, padding=1, groups=4, bias=False),
        BatchNorm("bn2"),
        ReLU(),
        Conv("by_channel", 12, 3, 2, padding=1, groups=12),
        ReLU(),
        AvgPool("pool2", 2, 2),
        Flatten(),
        Dense("head", 10),
    ],
)


def test_a_framework_without_its_own_ablations_has_those_of_the_process() -> None:
    assert ADAPTER_ABLATIONS.keys() <= FRAMEWORKS.keys()
    assert ablations.ablations("a new framework") == PROCESS_ABLATIONS


@pytest.mark.parametrize("framework, choice", EACH)
def test_an_adapter_without_a_choice_computes_the_same(
    bench: Bench, tmp_path: Path, framework: str, choice: str
) -> None:
    net = NET.after(Scale("pixels"), input=NET.input)
    stream = np.random.default_rng(0)
    images = stream.integers(0, 256, (20, 1, 28, 28), dtype=np.uint8)
    labels = stream.integers(0, 10, 20)
    losses = {}
    compared = loops(NET.name, FrameworkRequest(framework), Path(bench.python(framework)))
    for name in ("adapter", choice):
        loop = compared[name]
        with WorkerClient(
            loop.python,
            loop.module,
            loop.adapter,
            threads=THREADS,
            log=tmp_path / "log",
            timeout=300.0,
            steady=loop.steady,
            environment=loop.environment,
        ) as worker:
            worker.build(net, Training(SGD(momentum=0.9)), Setting("cpu", "float32", THREADS))
            worker.set_weights(initial(net, 0))
            worker.load("train", images, labels)
            worker.load("test", images, labels)
            trained = worker.train(np.arange(20), 8, [0.01] * 3, stop=20, seed=0)
            losses[name] = [*trained.losses, worker.evaluate("test", 8).loss]
    assert np.allclose(losses[choice], losses["adapter"], rtol=1e-4, atol=0), losses


COMMANDS = {"ablations": ablations.main, "profile": profile.main, "compare": compare.main}
BAD_INPUT = [
    (["--net", "alexnet"], "--net alexnet: not timed here"),
    (["--launches", "0"], "--launches: 0 is not in the range"),
    (["--fw", "pytorch"], "pytorch"),
]
BAD_PAGES = [
    (["--write", "nowhere/page.md"], "--write nowhere/page.md: No such file"),
    (["--write", "README.md"], "--write README.md: "),
]


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        *(
            pytest.param(command, *bad, id=f"{name} {bad[0]}")
            for name, command in COMMANDS.items()
            for bad in BAD_INPUT
        ),
        *(
            pytest.param(COMMANDS[name], *bad, id=f"{name} {bad[0]}")
            for name in ("ablations", "profile")
            for bad in BAD_PAGES
        ),
        pytest.param(
            compare.main,
            ["--net", "cifar_mobilenet_v2"],
            "allowed are lenet, vgg_small, resnet18 and all",
            id="no bare loop",
        ),
    ],
)
def test_bad_input_is_one_line_before_anything_is_measured(
    command: click.Command, options: list[str], message: str
) -> None:
    result = CliRunner().invoke(command, options)
    assert result.exit_code == 2 and not result.stdout
    assert message in result.stderr and len(result.stderr.splitlines()) == 1, result.stderr

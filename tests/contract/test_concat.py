"""Concatenations of any channels train in float32: oneDNN groups channels in blocks of 8 or 16."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.verification.cases import BATCH, Case
from frameworks.adapter import Setting
from frameworks.numpy_reference import Reference
from frameworks.registry import trained
from frameworks.spec import Concat, Conv, Dense, Flatten, Layer, Network, Residual
from frameworks.training import Training
from tests.conftest import Bench

NEXT: dict[str, list[Layer]] = {
    "convolution": [Conv("next", 8, 1)],
    "residual": [Residual("sum", [Conv("next", 3, 3, padding=1)], [Conv("short", 3, 1)])],
    "two": [Concat("outer", [[Conv("next", 4, 1)], [Conv("other", 12, 3, padding=1)]]), Conv("last", 4, 1)],
}


@pytest.mark.parametrize("following", NEXT)
@pytest.mark.parametrize("channels", [(4, 4), (3, 5), (8, 8), (24, 8), (2, 2, 4), (16, 16)], ids=str)
@pytest.mark.parametrize("framework", trained())
def test_the_gradient_of_a_concatenation(
    bench: Bench, framework: str, channels: tuple[int, ...], following: str, tmp_path: Path
) -> None:
    chains = [[Conv(f"conv{number}", count, 1)] for number, count in enumerate(channels)]
    net = Network("net", (2, 5, 4), [Concat("concat", chains), *NEXT[following], Flatten(), Dense("out", 3)])
    case = Case.for_network(net, seed=0, batch_size=BATCH)
    images, labels = case.images[:BATCH], case.labels[:BATCH]
    reference = Reference(case.network, Training(), Setting(precision="float64"))
    reference.set_weights(case.weights)
    expected_loss, expected = reference.gradients(images, labels)

    bench.build(framework, case.network, weights=case.weights)
    loss, gradients = bench.session(framework).gradients(images, labels)

    assert loss == pytest.approx(expected_loss, rel=1e-5)
    for name, gradient in expected.items():
        assert np.abs(gradients[name] - gradient).max() <= 1e-5 * np.abs(gradient).max(), name

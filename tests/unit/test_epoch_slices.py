"""How an epoch is cut into slices."""

from __future__ import annotations

from typing import get_args

import pytest

from benchmarks.runtime.devices import Kind
from benchmarks.training.epoch_slices import cut


@pytest.mark.parametrize("first_alone", [True, False])
@pytest.mark.parametrize("device", get_args(Kind))
@pytest.mark.parametrize(
    "images, batch_size, macs", [(60_000, 256, 416_520), (100, 256, 1), (2_000, 64, 10**9), (64, 64, 0)]
)
def test_slices_cover_the_epoch_in_whole_batches(
    images: int, batch_size: int, macs: int, device: Kind, first_alone: bool
) -> None:
    slices = cut(images, batch_size, macs, device, first_alone)
    assert slices[0][0] == 0 and slices[-1][1] == images
    assert [stop for _, stop in slices[:-1]] == [start for start, _ in slices[1:]]
    assert all(start % batch_size == 0 and stop > start for start, stop in slices)
    if first_alone:
        assert slices[0] == (0, min(batch_size, images))


def test_a_step_with_many_operations_is_a_slice() -> None:
    assert cut(256, 64, 10**12, "cpu", first_alone=False) == [(0, 64), (64, 128), (128, 192), (192, 256)]

"""The order of turns and the cutting of slices."""

from __future__ import annotations

import pytest

from benchmarks.timing.schedule import launches_to_come, rotated, slices, turns


def test_turns_go_forth_and_back() -> None:
    assert [order for _, order in turns("ABC", 4)] == [list("ABC"), list("CBA"), list("ABC"), list("CBA")]


def test_every_runner_has_the_same_mean_position() -> None:
    positions = {name: [order.index(name) for _, order in turns("ABCD", 6)] for name in "ABCD"}
    assert {sum(places) for places in positions.values()} == {9}


def test_every_launch_begins_with_another_one() -> None:
    assert [rotated("ABC", launch) for launch in range(4)] == [list("ABC"), list("BCA"), list("CAB"), list("ABC")]


def test_turns_can_begin_later() -> None:
    assert list(turns("AB", 3, first=1)) == [(1, ["B", "A"]), (2, ["A", "B"])]


@pytest.mark.parametrize(
    "left, opening, done, played, least, launches",
    [
        (40.0, 6.0, 0, 0.0, 3, 4),  # of three the interval would be wider, though they had more rounds
        (40.0, 12.0, 0, 0.0, 3, 3),  # a fourth would leave nothing to play
        (300.0, 6.0, 0, 0.0, 3, 11),
        (20.0, 6.0, 3, 15.0, 0, 2),
        (5.0, 6.0, 3, 15.0, 0, 0),  # not even ready
        (5.0, 6.0, 1, 15.0, 2, 2),  # late, but of fewer nothing can be told
        (-5.0, 6.0, 3, 15.0, 0, 0),
        (-5.0, 6.0, 5, 15.0, -2, 0),
    ],
)
def test_launches_share_the_seconds_that_are_left(
    left: float, opening: float, done: int, played: float, least: int, launches: int
) -> None:
    assert launches_to_come(left, opening, done, played, least) == launches


@pytest.mark.parametrize("first_alone", [True, False])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(
    "pictures, batch, macs", [(60_000, 256, 416_520), (100, 256, 1), (2_000, 64, 10**9), (64, 64, 0)]
)
def test_slices_cover_the_epoch_in_whole_batches(
    pictures: int, batch: int, macs: int, device: str, first_alone: bool
) -> None:
    cut = slices(pictures, batch, macs, device, first_alone)
    assert cut[0][0] == 0 and cut[-1][1] == pictures
    assert [stop for _, stop in cut[:-1]] == [start for start, _ in cut[1:]]
    assert all(start % batch == 0 and stop > start for start, stop in cut)
    if first_alone:
        assert cut[0] == (0, min(batch, pictures))


def test_a_heavy_step_is_a_slice_of_its_own() -> None:
    assert slices(256, 64, 10**12, "cpu", first_alone=False) == [(0, 64), (64, 128), (128, 192), (192, 256)]

"""The order of turns and the cutting of slices."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from benchmarks.timing.schedule import launches_to_come, rotated, slices, turns


def test_turns_go_forth_and_back_and_begin_with_the_next() -> None:
    assert ["".join(order) for _, order in turns("ABC", 7)] == ["ABC", "CBA", "BCA", "ACB", "CAB", "BAC", "ABC"]


@pytest.mark.parametrize("names", ["A", "AB", "ABC", "ABCD", "ABCDE", "ABCDEF"])
def test_nobody_has_a_better_place_or_a_better_neighbour(names: str) -> None:
    rounds = [order for _, order in turns(names, 2 * len(names))]
    assert all(set(order) == set(names) for order in rounds)
    for first, second in zip(rounds[::2], rounds[1::2]):
        assert first == second[::-1], "a linear drift cancels in each pair"
    assert set(Counter((order.index(name), name) for order in rounds for name in names).values()) == {2}
    within = Counter(pair for order in rounds for pair in pairwise(order))
    assert len(within) == len(names) * (len(names) - 1) and set(within.values()) <= {2}  # of one alone there is none
    whole = [name for order in [*rounds, rounds[0]] for name in order]
    alone = Counter(one for one, other in pairwise(whole) if one == other)
    assert len({alone[name] for name in names}) == 1, "everyone follows itself as often"


def test_every_launch_begins_with_another_one() -> None:
    assert [rotated("ABC", launch) for launch in range(4)] == [list("ABC"), list("BCA"), list("CAB"), list("ABC")]


def test_turns_can_begin_later() -> None:
    assert list(turns("AB", 3, first=1)) == [(1, ["B", "A"]), (2, ["B", "A"])]


@pytest.mark.parametrize(
    "left, opening, round_, played, least, launches",
    [
        (50.0, 3.3, 0.12, [], 3, 9),  # of few launches the interval would be wider, though of more rounds
        (40.0, 12.0, 0.1, [], 3, 3),  # a fourth would leave nothing to play
        (300.0, 10.0, 0.1, [], 3, 21),
        (300.0, 10.0, 2.0, [], 3, 12),  # where rounds take long, it is they that are wanted
        (20.0, 6.0, 0.1, [5.0] * 3, 0, 2),
        (18.0, 4.4, 0.1, [4.5, 5.0, 4.9, 3.7], 0, 3),
        (5.0, 6.0, 0.1, [5.0] * 3, 0, 0),  # not even ready
        (6.5, 6.0, 1.0, [5.0] * 3, 0, 0),  # ready, without a whole round
        (5.0, 6.0, 0.1, [15.0], 2, 2),  # late, but of fewer nothing can be told
        (-5.0, 6.0, 0.1, [5.0] * 3, 0, 0),
        (-5.0, 6.0, 0.1, [3.0] * 5, -2, 0),
    ],
)
def test_launches_share_the_seconds_that_are_left(
    left: float, opening: float, round_: float, played: list[float], least: int, launches: int
) -> None:
    assert launches_to_come(left, opening, round_, played, least) == launches


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

"""Changes of the pictures: what each may do to a picture, and that it does it as often as it says."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.datasets.augmentation import CHUNK, Change, ColourNoise, Crop, Cutout, Flip, covariance, drawn, permuted
from frameworks.arrays import Array

EVERY: list[Change] = [Crop(2), Crop(2, reflect=True), Flip(), ColourNoise(), Cutout(3)]
SHAPES = [(200, 1, 8, 8), (200, 3, 6, 9)]


def pictures(shape: tuple[int, ...], seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(1, 255, shape, dtype=np.uint8)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("change", EVERY, ids=repr)
class TestEveryChange:
    def test_bytes_of_the_same_shape(self, change: Change, shape: tuple[int, ...]) -> None:
        found = drawn(pictures(shape), [change], seed=1, epoch=1)
        assert found.dtype == np.uint8 and found.shape == shape

    def test_the_same_seed_and_epoch_give_the_same(self, change: Change, shape: tuple[int, ...]) -> None:
        one, other = (drawn(pictures(shape), [change], seed=1, epoch=2) for _ in range(2))
        assert (one == other).all()

    def test_another_epoch_gives_others(self, change: Change, shape: tuple[int, ...]) -> None:
        one, other = (drawn(pictures(shape), [change], seed=1, epoch=epoch) for epoch in (1, 2))
        assert (one != other).any()

    def test_another_seed_gives_others(self, change: Change, shape: tuple[int, ...]) -> None:
        one, other = (drawn(pictures(shape), [change], seed=seed, epoch=1) for seed in (1, 2))
        assert (one != other).any()

    def test_what_was_given_is_left_alone(self, change: Change, shape: tuple[int, ...]) -> None:
        given = pictures(shape)
        drawn(given, [change], seed=1, epoch=1)
        assert (given == pictures(shape)).all()

    def test_a_read_only_file_serves(self, change: Change, shape: tuple[int, ...]) -> None:
        given = pictures(shape)
        given.flags.writeable = False
        drawn(given, [change], seed=1, epoch=1)


def offsets(before: Array, after: Array, padding: int, mode: str) -> list[tuple[int, int]]:
    """Where in the padded picture each window is, found by trying all."""
    around = ((0, 0), (padding, padding), (padding, padding))
    _, height, width = before[0].shape
    places = [(top, left) for top in range(2 * padding + 1) for left in range(2 * padding + 1)]
    return [
        next(
            (top, left)
            for top, left in places
            if (np.pad(old, around, mode=mode)[:, top : top + height, left : left + width] == new).all()  # type: ignore[call-overload]
        )
        for old, new in zip(before, after)
    ]


@pytest.mark.parametrize(("reflect", "mode"), [(False, "constant"), (True, "reflect")])
def test_a_crop_is_a_window_of_the_padded_picture(reflect: bool, mode: str) -> None:
    given = pictures((300, 2, 6, 7))
    found = offsets(given, drawn(given, [Crop(2, reflect)], seed=3, epoch=1), 2, mode)
    assert len(set(found)) == 25, "every place comes up"


def test_a_flip_turns_half_of_the_pictures() -> None:
    """Of 2,000 a share of 0.5 with a standard deviation of 0.011: four of them are allowed."""
    given = pictures((2000, 3, 2, 5))
    found = drawn(given, [Flip()], seed=0, epoch=1)
    turned = (found == given[..., ::-1]).all((1, 2, 3))
    assert (turned ^ (found == given).all((1, 2, 3))).all(), "each is itself or its mirror image"
    assert abs(turned.mean() - 0.5) < 4 * 0.011


def test_cutout_fills_one_square_with_the_mean() -> None:
    given = pictures((400, 3, 8, 9))
    found = drawn(given, [Cutout(4)], seed=0, epoch=1)
    mean = np.rint(given.mean((0, 2, 3))).astype(np.uint8)[:, None, None]
    sizes = []
    for old, new in zip(given, found):
        changed = (old != new).any(0)
        rows, columns = changed.any(1).nonzero()[0], changed.any(0).nonzero()[0]
        box = np.s_[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert (new[box] == mean).all()
        sizes.append((len(rows), len(columns)))
    assert max(sizes) == (4, 4) and min(min(size) for size in sizes) == 2, "a centre at the edge leaves half a square"


def test_colour_noise_is_one_colour_a_picture() -> None:
    given = np.random.default_rng(0).integers(60, 196, (50, 3, 5, 5), dtype=np.uint8)
    found = drawn(given, [ColourNoise(0.1)], seed=0, epoch=1)
    added = found.astype(int) - given
    assert (added == added[:, :, :1, :1]).all()
    assert added.any()


def test_colour_noise_has_the_covariance_of_the_formula() -> None:
    """sum of a l p has the covariance 0.1^2 sum of l^2 p p', which is 0.01 C^2: of 20,000 draws 3 % are noise."""
    given = np.empty((20_000, 3, 2, 2), np.uint8)
    stream = np.random.default_rng(0)
    given[:, 0] = stream.integers(30, 220, (20_000, 2, 2))
    given[:, 1] = given[:, 0] // 2 + 60
    given[:, 2] = stream.integers(30, 220, (20_000, 2, 2))
    found = drawn(given, [ColourNoise(1.0)], seed=0, epoch=1).astype(int) - given
    inside = ((found[:, :, 0, 0] == found[:, :, 1, 1]).all(1)).nonzero()[0]
    measured = np.cov(found[inside, :, 0, 0].T / 255)
    expected = covariance(given) @ covariance(given)
    assert np.abs(measured - expected).max() < 0.05 * expected.max()


@pytest.mark.parametrize("count", [3, CHUNK + 7])
def test_covariance_is_numpys(count: int) -> None:
    given = pictures((count, 3, 2, 3))
    flat = given.transpose(1, 0, 2, 3).reshape(3, -1) / 255
    np.testing.assert_allclose(covariance(given), np.cov(flat, bias=True), atol=1e-12)


def test_to_leave_one_change_out_does_not_alter_the_others() -> None:
    given = pictures((50, 3, 6, 6))
    flipped = drawn(given, [Flip()], seed=0, epoch=1)
    turned = (flipped == given[..., ::-1]).all((1, 2, 3))
    with_cutout = drawn(given, [Flip(), Cutout(2)], seed=0, epoch=1)
    assert ((with_cutout == flipped).mean((1, 2, 3)) > 0.8).all() and turned.any()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_permutation_is_one_for_all(shape: tuple[int, ...]) -> None:
    """Each pixel has moved from the same place in every picture and channel, and none is lost."""
    places = np.arange(shape[2] * shape[3], dtype=np.uint8).reshape(1, 1, *shape[2:])
    order = permuted(np.broadcast_to(places, shape), 0)
    assert (order == order[:1, :1]).all() and sorted(order[0, 0].ravel()) == list(range(places.size))
    given = pictures(shape)
    moved = given.reshape(*shape[:2], -1)[:, :, order[0, 0].ravel()].reshape(shape)
    assert (permuted(given, 0) == moved).all() and (moved != given).any()


def test_permutations_of_other_seeds_differ() -> None:
    assert (permuted(pictures(SHAPES[0]), 0) != permuted(pictures(SHAPES[0]), 1)).any()


@pytest.mark.parametrize("wrong", [lambda: Crop(0), lambda: Cutout(0), lambda: ColourNoise(0.0)], ids=range(3))
def test_refused(wrong: type) -> None:
    with pytest.raises(ValueError, match="="):
        wrong()

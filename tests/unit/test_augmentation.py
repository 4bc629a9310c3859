"""Each augmentation changes images as documented, and as often as documented."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.datasets.augmentation import (
    CHUNK,
    Augmentation,
    ColourNoise,
    Crop,
    Cutout,
    Flip,
    augmented,
    covariance,
    permuted,
)
from frameworks.arrays import Array

ALL: list[Augmentation] = [Crop(2), Crop(2, reflect=True), Flip(), ColourNoise(), Cutout(3)]
SHAPES = [(200, 1, 8, 8), (200, 3, 6, 9)]


def random_images(shape: tuple[int, ...], seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(1, 255, shape, dtype=np.uint8)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("augmentation", ALL, ids=repr)
class TestEveryAugmentation:
    def test_the_result_is_uint8_of_the_same_shape(self, augmentation: Augmentation, shape: tuple[int, ...]) -> None:
        result = augmented(random_images(shape), [augmentation], seed=1, epoch=1)
        assert result.dtype == np.uint8 and result.shape == shape

    def test_seed_and_epoch_determine_the_images(self, augmentation: Augmentation, shape: tuple[int, ...]) -> None:
        first, second = (augmented(random_images(shape), [augmentation], seed=1, epoch=2) for _ in range(2))
        assert (first == second).all()

    def test_another_epoch_gives_other_images(self, augmentation: Augmentation, shape: tuple[int, ...]) -> None:
        first, second = (augmented(random_images(shape), [augmentation], seed=1, epoch=epoch) for epoch in (1, 2))
        assert (first != second).any()

    def test_another_seed_gives_other_images(self, augmentation: Augmentation, shape: tuple[int, ...]) -> None:
        first, second = (augmented(random_images(shape), [augmentation], seed=seed, epoch=1) for seed in (1, 2))
        assert (first != second).any()

    def test_the_input_is_not_changed(self, augmentation: Augmentation, shape: tuple[int, ...]) -> None:
        given = random_images(shape)
        augmented(given, [augmentation], seed=1, epoch=1)
        assert (given == random_images(shape)).all()

    def test_the_input_may_be_read_only(self, augmentation: Augmentation, shape: tuple[int, ...]) -> None:
        given = random_images(shape)
        given.flags.writeable = False
        augmented(given, [augmentation], seed=1, epoch=1)


def offsets(before: Array, after: Array, padding: int, mode: str) -> list[tuple[int, int]]:
    """The position of each window in the padded image, found by trying all positions."""
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
def test_a_crop_is_a_window_of_the_padded_image(reflect: bool, mode: str) -> None:
    given = random_images((300, 2, 6, 7))
    result = offsets(given, augmented(given, [Crop(2, reflect)], seed=3, epoch=1), 2, mode)
    assert len(set(result)) == 25, "every position occurs"


def test_a_flip_mirrors_half_of_the_images() -> None:
    """A fraction of 0.5 of 2,000 images has a standard deviation of 0.011; four of these are allowed."""
    given = random_images((2000, 3, 2, 5))
    result = augmented(given, [Flip()], seed=0, epoch=1)
    mirrored = (result == given[..., ::-1]).all((1, 2, 3))
    assert (mirrored ^ (result == given).all((1, 2, 3))).all(), "each is unchanged or mirrored"
    assert abs(mirrored.mean() - 0.5) < 4 * 0.011


def test_cutout_fills_one_square_with_the_mean() -> None:
    given = random_images((400, 3, 8, 9))
    result = augmented(given, [Cutout(4)], seed=0, epoch=1)
    mean = np.rint(given.mean((0, 2, 3))).astype(np.uint8)[:, None, None]
    sizes = []
    for old, new in zip(given, result):
        changed = (old != new).any(0)
        rows, columns = changed.any(1).nonzero()[0], changed.any(0).nonzero()[0]
        box = np.s_[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert (new[box] == mean).all()
        sizes.append((len(rows), len(columns)))
    assert max(sizes) == (4, 4) and min(min(size) for size in sizes) == 2, "a center at the edge leaves half a square"


def test_color_noise_is_one_color_per_image() -> None:
    given = np.random.default_rng(0).integers(60, 196, (50, 3, 5, 5), dtype=np.uint8)
    result = augmented(given, [ColourNoise(0.1)], seed=0, epoch=1)
    added = result.astype(int) - given
    assert (added == added[:, :, :1, :1]).all()
    assert added.any()


def test_color_noise_has_the_covariance_of_the_formula() -> None:
    """sum of a l p has the covariance sum of l^2 p p' = C^2; 20,000 draws estimate it to about 3 %."""
    given = np.empty((20_000, 3, 2, 2), np.uint8)
    stream = np.random.default_rng(0)
    given[:, 0] = stream.integers(30, 220, (20_000, 2, 2))
    given[:, 1] = given[:, 0] // 2 + 60
    given[:, 2] = stream.integers(30, 220, (20_000, 2, 2))
    result = augmented(given, [ColourNoise(1.0)], seed=0, epoch=1).astype(int) - given
    inside = ((result[:, :, 0, 0] == result[:, :, 1, 1]).all(1)).nonzero()[0]
    measured = np.cov(result[inside, :, 0, 0].T / 255)
    expected = covariance(given) @ covariance(given)
    assert np.abs(measured - expected).max() < 0.05 * expected.max()


@pytest.mark.parametrize("count", [3, CHUNK + 7])
def test_covariance_equals_that_of_numpy(count: int) -> None:
    given = random_images((count, 3, 2, 3))
    flat = given.transpose(1, 0, 2, 3).reshape(3, -1) / 255
    np.testing.assert_allclose(covariance(given), np.cov(flat, bias=True), atol=1e-12)


def test_removing_one_augmentation_does_not_affect_the_others() -> None:
    given = random_images((50, 3, 6, 6))
    flipped = augmented(given, [Flip()], seed=0, epoch=1)
    mirrored = (flipped == given[..., ::-1]).all((1, 2, 3))
    with_cutout = augmented(given, [Flip(), Cutout(2)], seed=0, epoch=1)
    assert ((with_cutout == flipped).mean((1, 2, 3)) > 0.8).all() and mirrored.any()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_permutation_is_the_same_for_all_images(shape: tuple[int, ...]) -> None:
    """Each pixel moves from the same position in every image and channel, and none is lost."""
    places = np.arange(shape[2] * shape[3], dtype=np.uint8).reshape(1, 1, *shape[2:])
    order = permuted(np.broadcast_to(places, shape), 0)
    assert (order == order[:1, :1]).all() and sorted(order[0, 0].ravel()) == list(range(places.size))
    given = random_images(shape)
    moved = given.reshape(*shape[:2], -1)[:, :, order[0, 0].ravel()].reshape(shape)
    assert (permuted(given, 0) == moved).all() and (moved != given).any()


def test_permutations_of_other_seeds_differ() -> None:
    assert (permuted(random_images(SHAPES[0]), 0) != permuted(random_images(SHAPES[0]), 1)).any()


@pytest.mark.parametrize("wrong", [lambda: Crop(0), lambda: Cutout(0), lambda: ColourNoise(0.0)], ids=range(3))
def test_bad_values_are_refused(wrong: type) -> None:
    with pytest.raises(ValueError, match="="):
        wrong()

"""How the user's own images are read, and what a run records about them."""

from __future__ import annotations

from typing import Any, Literal, get_args

import msgspec

from benchmarks.runtime.errors import BadInput

Fit = Literal["crop", "pad", "stretch"]
FITS: tuple[str, ...] = get_args(Fit)
LARGEST = 4096  # height and width


class ImageOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How image files become arrays of one shape, and which of them are test images. Raises BadInput.

    image_size: height and width; None keeps the size, which must then be the same for all images.
    image_fit: `crop` cuts the largest centered window of the wanted shape and resizes it, `pad` resizes the whole image
    and adds black borders, `stretch` changes the aspect ratio.
    channels: 1 is gray, 3 is RGB; None is gray if all files are gray.
    test_fraction: of each class, where the files have no split of their own. split_seed: of this split, and of the
    order in which the images are stored.
    skip_broken: leave out files that cannot be decoded.
    """

    image_size: tuple[int, int] | None = None
    image_fit: Fit = "crop"
    channels: Literal[1, 3] | None = None
    test_fraction: float = 0.2
    split_seed: int = 0
    skip_broken: bool = False

    def __post_init__(self) -> None:
        if self.image_size is not None and not all(1 <= side <= LARGEST for side in self.image_size):
            raise BadInput(f"--image-size {self.image_size}: height and width must be 1 to {LARGEST:,}")
        if self.image_fit not in FITS:
            raise BadInput(f"--image-fit {self.image_fit}: choose from {', '.join(FITS)}")
        if self.channels not in (None, 1, 3):
            raise BadInput(f"--channels {self.channels}: 1 for gray or 3 for RGB")
        if not 0 < self.test_fraction < 1:
            raise BadInput(f"--test-fraction {self.test_fraction:g}: must be between 0 and 1")
        if self.split_seed < 0:
            raise BadInput(f"--split-seed {self.split_seed}: must be 0 or more")

    @property
    def record(self) -> dict[str, Any]:
        """The options as JSON values."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        return fields


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """What is at a path, as it would be divided and read. Nothing is resized or stored."""

    layout: str
    split: str
    class_names: list[str]
    train_counts: list[int]  # by class
    test_counts: list[int]
    channels: int
    sizes: int  # number of different sizes
    smallest: tuple[int, int]  # height, width
    largest: tuple[int, int]
    sha256: str  # of the listing: the name, class and content of every file
    broken: dict[str, str]  # files that cannot be decoded, with the reason
    duplicates: list[str]  # test images with the content of a training image
    ambiguous: list[str]  # images whose content also occurs in another class
    notes: list[str]


class ImagesInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What was read from the user's own images: enough to check later that the same data are used."""

    layout: str  # how the files are arranged
    options: ImageOptions
    split: str  # where the division into training and test images comes from
    input: tuple[int, int, int]  # channels, height, width
    class_names: list[str]
    train_counts: list[int]  # by class
    test_counts: list[int]
    mean: list[float]  # of the training images by channel, pixels from 0 to 1
    std: list[float]
    broken: dict[str, str] = {}  # files that were left out, with the reason
    duplicates: int = 0  # test images with the content of a training image
    ambiguous: int = 0  # images whose content also occurs in another class
    decoder: str = ""  # library that decoded the files, with its version
    notes: list[str] = []

"""What is recorded and shown about images of the user's own."""

from __future__ import annotations

import msgspec

from benchmarks.datasets.image_options import ImageOptions


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

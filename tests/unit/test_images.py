"""Decoding of image files: modes, orientation, sizes, damaged and hostile files, and the processes that do it."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from benchmarks.datasets import image_pool, images
from benchmarks.datasets.image_options import FITS, ImageOptions
from benchmarks.datasets.image_pool import Broken, ImagePool
from benchmarks.runtime.errors import BadInput
from tests.unit.image_files import encoded, pixels


def decoded(content: bytes, channels: int = 3) -> np.ndarray:
    """The pixels of a file as H x W x C, or H x W."""
    values = images.decode(content, channels, None, "crop")
    return values[0] if channels == 1 else values.transpose(1, 2, 0)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


# Modes ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "bmp", "ppm", "tiff", "webp"])
def test_a_lossless_file_is_decoded_exactly(suffix: str) -> None:
    values = pixels(5, 7)
    assert np.array_equal(decoded(encoded(values, suffix, **({"lossless": True} if suffix == "webp" else {}))), values)


def test_a_jpeg_is_decoded_closely() -> None:
    values = np.repeat(np.repeat(pixels(2, 2), 16, 0), 16, 1)
    assert np.abs(decoded(encoded(values, "jpg", quality=95)).astype(int) - values).mean() < 3


def test_gray_is_repeated_in_rgb_and_read_as_it_is() -> None:
    values = pixels(5, 7, channels=1)
    content = encoded(values)
    assert np.array_equal(decoded(content, channels=1), values)
    assert np.array_equal(decoded(content), np.repeat(values[..., None], 3, 2))
    assert images.examine(content) == images.ImageHeader(5, 7, gray=True)


def test_rgb_becomes_gray_by_rec_601() -> None:
    values = pixels(9, 9)
    expected = values @ np.array([0.299, 0.587, 0.114])
    assert np.abs(decoded(encoded(values), channels=1) - expected).max() <= 1
    assert not images.examine(encoded(values)).gray


def test_transparent_parts_are_composited_over_white() -> None:
    values = np.zeros((1, 3, 4), np.uint8)
    values[0, :, 3] = 0, 255, 51  # transparent, opaque and a fifth of black
    assert decoded(encoded(values))[0, :, 0].tolist() == [255, 0, 204]


def test_a_palette_is_resolved_with_its_transparent_color() -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "L").convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    assert decoded(saved(image, "PNG"))[0].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    assert decoded(saved(image, "PNG", transparency=1))[0].tolist() == [[255, 0, 0], [255, 255, 255], [0, 0, 255]]


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_16_bits_are_scaled_and_rounded(suffix: str) -> None:
    values = np.array([[0, 128, 129, 257 * 77, 65535]], np.uint16)
    assert decoded(encoded(values, suffix), channels=1)[0].tolist() == [0, 0, 1, 77, 255]
    assert images.examine(encoded(values, suffix)).gray


def test_black_and_white_becomes_0_and_255() -> None:
    image = Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")
    assert decoded(saved(image, "PNG"), channels=1)[0].tolist() == [0, 255]


def test_cmyk_becomes_rgb() -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # red
    red = decoded(saved(image, "JPEG", quality=100))[8, 8]
    assert red[0] > 240 and red[1:].max() < 15


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_applied(orientation: int) -> None:
    """The table of the EXIF standard: where row 0 and column 0 of the stored image are shown."""
    upright = pixels(4, 6)
    turned = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),
        7: upright.swapaxes(0, 1)[::-1, ::-1],
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(np.ascontiguousarray(turned), "png", exif=exif)
    assert np.array_equal(decoded(content), upright)
    assert (images.examine(content).height, images.examine(content).width) == (4, 6)


# Sizes ----------------------------------------------------------------------------------------------------------------


def fitted(values: np.ndarray, size: tuple[int, int], fit: str) -> np.ndarray:
    return images.decode(encoded(values), 3, size, fit).transpose(1, 2, 0)


def test_crop_takes_the_largest_centered_window() -> None:
    values = pixels(10, 20)
    assert np.array_equal(fitted(values, (10, 10), "crop"), values[:, 5:15])


def test_pad_adds_black_borders() -> None:
    values = pixels(10, 20)
    padded = fitted(values, (20, 20), "pad")
    assert np.array_equal(padded[5:15], values)
    assert not padded[:5].any() and not padded[15:].any()


def test_pad_shows_a_very_thin_image() -> None:
    assert fitted(np.full((1, 500, 3), 9, np.uint8), (8, 8), "pad").max() == 9


def test_stretch_changes_the_aspect_ratio() -> None:
    halves = np.repeat(np.array([[0, 255]], np.uint8), 50, 1)[..., None].repeat(3, 2).repeat(10, 0)
    stretched = fitted(halves, (10, 10), "stretch")
    assert (stretched[:, :4] == 0).all() and (stretched[:, 6:] == 255).all()


@pytest.mark.parametrize("fit", FITS)
def test_shrinking_takes_means(fit: str) -> None:
    """Without antialiasing, a checkerboard would become black or white."""
    board = np.indices((64, 64)).sum(0) % 2 * 255
    shrunk = fitted(board.astype(np.uint8)[..., None].repeat(3, 2), (8, 8), fit)
    assert np.abs(shrunk[1:-1, 1:-1].astype(int) - 127.5).max() < 4


def test_arrays_are_resized_as_files_are() -> None:
    values = pixels(10, 20)
    resized = images.resized(values.transpose(2, 0, 1)[None], (8, 8), "crop")
    assert np.array_equal(resized[0], images.decode(encoded(values), 3, (8, 8), "crop"))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"image_size": (0, 5)}, "--image-size"),
        ({"image_size": (5, 100_000)}, "--image-size"),
        ({"image_fit": "zoom"}, "--image-fit zoom"),
        ({"channels": 2}, "--channels 2"),
        ({"test_fraction": 0.0}, "--test-fraction 0"),
        ({"test_fraction": 1.0}, "--test-fraction 1"),
        ({"split_seed": -1}, "--split-seed -1"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], named: str) -> None:
    with pytest.raises(BadInput, match=named):
        ImageOptions(**options)  # type: ignore[arg-type]


# Damaged and hostile files --------------------------------------------------------------------------------------------


def png_of_size(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises an image of any size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0" * 100)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


WHOLE = encoded(pixels(40, 40), "jpg")
BROKEN = {
    "truncated": (WHOLE[: len(WHOLE) // 2], "truncated"),
    "empty": (b"", "empty file"),
    "text": (b"<svg></svg>", "not an image"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    "bomb": (png_of_size(20_000, 20_000), "100,000,000"),
    "larger than allowed": (png_of_size(10_001, 10_000), "100,010,000 pixels"),
    "pixels are missing": (png_of_size(100, 100), "truncated"),
    "floats": (saved(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF"), "floats"),
    "32 bits": (saved(Image.fromarray(np.full((2, 2), 70_000, np.int32)), "TIFF"), "16 bits"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_refused_with_its_reason(case: str) -> None:
    content, reason = BROKEN[case]
    for work in (lambda: images.examine(content), lambda: images.decode(content, 3, None, "crop")):
        with pytest.raises(ValueError, match=reason) as error:
            work()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("seed", range(30))
def test_random_damage_is_refused_or_decoded(seed: int) -> None:
    stream = np.random.default_rng(seed)
    suffix = ["png", "jpg", "bmp", "gif", "tiff", "webp"][seed % 6]
    content = bytearray(encoded(pixels(20, 20, seed=seed), suffix))
    for place in stream.integers(len(content), size=8):
        content[place] = stream.integers(256)
    try:
        values = images.decode(bytes(content), 3, (8, 8), "crop")
    except ValueError as error:
        assert str(error)
    else:
        assert values.shape == (3, 8, 8)


# The processes --------------------------------------------------------------------------------------------------------

OPTIONS = ImageOptions(image_size=(8, 8))


def test_files_are_decoded_in_their_order() -> None:
    contents = [encoded(pixels(9 + number, 20, seed=number)) for number in range(20)]
    with ImagePool(100) as pool:
        results = list(pool.decode(iter(contents), 3, OPTIONS))
        headers = list(pool.examine(contents))
    for content, result in zip(contents, results, strict=True):
        assert isinstance(result, np.ndarray)
        assert np.array_equal(result, images.decode(content, 3, (8, 8), "crop"))
    assert [header.height for header in headers if isinstance(header, images.ImageHeader)] == list(range(9, 29))


def test_a_broken_file_does_not_stop_the_others() -> None:
    good = encoded(pixels())
    with ImagePool(1) as pool:
        results = list(pool.decode([good, b"", good], 3, OPTIONS))
    assert [isinstance(result, Broken) for result in results] == [False, True, False]
    assert str(results[1]) == "empty file"


def test_a_file_over_which_the_decoder_dies_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that ends over the content `die`, and answers every other file."""
    program = (
        "import json, os, sys\n"
        "for line in iter(sys.stdin.buffer.readline, b''):\n"
        "    content = sys.stdin.buffer.read(json.loads(line)['bytes'])\n"
        "    if content == b'die':\n"
        "        os.abort()\n"
        "    print(json.dumps({'height': 1, 'width': len(content), 'gray': True}), flush=True)\n"
    )
    monkeypatch.setattr(image_pool, "WORKER", ("-c", program))
    with ImagePool(1) as pool:
        first, second, third = pool.examine([b"a", b"die", b"abc"])
    assert first == images.ImageHeader(1, 1, gray=True) and third == images.ImageHeader(1, 3, gray=True)
    assert isinstance(second, Broken) and "SIGABRT" in str(second)


def test_a_file_that_is_too_large_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_pool, "MOST_BYTES", 1 << 20)
    with ImagePool(1) as pool:
        (result,) = pool.examine([bytes((1 << 20) + 1)])
    assert isinstance(result, Broken) and "larger than 1 MiB" in str(result)

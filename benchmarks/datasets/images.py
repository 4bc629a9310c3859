"""Image files to pixels with Pillow. The process of the command calls none of this for files: see `image_worker`.

Conversions, in this order: the EXIF orientation is applied; 16 bits become 8 (v / 257, rounded); transparent parts are
composited over white; CMYK and all other modes become RGB, or gray by Rec. 601 (0.299 R + 0.587 G + 0.114 B). Color
profiles are ignored. Of an animation, the first frame is read. Resizing is bilinear with antialiasing.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "PPM", "TIFF")  # Pillow reads others through external programs
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff"})
MOST_PIXELS = 100_000_000  # of a file: a few kilobytes can decode to gigabytes
GRAY = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N"})
# What Pillow raises for damaged and hostile files.
UNREADABLE = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error,
    OverflowError, MemoryError, ZeroDivisionError, RuntimeError,
)  # fmt: skip


@dataclass(frozen=True)
class ImageHeader:
    """An image's size after its orientation is applied, and whether it is gray."""

    height: int
    width: int
    gray: bool


def examine(content: bytes) -> ImageHeader:
    """The header of an image file whose pixels can all be decoded. Raises ValueError with the reason."""
    image, gray = _decoded(content)
    return ImageHeader(image.height, image.width, gray)


def decode(content: bytes, channels: int, size: tuple[int, int] | None, fit: str) -> np.ndarray:
    """The pixels of an image file: uint8, C x H x W. Raises ValueError with the reason."""
    image, _ = _decoded(content)
    return pixels(fitted(image.convert("L" if channels == 1 else "RGB"), size, fit))


def pixels(image: Image) -> np.ndarray:
    """The pixels of a gray or RGB image: uint8, C x H x W."""
    values = np.asarray(image, np.uint8)
    return values[None] if values.ndim == 2 else np.ascontiguousarray(values.transpose(2, 0, 1))


def resized(images: np.ndarray, size: tuple[int, int], fit: str) -> np.ndarray:
    """Images of another size: uint8, N x C x H x W, with one or three channels."""
    from PIL import Image

    shapes = (image[0] if len(image) == 1 else image.transpose(1, 2, 0) for image in images)
    return np.stack([pixels(fitted(Image.fromarray(np.ascontiguousarray(values)), size, fit)) for values in shapes])


def fitted(image: Image, size: tuple[int, int] | None, fit: str) -> Image:
    """The image with this height and width."""
    from PIL import Image as factory
    from PIL import ImageOps

    if size is None or size == (image.height, image.width):
        return image
    height, width = size
    bilinear = factory.Resampling.BILINEAR
    if fit == "crop":
        return ImageOps.fit(image, (width, height), bilinear)
    if fit == "stretch":
        return image.resize((width, height), bilinear)
    scale = min(height / image.height, width / image.width)
    inner = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    framed = factory.new(image.mode, (width, height))
    framed.paste(image.resize(inner, bilinear), ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return framed


def _decoded(content: bytes) -> tuple[Image, bool]:
    """A file's image in 8 bits, upright and opaque; and whether the file is gray."""
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged metadata; the limit of pixels is checked here
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                if (count := image.width * image.height) > MOST_PIXELS:
                    raise ValueError(f"{count:,} pixels, more than {MOST_PIXELS:,}")
                image.load()
                gray = image.mode in GRAY
                return _opaque(_eight_bits(ImageOps.exif_transpose(image))), gray
    except Image.DecompressionBombError:
        raise ValueError(f"more than {MOST_PIXELS:,} pixels") from None
    except Image.UnidentifiedImageError:
        raise ValueError(f"not an image ({', '.join(FORMATS)})" if content else "empty file") from None
    except UNREADABLE as error:
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from None


def _eight_bits(image: Image) -> Image:
    from PIL import Image as factory

    if image.mode == "F":
        raise ValueError("pixels are floats; convert them to 8 or 16 bits")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"pixels from {values.min()} to {values.max()}; convert them to 8 or 16 bits")
    return factory.fromarray(((values + 128) // 257).astype(np.uint8))


def _opaque(image: Image) -> Image:
    from PIL import Image as factory

    if image.has_transparency_data:
        colored = image.convert("RGBA")
        return factory.alpha_composite(factory.new("RGBA", colored.size, "white"), colored).convert("RGB")
    return image if image.mode in ("L", "RGB") else image.convert("L" if image.mode in GRAY else "RGB")

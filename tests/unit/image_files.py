"""Small images and data sets of image files that the tests generate."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CLASSES = ("cat", "dog", "owl")


def pixels(height: int = 12, width: int = 12, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Random pixels: H x W x C, or H x W for one channel."""
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(256, size=shape, dtype=np.uint8)


def encoded(values: np.ndarray, suffix: str = "png", **options: Any) -> bytes:
    """An image file."""
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, {"jpg": "JPEG"}.get(suffix, suffix.upper()), **options)
    return stream.getvalue()


def files_of_classes(count: int, suffix: str = "png", height: int = 12, width: int = 12) -> dict[str, bytes]:
    """`count` different images in each class, by path."""
    return {
        f"{name}/{number}.{suffix}": encoded(pixels(height, width, seed=100 * place + number), suffix)
        for place, name in enumerate(CLASSES)
        for number in range(count)
    }


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files below a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def write_tar(path: Path, files: Mapping[str, bytes]) -> Path:
    """A tar, packed if the name says so."""
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def write_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    """A zip archive."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path

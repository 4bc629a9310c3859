"""How the user's own images are read. Imports only the standard library, because every command declares the options."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from benchmarks.runtime.errors import BadInput

Fit = Literal["crop", "pad", "stretch"]
FITS: tuple[str, ...] = get_args(Fit)
LARGEST = 4096  # height and width


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
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
        return asdict(self)

"""Which program wrote a file of weights. Its content decides, because one format has many endings: .bin, .ckpt, .tar.

Only the first bytes and the directory of a zip file are read.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from benchmarks.training.checkpoints import UNREADABLE

SAFETENSORS, NPZ = ".safetensors", ".npz"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_MXNET = (0x112).to_bytes(8, "little")  # of a list of NDArrays
_PICKLE = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))


def ending(path: Path) -> str:
    """The usual ending of the format in which a file is written: .pth, .h5, .keras, .params, .safetensors or .npz.

    Where the content does not say, for example because the file is damaged, it is the ending of the file's name.
    Raises OSError.
    """
    with path.open("rb") as file:
        start = file.read(16)
    if start.startswith(_HDF5):
        return ".h5"
    if start.startswith(_MXNET):
        return ".params"
    if start.startswith(_PICKLE):
        return ".pth"  # before PyTorch 1.6
    if start[8:9] == b"{":
        return SAFETENSORS
    return (start.startswith(b"PK") and _ending_of_zip(path)) or path.suffix


def _ending_of_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except UNREADABLE:
        return ""
    if any(name.rpartition("/")[2] in ("data.pkl", "constants.pkl") for name in names):
        return ".pth"
    if "model.weights.h5" in names:
        return ".keras"
    return NPZ if names and all(name.endswith(".npy") for name in names) else ""

"""Gluon's .params as arrays, with the graph of `NAME-symbol.json` beside it, which `export` writes.

python gluon_params.py FILE FOLDER    gives FOLDER/arrays.npz and FOLDER/about.json
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np

GRAPH_OF = r"(-\d{4})?\.params$"  # NAME-symbol.json of NAME-0000.params

if __name__ == "__main__":
    source, folder = Path(sys.argv[1]), Path(sys.argv[2])
    loaded = mx.nd.load(str(source))
    if not isinstance(loaded, dict):
        sys.exit("its arrays have no names; write it with net.save_parameters or net.export")
    arrays: dict[str, Any] = {name: array.asnumpy() for name, array in loaded.items()}
    path = source.with_name(re.sub(GRAPH_OF, "-symbol.json", source.name))
    found = path != source and path.is_file()
    symbol = json.loads(path.read_text(encoding="utf-8")) if found else None
    np.savez(folder / "arrays.npz", **arrays)
    about = {"notes": [], "names": list(arrays), "symbol": symbol, "graph": path.name if found else ""}
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")

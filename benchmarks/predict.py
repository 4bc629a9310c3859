"""`python -m benchmarks.predict`: see `benchmarks.training.prediction`."""

from __future__ import annotations

import sys

from benchmarks.training.prediction import main

if __name__ == "__main__":
    sys.exit(main())

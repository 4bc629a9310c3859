"""`python -m benchmarks.checkpoint`: see `benchmarks.training.checkpoints`."""

from __future__ import annotations

import sys

from benchmarks.training.checkpoints import main

if __name__ == "__main__":
    sys.exit(main())

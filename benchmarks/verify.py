"""`python -m benchmarks.verify`: see `benchmarks.verification.verify_run`."""

from __future__ import annotations

import sys

from benchmarks.verification.verify_run import main

if __name__ == "__main__":
    sys.exit(main())

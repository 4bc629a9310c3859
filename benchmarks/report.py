"""`python -m benchmarks.report`: see `benchmarks.reporting.run_report`."""

from __future__ import annotations

import sys

from benchmarks.reporting.run_report import main

if __name__ == "__main__":
    sys.exit(main())

"""Verifies that the frameworks compute the same function.

In the order of use: `cases` (what is computed), `evidence` (collecting tensors), `comparison` (verdicts), `diagnosis`
(likely causes), `case_runner` (all networks and frameworks), `certificates` (records). `benchmarks.verify` is the
command.
"""

"""What a certificate covers, and which certificate covers a row of a report.

`verified_networks` (which form of a network is verified), `code_identity` and `covered_code` (which code decides the
numbers), `lookup` (stored findings, and what a row says). `benchmarks.verification` makes certificates; training and
timing look them up.
"""

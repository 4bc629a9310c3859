"""The proof that frameworks compute the same thing: what is put to them, what is compared, and what is kept of it.

Read `evidence`, then `certificate`; `benchmarks.verify` is the command.
"""

"""Adapters whose slices of training are profiled by their framework's own profiler, operation by operation.

Each leaves, in the file that `$ONESPEC_PROFILE` names, the seconds of each kind of operation in its last slice.
"""

"""Adapters whose training slices are profiled by the framework's own profiler, operation by operation.

Each writes the seconds of every operation in its last slice to the file that `$ONESPEC_PROFILE` names, as JSON.
"""

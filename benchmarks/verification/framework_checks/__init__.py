"""Checks of a framework beside those of each network, once per framework, mode and precision.

The case of a network asks for a few steps with one set of hyperparameters. What a training run does beyond that does
not depend on the network, so it is asked once, of small networks: every optimizer with drawn hyperparameters, batches
of other sizes, 120 steps, state, large and non-finite values, counts, the masks of dropout in training, the worker, and
the trainer. Each check is a script that runs in the framework's worker and in the NumPy reference; the tensors of both
are compared. Every limit is fixed, in float32 too: no framework has a vote.
"""

from benchmarks.verification.framework_checks.checks import CHECKS, STAGES, Check
from benchmarks.verification.framework_checks.judgment import LIMITS, judged
from benchmarks.verification.framework_checks.session import NETWORKS, PROBE, Script, Session

__all__ = ["CHECKS", "LIMITS", "NETWORKS", "PROBE", "STAGES", "Check", "Script", "Session", "judged"]

"""For pytest-benchmark: one training slice and one inference slice of every network in every framework."""

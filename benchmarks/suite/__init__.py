"""One training slice and one inference slice of every network in every framework, for pytest-benchmark."""

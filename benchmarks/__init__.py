"""What is done with the networks: train, verify, measure, compare, report. Imports no framework."""

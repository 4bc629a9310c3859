"""Runs the shards of a plan on the nodes of a cluster, through engines that exist: Slurm by submitit, and Ray."""

"""Source of a network for a framework, as a person writes it by hand.

`program` orders the layers in groups by their names, `blocks` finds the groups that repeat and their arguments, and one
module for each framework prints the program. Nothing here imports a framework.
"""

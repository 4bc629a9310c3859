"""JAX: one step as a jitted function of all arrays, for any network that is a function of its arrays.

A library of layers on JAX gives the forward pass; threads, devices, loss, gradients, optimizers and the loop over the
steps are here, the same for all of them.
"""

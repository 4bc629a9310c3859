"""What a network is, and how each framework builds it."""

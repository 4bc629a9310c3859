"""Adapters, each without one of its choices. Every file is run by its framework's interpreter."""

"""Adapters that lack one of the choices of ours each. Every file is run by its framework's interpreter."""

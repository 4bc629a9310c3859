"""Importers of files that other programs have written."""

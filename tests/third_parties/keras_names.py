"""Prints the names of the networks of keras.applications."""

from __future__ import annotations

import inspect
import json

import keras

if __name__ == "__main__":
    print(json.dumps([name for name, _ in inspect.getmembers(keras.applications, inspect.isfunction)]))

"""Prints the names of torchvision's classifiers of images."""

from __future__ import annotations

import json

from tests.third_parties.torchvision_nets import torchvision

if __name__ == "__main__":
    print(json.dumps(torchvision.models.list_models(module=torchvision.models)))

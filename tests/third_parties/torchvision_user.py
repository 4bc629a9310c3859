"""torchvision's networks with random weights, as a user's file: `torchvision_user.py:net("resnet18")`."""

from torchvision_nets import torchvision


def net(name):
    options = {"init_weights": False} if name.startswith(("googlenet", "inception")) else {}
    return torchvision.models.get_model(name, **options)

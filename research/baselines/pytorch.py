"""Networks in bare PyTorch, eager: `Bare`, the same with channels last, and the article's own loop, `Article`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from frameworks.adapter import Setting, Split, Trained
from frameworks.arrays import Array
from frameworks.bare_loop import Loop
from frameworks.spec import Network
from frameworks.training import SGD, Training


def lenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.Sigmoid(),
        nn.AvgPool2d(2, 2),
        nn.Conv2d(6, 16, 5),
        nn.Sigmoid(),
        nn.AvgPool2d(2, 2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.Sigmoid(),
        nn.Linear(120, 84),
        nn.Sigmoid(),
        nn.Linear(84, 10),
    )


def vgg_small() -> nn.Module:
    layers: list[nn.Module] = []
    channels = 1
    for convolutions, width in ((1, 8), (1, 16), (2, 32), (2, 64), (2, 64)):
        for _ in range(convolutions):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2, 2))
    dense = [nn.Linear(64 * 7 * 7, 512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, 512), nn.ReLU(), nn.Dropout(0.5)]
    return nn.Sequential(*layers, nn.Flatten(), *dense, nn.Linear(512, 10))


class Block(nn.Module):
    """A basic residual block, as in torchvision."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


def resnet18() -> nn.Module:
    stem = [nn.Conv2d(3, 64, 7, 2, padding=3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    ways = ((64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2))
    blocks = [Block(*way) for way in (*ways, (512, 512, 1))]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


MODELS = {"lenet": lenet, "vgg_small": vgg_small, "resnet18": resnet18}


class Bare(Loop):
    """The tutorials' training loop on tensors that are in memory."""

    layout = torch.contiguous_format

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, training, setting)
        torch.set_num_threads(setting.threads)
        torch.manual_seed(0)
        self.net = MODELS[network.name]().to(memory_format=self.layout)
        for module in self.net.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.xavier_uniform_(module.weight)
        self.arrays = {name: (tuple(array.shape), True) for name, array in self.net.named_parameters()}
        momentum = training.optimizer.momentum if isinstance(training.optimizer, SGD) else 0.0
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.9, momentum=momentum)
        self.loss = nn.CrossEntropyLoss()
        self.data: dict[str, tuple[Tensor, Tensor]] = {}

    @staticmethod
    def versions() -> dict[str, str]:
        return {"torch": torch.__version__}

    def settings(self) -> dict[str, str]:
        return {"mode": "eager", "threads": str(torch.get_num_threads())}

    def load(self, split: Split, images: Array, labels: Array) -> None:
        self.data[split] = torch.tensor(images), torch.tensor(labels)

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        images, labels = self.data["train"]
        self.net.train()
        self.optimizer.param_groups[0]["lr"] = float(lrs[0])
        losses, correct = [], torch.zeros((), dtype=torch.int64)
        for batch in torch.from_numpy(order).split(batch_size):
            x, y = self.pixels(images[batch]), labels[batch]
            logits = self.net(x)
            loss = self.loss(logits, y)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses.append(loss.detach())
            correct += (logits.argmax(1) == y).sum()
        return Trained(torch.stack(losses).double().numpy(), int(correct))

    @torch.inference_mode()
    def predict(self, split: Split, batch_size: int) -> Array:
        self.net.eval()
        images, _ = self.data[split]
        return torch.cat([self.net(self.pixels(batch)) for batch in images.split(batch_size)]).numpy()

    def pixels(self, images: Tensor) -> Tensor:
        return images.to(torch.float32, memory_format=self.layout) / 255


class ChannelsLast(Bare):
    """The same in the layout that PyTorch's tutorial on memory formats advises."""

    layout = torch.channels_last


class SampleDataset(Dataset):  # type: ignore[misc, type-arg]
    """One sample at a time, as in `torchvision.datasets.FashionMNIST`: a PIL image, then `ToTensor`."""

    def __init__(self, images: Array, labels: Array) -> None:
        self.images, self.labels = images, labels
        self.transform = to_tensor()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.images[index, 0])), int(self.labels[index])


OPERATORS: list[torch.library.Library] = []  # a declaration lasts as long as its object


def to_tensor() -> Any:
    """`torchvision.transforms.ToTensor()`."""
    if not OPERATORS and not torch.version.cuda:
        # torchvision's wheel is built for CUDA; beside another PyTorch its import stops unless these two are declared.
        OPERATORS.append(torch.library.Library("torchvision", "DEF"))
        for operator in ("nms", "qnms"):
            OPERATORS[0].define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from torchvision import transforms

    return transforms.ToTensor()


class Article(Bare):
    """Article 000's loop: the data loader of its d2l package, with four processes that convert images one by one.

    It draws its own order, and runs in the default environment: spinning threads, the system's allocator.
    """

    def load(self, split: Split, images: Array, labels: Array) -> None:
        self.samples = {**getattr(self, "samples", {}), split: SampleDataset(np.array(images), np.array(labels))}

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        chosen = torch.utils.data.Subset(self.samples["train"], order.tolist())
        self.net.train()
        losses, correct = [], 0
        for x, y in DataLoader(chosen, batch_size, shuffle=True, num_workers=4):
            self.optimizer.zero_grad()
            logits = self.net(x)
            loss = self.loss(logits, y)
            loss.backward()
            self.optimizer.step()
            losses.append(float(loss))
            correct += int((logits.argmax(1) == y).sum())
        return Trained(np.array(losses), correct)

    @torch.inference_mode()
    def predict(self, split: Split, batch_size: int) -> Array:
        self.net.eval()
        return torch.cat([self.net(x) for x, _ in DataLoader(self.samples[split], batch_size, num_workers=4)]).numpy()

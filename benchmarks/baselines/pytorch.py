"""LeNet in bare PyTorch, eager: `Bare`, and the article's own loop, `Article`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from frameworks.adapter import Array, Setting, Trained, resident_peak


class Bare:
    """The tutorials' training loop on tensors that are in memory."""

    arrays: dict[str, Any] = {}  # noqa: RUF012
    departures = ()

    def __init__(self, network: object, training: object, setting: Setting) -> None:
        torch.set_num_threads(setting.threads)
        torch.manual_seed(0)
        self.net = nn.Sequential(
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
        for module in self.net:
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.xavier_uniform_(module.weight)
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.9)
        self.loss = nn.CrossEntropyLoss()
        self.data: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    @staticmethod
    def versions() -> dict[str, str]:
        return {"torch": torch.__version__}

    def settings(self) -> dict[str, str]:
        return {"mode": "eager", "threads": str(torch.get_num_threads())}

    def load(self, split: str, images: Array, labels: Array) -> None:
        self.data[split] = torch.tensor(images), torch.tensor(labels)

    def train(self, order: Array, batch_size: int, rates: Array, seed: int) -> Trained:
        images, labels = self.data["train"]
        self.net.train()
        losses, correct = [], torch.zeros((), dtype=torch.int64)
        for batch in torch.from_numpy(order).split(batch_size):
            x, y = images[batch].float() / 255, labels[batch]
            logits = self.net(x)
            loss = self.loss(logits, y)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses.append(loss.detach())
            correct += (logits.argmax(1) == y).sum()
        return Trained(torch.stack(losses).double().numpy(), int(correct))

    @torch.inference_mode()
    def predict(self, split: str, batch_size: int) -> Array:
        self.net.eval()
        images, _ = self.data[split]
        return torch.cat([self.net(batch.float() / 255) for batch in images.split(batch_size)]).numpy()

    def peak_memory(self) -> dict[str, int]:
        return {"resident": resident_peak()}


class Pictures(Dataset):  # type: ignore[misc, type-arg]
    """One picture at a time, as `torchvision.datasets.FashionMNIST` gives them: a PIL image, then `ToTensor`."""

    def __init__(self, images: Array, labels: Array) -> None:
        self.images, self.labels = images, labels
        self.transform = to_tensor()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.images[index, 0])), int(self.labels[index])


OPERATORS: list[torch.library.Library] = []  # what is declared lasts as long as the object


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
    """Article 000's loop: the loader of its d2l package, four processes that turn one picture after the other.

    It draws its own order, and runs in the environment as it is: spinning threads, the system's allocator.
    """

    def load(self, split: str, images: Array, labels: Array) -> None:
        self.pictures = {**getattr(self, "pictures", {}), split: Pictures(np.array(images), np.array(labels))}

    def train(self, order: Array, batch_size: int, rates: Array, seed: int) -> Trained:
        chosen = torch.utils.data.Subset(self.pictures["train"], order.tolist())
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
    def predict(self, split: str, batch_size: int) -> Array:
        self.net.eval()
        return torch.cat([self.net(x) for x, _ in DataLoader(self.pictures[split], batch_size, num_workers=4)]).numpy()

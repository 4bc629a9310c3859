"""Networks as people write them, to be imported: nothing here knows of onespec."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class LeNet(nn.Module):
    def __init__(self, num_classes=10):
        super(LeNet, self).__init__()  # noqa: UP008  as people write it
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, (5, 5))
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), (2, 2))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = x.view(-1, self.num_flat_features(x))
        x = F.relu(self.fc1(x))
        x = F.dropout(x, training=self.training)
        x = torch.tanh(self.fc2(x))
        return F.log_softmax(self.fc3(x), dim=1)

    def num_flat_features(self, x):
        num_features = 1
        for s in x.size()[1:]:
            num_features *= s
        return num_features


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, in_planes, planes, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_planes, planes, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, kernel_size=3, stride=1, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_planes != planes:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_planes, planes, kernel_size=1, stride=stride, bias=False), nn.BatchNorm2d(planes)
            )

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        out = F.relu(out)
        return out


class ResNet(nn.Module):
    def __init__(self, block, num_blocks, num_classes=10):
        super().__init__()
        self.in_planes = 8
        self.conv1 = nn.Conv2d(3, 8, kernel_size=3, stride=1, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.layer1 = self._make_layer(block, 8, num_blocks[0], stride=1)
        self.layer2 = self._make_layer(block, 16, num_blocks[1], stride=2)
        self.linear = nn.Linear(16 * block.expansion, num_classes)

    def _make_layer(self, block, planes, num_blocks, stride):
        layers = []
        for s in [stride] + [1] * (num_blocks - 1):
            layers.append(block(self.in_planes, planes, s))
            self.in_planes = planes * block.expansion
        return nn.Sequential(*layers)

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer1(out)
        out = self.layer2(out)
        out = F.avg_pool2d(out, out.size()[3])
        out = out.view(out.size(0), -1)
        return self.linear(out)


def ResNet6():
    return ResNet(BasicBlock, [2, 2])


class PaddedShortcut(nn.Module):
    """The shortcut of He et al. 2015, option A: every second pixel, and channels of zeros."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.block = nn.Sequential(nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 1))
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        x = self.conv1(x)
        x = self.block(x) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4), "constant", 0)
        return self.fc(x.mean(dim=(2, 3)))


class BasicConv2d(nn.Module):
    def __init__(self, in_channels, out_channels, **kwargs):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, bias=False, **kwargs)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)), inplace=True)


class Inception(nn.Module):
    def __init__(self, in_planes):
        super().__init__()
        self.branch1x1 = BasicConv2d(in_planes, 8, kernel_size=1)
        self.branch3x3_1 = BasicConv2d(in_planes, 6, kernel_size=1)
        self.branch3x3_2a = BasicConv2d(6, 4, kernel_size=(1, 3), padding=(0, 1))
        self.branch3x3_2b = BasicConv2d(6, 4, kernel_size=(3, 1), padding=(1, 0))
        self.branch_pool = BasicConv2d(in_planes, 8, kernel_size=1)

    def forward(self, x):
        branch3x3 = self.branch3x3_1(x)
        branch_pool = F.avg_pool2d(x, kernel_size=3, stride=1, padding=1, count_include_pad=False)
        return torch.cat(
            [
                self.branch1x1(x),
                self.branch3x3_2a(branch3x3),
                self.branch3x3_2b(branch3x3),
                self.branch_pool(branch_pool),
            ],
            1,
        )


class GoogLeNet(nn.Module):
    """Branches, and an auxiliary classifier that only training has."""

    def __init__(self):
        super().__init__()
        self.pre_layers = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(True))
        self.a3 = Inception(12)
        self.maxpool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.b3 = Inception(24)
        self.aux = nn.Sequential(nn.AdaptiveAvgPool2d((4, 4)), nn.Flatten(), nn.Linear(24 * 16, 10))
        self.dropout = nn.Dropout(0.4)
        self.linear = nn.Linear(24, 10)

    def forward(self, x):
        x = self.a3(self.pre_layers(x))
        aux = self.aux(x) if self.training else None
        x = self.b3(self.maxpool(x))
        x = F.adaptive_avg_pool2d(x, 1)
        x = torch.flatten(x, 1)
        x = self.linear(self.dropout(x))
        if self.training:
            return x, aux
        return x


class SELayer(nn.Module):
    def __init__(self, channel, reduction=4):
        super().__init__()
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(
            nn.Linear(channel, channel // reduction, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(channel // reduction, channel, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x):
        b, c, _, _ = x.size()
        y = self.avg_pool(x).view(b, c)
        y = self.fc(y).view(b, c, 1, 1)
        return x * y.expand_as(x)


class Swish(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x)


class HSwish(nn.Module):
    def forward(self, x):
        return x * F.relu6(x + 3.0) / 6.0


class SENet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), Swish()),
            SELayer(8),
            nn.Conv2d(8, 8, 3, padding="same", groups=8),
            HSwish(),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
        )
        self.classifier = nn.Sequential(nn.Dropout(p=0.2), nn.Linear(8, 10), nn.Softmax(dim=1))

    def forward(self, x):
        x = self.features(x).mean([2, 3])
        return self.classifier(x)


def channel_shuffle(x, groups):
    batchsize, num_channels, height, width = x.data.size()
    x = x.view(batchsize, groups, num_channels // groups, height, width)
    x = torch.transpose(x, 1, 2).contiguous()
    return x.view(batchsize, -1, height, width)


class ShuffleUnit(nn.Module):
    def __init__(self, planes):
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(planes // 2, planes // 2, 3, padding=1) for _ in range(2)])

    def forward(self, x):
        x1, x2 = x.chunk(2, dim=1)
        for conv in self.convs:
            x2 = F.leaky_relu(conv(x2), 0.1)
        return channel_shuffle(torch.cat((x1, x2), dim=1), 2)


class ShuffleNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.units = nn.ModuleDict({"first": ShuffleUnit(8), "second": ShuffleUnit(8)})
        self.fc = nn.Linear(8 * 4 * 4, 10)

    def forward(self, x):
        x = self.stem(x)
        for unit in self.units.values():
            x = unit(x)
        if x.shape[2] > 4:
            x = F.max_pool2d(x, x.shape[2] // 4)
        return self.fc(x.reshape(x.shape[0], -1))


class DropPath(nn.Module):
    def __init__(self, drop_prob=0.0):
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x):
        if self.drop_prob == 0.0 or not self.training:
            return x
        keep = 1 - self.drop_prob
        mask = torch.rand((x.shape[0],) + (1,) * (x.ndim - 1)) < keep
        return x / keep * mask


class Block(nn.Module):
    """ConvNeXt's, with dense layers over the channels."""

    def __init__(self, dim, drop_path):
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, kernel_size=7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.pwconv1 = nn.Linear(dim, 4 * dim)
        self.act = nn.GELU()
        self.pwconv2 = nn.Linear(4 * dim, dim)
        self.gamma = nn.Parameter(0.1 * torch.rand(dim), requires_grad=True)
        self.drop_path = DropPath(drop_path)

    def forward(self, x):
        input = x
        x = self.dwconv(x)
        x = x.permute(0, 2, 3, 1)  # (N, C, H, W) -> (N, H, W, C)
        x = self.norm(x)
        x = self.pwconv2(self.act(self.pwconv1(x)))
        if self.gamma is not None:
            x = self.gamma * x
        x = x.permute(0, 3, 1, 2)
        return input + self.drop_path(x)


class ConvNeXt(nn.Module):
    """The images are normalized inside."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1))
        self.stem = nn.Conv2d(3, 8, kernel_size=4, stride=4)
        self.stages = nn.Sequential(Block(8, 0.0), Block(8, 0.1))
        self.norm = nn.LayerNorm(8, eps=1e-6)
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        x = (x - self.mean) / self.std
        x = self.stages(self.stem(x))
        return self.head(self.norm(x.mean([-2, -1])))


class DenseLayer(nn.Module):
    def __init__(self, num_input, growth):
        super().__init__()
        self.bn = nn.BatchNorm2d(num_input)
        self.conv = nn.Conv2d(num_input, growth, 3, padding=1, bias=False)

    def forward(self, features):
        return self.conv(F.relu(self.bn(torch.cat(features, 1))))


class DenseNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv0 = nn.Conv2d(3, 6, 3, padding=1)
        self.layers = nn.ModuleList(DenseLayer(6 + 4 * i, 4) for i in range(3))
        self.norm = nn.BatchNorm2d(18, affine=False, momentum=0.2)
        self.classifier = nn.Linear(18, 10)

    def forward(self, x):
        features = [self.conv0(x)]
        for layer in self.layers:
            features.append(layer(features))
        x = F.relu(self.norm(torch.cat(features, 1)))
        return self.classifier(nn.functional.adaptive_avg_pool2d(x, (1, 1)).flatten(1))

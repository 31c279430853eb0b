"""Residual networks (He et al. 2016, arXiv 1512.03385): small ones for small images, deep ones in their first form.

The small ones are three stages of basic blocks (section 4.2 there). The deep ones are four stages of bottlenecks, with
the stride in the first 1x1 convolution as in the paper; torchvision has it in the 3x3 convolution. Shortcuts that
change the shape are 1x1 convolutions with batch normalization. Names of parameters are those of torchvision's ResNets,
so that weights trained elsewhere fit.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_WIDTHS = (16, 32, 64)
_DEEP_WIDTHS = (64, 128, 256, 512)
_EXPANSION = 4


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, H / stride, W / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(out)) + shortcut)


class SmallResNet(nn.Module):
    """A 3x3 convolution, three stages of `blocks` blocks (16, 32, 64 channels), global average, one linear layer."""

    def __init__(self, blocks: int, channels: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, _WIDTHS[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(_WIDTHS[0])
        self.relu = nn.ReLU()
        self.layer1 = _stage(blocks, _WIDTHS[0], _WIDTHS[0], 1)
        self.layer2 = _stage(blocks, _WIDTHS[0], _WIDTHS[1], 2)
        self.layer3 = _stage(blocks, _WIDTHS[1], _WIDTHS[2], 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(_WIDTHS[2], classes)
        _initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map images [N, C, H, W] to logits [N, classes]."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class Bottleneck(nn.Module):
    """A 1x1 convolution with the stride, a 3x3 and a 1x1 convolution to four times the width, and a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = _EXPANSION * width
        self.conv1 = nn.Conv2d(inputs, width, 1, stride, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, H, W] to [N, 4 * width, H / stride, W / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        return self.relu(self.bn3(self.conv3(out)) + shortcut)


class BottleneckResNet(nn.Module):
    """A 7x7 convolution, a pooling, four stages of bottlenecks (256 to 2048 channels), global average, a linear layer.

    Args:
        blocks: of each stage: (3, 4, 6, 3) for 50 layers, (3, 8, 36, 3) for 152.
        channels: of the images.
        classes: outputs.
    """

    def __init__(self, blocks: tuple[int, int, int, int], channels: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, _DEEP_WIDTHS[0], 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(_DEEP_WIDTHS[0])
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = _DEEP_WIDTHS[0]
        stages = []
        for width, count in zip(_DEEP_WIDTHS, blocks, strict=True):
            first = Bottleneck(inputs, width, 1 if width == _DEEP_WIDTHS[0] else 2)
            inputs = _EXPANSION * width
            stages.append(nn.Sequential(first, *(Bottleneck(inputs, width, 1) for _ in range(count - 1))))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inputs, classes)
        _initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map images [N, C, H, W] to logits [N, classes]."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


def _initialize(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def _stage(blocks: int, inputs: int, outputs: int, stride: int) -> nn.Sequential:
    first = BasicBlock(inputs, outputs, stride)
    return nn.Sequential(first, *(BasicBlock(outputs, outputs, 1) for _ in range(blocks - 1)))

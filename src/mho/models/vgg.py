"""VGG-like networks for small images, sized for training on a few processor cores.

Their wide layers need more than one 256x256 crossbar at 8 bit and 4-bit cells, so weight bits matter to their latency.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

VGG9 = (32, "pool", 64, 96, "pool", 96, 128, "pool", 128, 128, 128)
"""713 k parameters and 39 M multiply-accumulates for 32x32 colour images and ten classes."""
VGG11 = (32, "pool", 64, 64, "pool", 128, 128, 128, "pool", 256, 256, 256, "pool", 256)
"""2.5 M parameters and 64 M multiply-accumulates, nearly all of them at 16x16 and below, where processors are quick."""


class SmallVgg(nn.Module):
    """3x3 convolutions with batch normalization and ReLU, max pools between, global average, one linear layer."""

    def __init__(self, widths: tuple[int | str, ...], channels: int, classes: int) -> None:
        """Make it of `widths`: outputs of each convolution, and "pool" for a max pool of 2x2."""
        super().__init__()
        layers: list[nn.Module] = []
        width = channels
        for entry in widths:
            if isinstance(entry, str):
                layers.append(nn.MaxPool2d(2))
                continue
            layers += [nn.Conv2d(width, entry, 3, padding=1, bias=False), nn.BatchNorm2d(entry), nn.ReLU()]
            width = entry
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(width, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Map images [N, C, H, W] to logits [N, classes]."""
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))

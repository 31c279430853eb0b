"""Two small detectors for colour images of 416 x 416: Tiny YOLOv3 and Tiny YOLOv4.

Sources of the shapes: Redmon and Farhadi 2018 (arXiv 1804.02767) and Bochkovskiy et al. 2020 (arXiv 2004.10934), in the
tiny forms that their authors published. Both have outputs on two grids, at 1/32 and at 1/16 of the image's size, for
each cell and each of three anchors: box (4), objectness (1) and classes, as the last convolution gives them; boxes are
decoded by whoever uses them.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

_ANCHORS = 3
_BOX_NUMBERS = 5


class ConvBlock(nn.Module):
    """A convolution that keeps the size (divided by its stride), batch normalization and a leaky ReLU of slope 0.1."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.activation = nn.LeakyReLU(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, H / stride, W / stride]."""
        return self.activation(self.bn(self.conv(x)))


class DensePool(nn.Module):
    """The maximum of each pixel and those to its right and below: a 2x2 pooling that keeps the size."""

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        return functional.max_pool2d(x, 2, 1, padding=1)[..., 1:, 1:]


class TinyYoloV3(nn.Module):
    """Seven convolutions with poolings between them, and a head for each of two grids: 13 convolutions."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        widths = (channels, 16, 32, 64, 128, 256)
        blocks: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            blocks += [ConvBlock(inputs, outputs, 3), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*blocks[:-1])
        self.deep = nn.Sequential(
            nn.MaxPool2d(2), ConvBlock(256, 512, 3), DensePool(), ConvBlock(512, 1024, 3), ConvBlock(1024, 256, 1)
        )
        self.coarse = _head(256, 512, classes)
        self.up = nn.Sequential(ConvBlock(256, 128, 1), nn.Upsample(scale_factor=2))
        self.fine = _head(128 + 256, 256, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map images [N, C, H, W] to [N, 3 * (5 + classes), H / 32, W / 32] and the same at 1/16."""
        features = self.features(x)
        deep = self.deep(features)
        return self.coarse(deep), self.fine(torch.cat((self.up(deep), features), 1))


class PartialStage(nn.Module):
    """A cross-stage partial block: half of the channels take a detour through two convolutions; the width doubles."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.entry = ConvBlock(width, width, 3)
        self.first = ConvBlock(width // 2, width // 2, 3)
        self.second = ConvBlock(width // 2, width // 2, 3)
        self.exit = ConvBlock(width, width, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map [N, width, H, W] to [N, 2 * width, H, W], and to its second half alone."""
        entered = self.entry(x)
        first = self.first(entered.chunk(2, 1)[1])
        detour = self.exit(torch.cat((self.second(first), first), 1))
        return torch.cat((entered, detour), 1), detour


class TinyYoloV4(nn.Module):
    """Two convolutions, three cross-stage partial blocks and a head for each of two grids: 21 convolutions."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(ConvBlock(channels, 32, 3, 2), ConvBlock(32, 64, 3, 2))
        self.stage1, self.stage2, self.stage3 = PartialStage(64), PartialStage(128), PartialStage(256)
        self.pool = nn.MaxPool2d(2)
        self.deep = nn.Sequential(ConvBlock(512, 512, 3), ConvBlock(512, 256, 1))
        self.coarse = _head(256, 512, classes)
        self.up = nn.Sequential(ConvBlock(256, 128, 1), nn.Upsample(scale_factor=2))
        self.fine = _head(128 + 256, 256, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map images [N, C, H, W] to [N, 3 * (5 + classes), H / 32, W / 32] and the same at 1/16."""
        x = self.stem(x)
        for stage in (self.stage1, self.stage2, self.stage3):
            x, detour = stage(x)
            x = self.pool(x)
        deep = self.deep(x)
        return self.coarse(deep), self.fine(torch.cat((self.up(deep), detour), 1))


def _head(inputs: int, width: int, classes: int) -> nn.Sequential:
    return nn.Sequential(ConvBlock(inputs, width, 3), nn.Conv2d(width, _ANCHORS * (_BOX_NUMBERS + classes), 1))

"""A small UNet that segments: which digit, or none, does each pixel of a textured canvas show?

mho run examples/unet.toml

The canvases are made here, of scikit-learn's digits; those of the test show digits that training has not seen.
"""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

SIZE, DIGITS = 32, 2
"""Pixels of a side of a canvas, and digits that it shows."""
TRAIN, TEST = 2000, 500
WIDTH = 16
BACKGROUND = 10
"""Its class; those of digits are 0..9."""


def make_data(root):  # noqa: ARG001 - nothing lies anywhere
    """Return (canvases [N, 1, 32, 32], classes of pixels [N, 32, 32]) to train and to test on."""
    digits = load_digits()
    images = np.kron(digits.images / 16, np.ones((2, 2))).astype(np.float32)  # 16 x 16
    generator = np.random.default_rng(0)
    order = generator.permutation(len(images))
    return tuple(
        _draw(images[part], digits.target[part], count, generator)
        for part, count in ((order[400:], TRAIN), (order[:400], TEST))
    )


def _draw(images, classes, count, generator):
    canvases = np.stack([_texture(generator) for _ in range(count)])
    labels = np.full((count, SIZE, SIZE), BACKGROUND)
    for canvas, label in zip(canvases, labels, strict=True):
        for column in range(DIGITS):  # side by side, each at any height
            chosen = generator.integers(len(images))
            top = generator.integers(SIZE - 16 + 1)
            place = slice(top, top + 16), slice(16 * column, 16 * column + 16)
            ink = images[chosen] > 0.4
            canvas[place] = np.where(ink, images[chosen], canvas[place])
            label[place][ink] = classes[chosen]
    return canvases[:, None].astype(np.float32), labels


def _texture(generator):
    """Return waves of any direction and length with noise, 0..0.6."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    along, across, phase = generator.uniform(-0.8, 0.8), generator.uniform(-0.8, 0.8), generator.uniform(0, 2 * np.pi)
    waves = 0.3 + 0.2 * np.sin(along * rows + across * columns + phase)
    return waves + generator.uniform(-0.1, 0.1, (SIZE, SIZE))


def make_network(classes, input_shape):
    """Return it untrained: two halvings and two doublings, across which equal sizes are joined."""
    return UNet(classes, input_shape[0])


class UNet(nn.Module):
    """Pairs of convolutions at 1, 1/2 and 1/4 of the size; transposed convolutions back; 117 k parameters."""

    def __init__(self, classes, channels):
        super().__init__()
        self.down1, self.down2 = _pair(channels, WIDTH), _pair(WIDTH, 2 * WIDTH)
        self.bottom = _pair(2 * WIDTH, 4 * WIDTH)
        self.grow2 = nn.ConvTranspose2d(4 * WIDTH, 2 * WIDTH, 2, stride=2)
        self.up2 = _pair(4 * WIDTH, 2 * WIDTH)
        self.grow1 = nn.ConvTranspose2d(2 * WIDTH, WIDTH, 2, stride=2)
        self.up1 = _pair(2 * WIDTH, WIDTH)
        self.classes = nn.Conv2d(WIDTH, classes, 1)
        self.halve = nn.MaxPool2d(2)

    def forward(self, x):
        """Take [N, C, H, W]; return scores [N, classes, H, W]."""
        fine = self.down1(x)
        middle = self.down2(self.halve(fine))
        coarse = self.bottom(self.halve(middle))
        middle = self.up2(torch.cat([self.grow2(coarse), middle], dim=1))
        fine = self.up1(torch.cat([self.grow1(middle), fine], dim=1))
        return self.classes(fine)


def _pair(inputs, outputs):
    layers = []
    for count in (inputs, outputs):
        layers += [nn.Conv2d(count, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)

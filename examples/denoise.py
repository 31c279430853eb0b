"""A denoising autoencoder: scikit-learn's digits with noise added, and the digits as they are as targets.

mho run examples/denoise.toml
"""

import numpy as np
from sklearn.datasets import load_digits
from torch import nn

NOISE = 0.3
"""Standard deviation of the noise; pixels are 0..1."""


def make_data(root):  # noqa: ARG001 - nothing lies anywhere
    """Return (noisy, clean) digits, [N, 1, 8, 8], to train and to test on."""
    clean = (load_digits().images / 16).astype(np.float32)[:, None]
    generator = np.random.default_rng(0)
    noisy = (clean + NOISE * generator.normal(size=clean.shape)).astype(np.float32)
    order = generator.permutation(len(clean))
    train, test = order[400:], order[:400]
    return (noisy[train], clean[train]), (noisy[test], clean[test])


def make_network(outputs, input_shape):  # noqa: ARG001 - both are known
    """Return an autoencoder: two convolutions to 4 x 4 x 32, and back."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Upsample(scale_factor=2, mode="nearest"),
        nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 1, 3, padding=1),
    )  # fmt: skip

"""A run of seconds: a small network, and data of bright squares in one of three places."""

from __future__ import annotations

from pathlib import Path

import numpy as np

NETWORK = """
from torch import nn

def make(classes, input_shape):
    return nn.Sequential(
        nn.Conv2d(input_shape[0], 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes),
    )
"""

HEAD = """
[run]
name = "tiny"
seed = 3
threads = 1

[network]
name = "net.py:make"

[data]
name = "npz"
root = "data.npz"
calibration = 40
validation = 60

[accelerator]
name = "pelke2026-4bit"

"""
"""Run, network, data and accelerator."""

CONFIG = (
    HEAD
    + """[float_training]
epochs = 12
batch_size = 32
learning_rate = 0.1

[evaluation.training]
steps = 2
batch_size = 32
learning_rate = 0.01

[search]
method = "random"
budget = 8
allowed_drop = 20
hold_first_last = "none"

[qat]
epochs = 3
batch_size = 32
learning_rate = 0.01

[simulation]
reference_images = 40
interpreter_images = 10
"""
)


def write_squares(folder: Path, train: int = 300, test: int = 100) -> None:
    """Write data.npz: bright squares in one of three places."""
    generator, count = np.random.default_rng(0), train + test
    labels = np.arange(count) % 3
    images = generator.normal(0, 0.6, (count, 1, 8, 8)).astype(np.float32)
    for image, label in zip(images, labels, strict=True):
        image[0, 2 : 2 + 2 * label + 1, 1:6] += 1.0
    of_train, of_test = slice(0, train), slice(train, None)
    np.savez(
        folder / "data.npz",
        x_train=images[of_train], y_train=labels[of_train], x_test=images[of_test], y_test=labels[of_test],
    )  # fmt: skip


def write_tiny_run(folder: Path) -> Path:
    """Write a configuration beside its network and its data into a folder, and return its file."""
    write_squares(folder)
    (folder / "net.py").write_text(NETWORK)
    (folder / "config.toml").write_text(CONFIG)
    return folder / "config.toml"

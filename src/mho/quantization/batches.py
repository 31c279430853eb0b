"""Batches of a split: their order and their augmentation, all drawn from one generator."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mho.data.dataset import Split
from mho.errors import DataError
from mho.network.graph import Network

_BYTES_AT_ONCE = 1 << 23
"""Of inputs in float32: 13 photos of 224 x 224."""
_MOVES: Mapping[str, tuple[int, str]] = MappingProxyType({"flip-crop": (8, "constant"), "flip-shift": (16, "reflect")})
"""By augmentation: images move by up to their height over this number, at least a pixel; what comes in at borders."""
AUGMENTATIONS = ("none", *_MOVES)
"""Images are mirrored left to right half the time, and moved: by up to an eighth of the height, and black comes in
(`flip-crop`), or by up to a sixteenth, and the border is reflected (`flip-shift`; Jordan, arXiv 2404.00498)."""


def steps_per_epoch(samples: int, batch_size: int) -> int:
    """Return the number of batches: all of one size; an incomplete last one is left out (or is the only one)."""
    return max(1, samples // batch_size)


def shuffled_batches(
    split: Split, batch_size: int, augmentation: str, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield one epoch: inputs float32 [n, ...], normalized, and targets [n, ...].

    Raises:
        DataError: an augmentation of images for samples that are none, or that are too small for it.
    """
    if augmentation != "none":
        _check_images(split, augmentation)
    order = torch.randperm(len(split), generator=generator).numpy()
    for start in range(0, steps_per_epoch(len(split), batch_size) * batch_size, batch_size):
        batch = split.take(order[start : start + batch_size])
        if augmentation != "none":
            batch = _flip_and_move(batch, generator, augmentation)
        yield torch.from_numpy(batch.inputs(slice(None))), torch.from_numpy(np.array(batch.labels))


def samples_at_once(split: Split) -> int:
    """Return how many samples a processor is given at a time, at most.

    Photos by the hundred leave tensors that no cache holds, and take three times as long as by the dozen.
    """
    return max(1, _BYTES_AT_ONCE // (4 * math.prod(split.sample_shape)))


def samples_within(network: Network, values: int, most: int) -> int:
    """Return how many samples at a time leave the largest tensor of a network within so many values: 1 to `most`."""
    largest = max(math.prod(shape) for shape in network.shapes.values())
    return max(1, min(most, values // max(1, largest)))


def ordered_batches(split: Split, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield every sample once, in order."""
    for start in range(0, len(split), batch_size):
        part = slice(start, start + batch_size)
        yield torch.from_numpy(split.inputs(part)), torch.from_numpy(np.array(split.labels[part]))


def _check_images(split: Split, augmentation: str) -> None:
    if split.images.ndim != 4 or split.labels.ndim > 2:
        raise DataError(
            f"samples of shape {split.sample_shape} and targets of shape {list(split.labels.shape[1:])} cannot be "
            f"augmented by {augmentation}",
            expected="samples [C, H, W], and targets that do not move with them",
        )
    height, width = split.images.shape[2:]
    margin = _margin(height, augmentation)
    if _MOVES[augmentation][1] == "reflect" and margin >= min(height, width):
        raise DataError(
            f"samples of shape {split.sample_shape} are too small to be augmented by {augmentation}",
            expected=f"heights and widths above {margin}, as many pixels as are reflected",
            hint="flip-crop has no such limit",
        )


def _margin(height: int, augmentation: str) -> int:
    """Return by how many pixels images move at most."""
    return max(1, height // _MOVES[augmentation][0])


def _flip_and_move(batch: Split, generator: torch.Generator, augmentation: str) -> Split:
    """Mirror half of the images, and move each."""
    images = torch.from_numpy(np.array(batch.images))
    count, channels, height, width = images.shape
    margin = _margin(height, augmentation)
    padded = functional.pad(images, (margin, margin, margin, margin), mode=_MOVES[augmentation][1])
    shifts = torch.randint(2 * margin + 1, (2, count, 1), generator=generator)
    flips = torch.rand(count, 1, generator=generator) < 0.5
    columns = torch.arange(width).expand(count, width)
    columns = torch.where(flips, width - 1 - columns, columns) + shifts[1]
    rows = torch.arange(height) + shifts[0]
    picked = (rows[:, :, None] * padded.shape[3] + columns[:, None, :]).reshape(count, 1, -1)
    moved = padded.flatten(2).gather(2, picked.expand(count, channels, -1)).reshape(images.shape)
    return replace(batch, images=moved.numpy())

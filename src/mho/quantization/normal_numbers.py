"""Random numbers of a layer on chips: drawn anew, or taken from a table that all layers and policies share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor

_LEAST_TABLE = 1 << 21
"""Numbers of the smallest table, 8 MiB."""
_TABLE_OVER_ROW = 4
"""A table has so many times as many numbers as the rows that are taken from it, at least."""
_LARGEST_ROW = 1 << 22
"""Longer rows are drawn, so that no table takes more than 64 MiB."""
_GOLDEN = 0x9E3779B97F4A7C15
"""2^64 over the golden ratio: multiples of it are spread evenly."""


class Numbers(ABC):
    """Independent standard normal numbers for tensors, whose first axis is chips or samples ("rows")."""

    @abstractmethod
    def draw(self, shape: tuple[int, ...] | torch.Size) -> Tensor:
        """Return numbers, float32; each call has others. They may not be changed in place."""

    @abstractmethod
    def draw_places(self, rate: float, rows: int, count: int) -> Tensor:
        """Return which of `count` things happen at a rate in each of the rows, int64, numbered row by row."""


class DrawnNumbers(Numbers):
    """Numbers that are drawn on the device that they are for."""

    def __init__(self, device: torch.device, seed: int) -> None:
        self._device = device
        self._generator = None if device.type == "meta" else torch.Generator(device).manual_seed(seed)

    def draw(self, shape: tuple[int, ...] | torch.Size) -> Tensor:
        """Return numbers, float32."""
        return torch.empty(shape, device=self._device).normal_(generator=self._generator)

    def draw_places(self, rate: float, rows: int, count: int) -> Tensor:
        """Return which of `count` things happen in each of the rows: their number is drawn for all together."""
        if self._generator is None:
            return torch.zeros(0, dtype=torch.int64, device=self._device)
        mean = torch.full((), rate * rows * count, device=self._device)
        happening = int(torch.poisson(mean, generator=self._generator))
        return torch.randint(rows * count, (happening,), generator=self._generator, device=self._device)


class NumberTables:
    """Tables of standard normal numbers on one device, each made when it is first asked for."""

    def __init__(self, device: torch.device, seed: int) -> None:
        self._device, self._seed = device, seed
        self._tables: dict[int, Tensor] = {}

    @property
    def device(self) -> torch.device:
        """Where they lie."""
        return self._device

    def table(self, row: int) -> Tensor:
        """Return the table that rows of so many numbers are taken from."""
        size = max(_LEAST_TABLE, 1 << (_TABLE_OVER_ROW * row - 1).bit_length())
        if size not in self._tables:
            generator = torch.Generator(self._device).manual_seed(self._seed)
            self._tables[size] = torch.empty(size, device=self._device).normal_(generator=generator)
        return self._tables[size]


class TableNumbers(Numbers):
    """Numbers that are views of a table, which costs nothing.

    Each draw starts at a place of its own, and its rows lie at even distances: they do not depend on how many rows are
    taken at a time. Draws may overlap, but then the same number stands at different places of a tensor.
    """

    def __init__(self, tables: NumberTables, seed: int, first: int, rows: int) -> None:
        """Prepare.

        Args:
            tables: what numbers are taken from.
            seed: tells them from those of other layers and purposes.
            first: of the rows that are drawn.
            rows: that there are in all.
        """
        self._tables, self._seed, self._first, self._rows = tables, seed, first, rows
        self._draws = 0

    def draw(self, shape: tuple[int, ...] | torch.Size) -> Tensor:
        """Return numbers, float32; the shape has some of the rows."""
        self._draws += 1
        seed = (self._seed + self._draws * _GOLDEN) % (1 << 63)
        size = math.prod(shape[1:])
        if size > _LARGEST_ROW:
            return torch.stack([self._draw_row(seed + self._first + row, shape[1:]) for row in range(shape[0])])
        table = self._tables.table(max(size, self._rows))
        spare = len(table) - size
        step = max(1, spare // (2 * self._rows))
        start = seed % (spare - step * (self._rows - 1))
        return table.as_strided((shape[0], size), (step, 1), start + self._first * step).view(shape)

    def _draw_row(self, seed: int, shape: tuple[int, ...] | torch.Size) -> Tensor:
        return DrawnNumbers(self._tables.device, seed % (1 << 63)).draw(shape)

    def draw_places(self, rate: float, rows: int, count: int) -> Tensor:
        """Return which of `count` things happen in each of the rows."""
        self._draws += 1
        drawn = DrawnNumbers(self._tables.device, (self._seed + self._draws * _GOLDEN) % (1 << 63))
        places = drawn.draw_places(rate, self._rows, count)
        first = self._first * count
        return places[(places >= first) & (places < first + rows * count)] - first


@dataclass(frozen=True)
class VirtualChips:
    """Some of several chips that layers compute on at once, and their samples, one chip after the other.

    Attributes:
        tables: what random numbers are taken from.
        seed: of all chips.
        first, chips, of_chips: the first one, how many, and how many there are in all.
        first_sample, samples_of_chip, of_samples: the same of samples; each chip has as many.
    """

    tables: NumberTables
    seed: int
    first: int
    chips: int
    of_chips: int
    first_sample: int
    samples_of_chip: int
    of_samples: int

    def numbers(self, seed: int, *, of_samples: bool) -> Numbers:
        """Return numbers whose rows are chips, or samples."""
        rows = (self.first_sample, self.of_samples) if of_samples else (self.first, self.of_chips)
        return TableNumbers(self.tables, seed, *rows)

    def take(self, first: int, chips: int) -> VirtualChips:
        """Return some of these chips, from the `first` of these on."""
        sample = self.first_sample + first * self.samples_of_chip
        return replace(self, first=self.first + first, chips=chips, first_sample=sample)

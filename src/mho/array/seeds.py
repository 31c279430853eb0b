"""Where the randomness of a chip comes from: one seed, from which every crossbar draws each of its properties alone.

Streams depend on nothing but the seed, the crossbar, the purpose and a number: neither on the order in which crossbars
are made, nor on batches, threads or engines, nor on which other properties are ideal. So the same seed is the same
chip, and a sweep of one property leaves the others as they were.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

from mho.errors import ConfigError


class Purpose(IntEnum):
    """What a stream is drawn for; the numbers are part of what a seed means.

    Attributes:
        VARIATION: factors that cells have for good.
        FAULTS: which cells are stuck.
        DRIFT: exponents of cells.
        ADC: offsets and gains of converters.
        WRITES: errors of writes, numbered.
        READS: noise of reads, numbered.
        PULSES: errors of the pulses of writes, numbered as these.
    """

    VARIATION = 0
    FAULTS = 1
    DRIFT = 2
    ADC = 3
    WRITES = 4
    READS = 5
    PULSES = 6


@dataclass(frozen=True)
class CrossbarSeed:
    """The seed of one crossbar of a chip.

    Attributes:
        chip: seed of the chip, a whole number from 0.
        crossbar: its number on the chip, from 0.
        are_spares: of its spare columns, which leave all else as it is.

    Raises:
        ConfigError: either is negative.
    """

    chip: int
    crossbar: int = 0
    are_spares: bool = False

    def __post_init__(self) -> None:
        if self.chip < 0 or self.crossbar < 0:
            raise ConfigError(f"seed {self.chip} of crossbar {self.crossbar}", expected="whole numbers from 0")

    @property
    def spares(self) -> CrossbarSeed:
        """The seed of the spare columns."""
        return replace(self, are_spares=True)

    def stream(self, purpose: Purpose, number: int = 0) -> np.random.Generator:
        """Return a new stream of random numbers.

        Args:
            purpose: what it is drawn for.
            number: of the write or of the read.
        """
        key = (self.crossbar, int(purpose), number, *([1] if self.are_spares else []))
        sequence = np.random.SeedSequence(self.chip, spawn_key=key)
        return np.random.Generator(np.random.PCG64(sequence))

"""What encodings are counted by: the integers that cells must hold, rows an input, columns an output.

Which cell holds which digit is told by `mho.mapping.contents`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mho.errors import MappingError
from mho.hardware.spec import Encoding
from mho.mapping.slicing import Count

CORRECTION = -1
"""Instead of an output: the column gives the sum of the inputs."""

_MAX_MAGNITUDE = 1 << 24


@dataclass(frozen=True)
class StoredRange:
    """The integers that a stored operand may take: qmin, qmin + step, ..., qmax."""

    qmin: int
    qmax: int
    step: int = 1

    def __post_init__(self) -> None:
        if not -_MAX_MAGNITUDE <= self.qmin < self.qmax <= _MAX_MAGNITUDE or self.step not in (1, 2):
            raise MappingError(
                f"stored integers {self.qmin}..{self.qmax} in steps of {self.step} cannot be encoded",
                expected=f"qmin < qmax, within +-{_MAX_MAGNITUDE}, step 1 or 2",
            )

    @classmethod
    def of_grid(cls, qmin: int, qmax: int, bits: int) -> StoredRange:
        """Return the range of a quantization grid; one bit from -1 to 1 is {-1, +1}, without zero."""
        return cls(qmin, qmax, 2 if bits == 1 and (qmin, qmax) == (-1, 1) else 1)

    @property
    def magnitude(self) -> int:
        """Largest absolute value."""
        return max(-self.qmin, self.qmax)

    def check(self, weights: NDArray[np.integer]) -> None:
        """Hold integers against the range. Raises `MappingError`."""
        if not weights.size:
            return
        low, high = min(int(weights.min()), self.qmin), max(int(weights.max()), self.qmax)
        on_grid = self.step == 1 or bool((weights % self.step == self.qmin % self.step).all())
        if low < self.qmin or high > self.qmax or not on_grid:
            raise MappingError(
                f"stored integers reach from {low} to {high}",
                expected=f"{self.qmin}..{self.qmax}" + (f" in steps of {self.step}" if self.step > 1 else ""),
            )


def count_rows(inputs: Count, encoding: Encoding) -> Count:
    """Return the physical rows of a matrix with `inputs` logical inputs. Source: arXiv 2601.21737."""
    return inputs * _signs_per_row(encoding)


def count_cols(outputs: Count, num_weight_slices: Count, encoding: Encoding) -> Count:
    """Return the physical columns of a matrix with `outputs` logical outputs. Source: arXiv 2601.21737."""
    columns = outputs * num_weight_slices * _signs_per_column(encoding)
    return columns + count_correction_cols(encoding)


def count_correction_cols(encoding: Encoding) -> int:
    """Return the columns of ones of one matrix, one position an MVM. Source: arXiv 2601.21737."""
    return int(encoding is Encoding.OFFSET)


def _signs_per_row(encoding: Encoding) -> int:
    return 2 if encoding is Encoding.DIFFERENTIAL_ROWS else 1


def _signs_per_column(encoding: Encoding) -> int:
    return 2 if encoding is Encoding.DIFFERENTIAL_COLUMNS else 1

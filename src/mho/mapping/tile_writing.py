"""What it takes to write a tile: bits that come from outside of the chip, and time.

    bits from outside = cells * cell bits; none for an operand that is stored dynamically: buffers hold it
    transfer of a block = bits from outside / speed of the link, rounded up to whole ps; 0 where the link is ideal
    write of a tile = write latency, or the transfer of its blocks where that is longer

`mho.mapping.activity` counts what writing takes beside time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mho.formats import PS_PER_US
from mho.hardware.spec import Accelerator
from mho.mapping.slicing import Count

_BITS_PER_BYTE = 8


@dataclass(frozen=True)
class WritingTime:
    """How long the write of one tile takes.

    Attributes:
        write_ps: of the crossbar, ps.
        transfer_ps: of the link to the outside in that time, ps.
    """

    write_ps: int
    transfer_ps: int

    @classmethod
    def of(cls, blocks: Iterable[int], accelerator: Accelerator, *, is_stored_dynamically: bool) -> WritingTime:
        """Return the time of a tile.

        Args:
            blocks: cells in use of each block that is written with it: one, and one of each layer that joins.
            accelerator: its write latency, and the speed of its link.
            is_stored_dynamically: True where the tile holds an operand.
        """
        transfer_ps = sum(
            _transfer_ps(
                count_memory_bits(cells, accelerator, is_stored_dynamically=is_stored_dynamically), accelerator
            )
            for cells in blocks
        )
        return cls(max(accelerator.write_latency_ps, transfer_ps), transfer_ps)


def count_memory_bits(cells: Count, accelerator: Accelerator, *, is_stored_dynamically: bool) -> Count:
    """Count the bits from outside of the chip that so many cells are written with."""
    return cells * (0 if is_stored_dynamically else accelerator.crossbar.cell_bits)


def _transfer_ps(bits: int, accelerator: Accelerator) -> int:
    speed = accelerator.memory.bytes_per_us
    return 0 if isinstance(speed, str) else -(-bits * PS_PER_US // (_BITS_PER_BYTE * speed))

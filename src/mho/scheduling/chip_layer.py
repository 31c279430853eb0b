"""What a work graph is made of: one layer as it lies on a chip, derived from a mapping or from a program."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import LayerMapping
from mho.network.layers import MvmLayer
from mho.scheduling.options import CopyCost, chip_window
from mho.scheduling.work_graph import Integers, LayerWork, Need

SUM_BYTES = 4
"""Bytes of one sum, or part of a sum, that goes from core to core: an accumulator of 32 bits."""


@dataclass(frozen=True)
class ChipLayer:
    """One layer on a chip.

    Attributes:
        layer: the logical layer.
        cost: what one copy takes.
        window: positions of a window along height and width.
        act_bits, stored_bits: of the codes that stream in, and of those that are stored.
        row_tiles: tiles above each other that add up to one sum.
        col_tiles: tiles beside each other that read the same inputs.
        mapping: what all of it follows from, where that is known.
    """

    layer: MvmLayer
    cost: CopyCost
    window: tuple[int, int]
    act_bits: int
    stored_bits: int
    row_tiles: int
    col_tiles: int
    mapping: LayerMapping | None

    @classmethod
    def of(cls, mapping: LayerMapping, accelerator: Accelerator) -> ChipLayer:
        """Return the layer of a mapping. Raises `ScheduleError` for one that is not for a chip."""
        window, part = chip_window(mapping), None if mapping.is_digital else mapping.parts[0]
        return cls(
            layer=mapping.layer,
            cost=CopyCost.of(mapping, accelerator),
            window=(window.height.count, window.width.count),
            act_bits=mapping.bits.act_bits,
            stored_bits=mapping.bits.weight_bits,
            row_tiles=part.row_tiles if part else 1,
            col_tiles=part.col_tiles if part else 1,
            mapping=mapping,
        )

    @property
    def is_digital(self) -> bool:
        """True where the digital unit of a core computes the layer."""
        return not self.cost.crossbars

    @property
    def row_blocks(self) -> int:
        """Parts of an input that tiles read: of each group of tiles as many as lie above each other."""
        return max(1, self.cost.crossbars // self.col_tiles)

    def work(
        self,
        name: str,
        needs: Iterable[Need] = (),
        stored_needs: Iterable[tuple[str, int]] = (),
        stored_bytes: Iterable[Integers] = (),
    ) -> LayerWork:
        """Return the layer of a work graph; arguments as of `LayerWork`."""
        cost, sum_bytes = self.cost, SUM_BYTES * self.layer.outputs * self.layer.repeat * math.prod(self.window)
        return LayerWork(
            name=name,
            known_mapping=self.mapping,
            crossbars=cost.crossbars,
            windows=cost.windows,
            window_ps=cost.window_ps,
            needs=tuple(needs),
            stored_needs=tuple(stored_needs),
            write_ps=cost.write_ps,
            stored_bytes=tuple(stored_bytes),
            sum_bytes=sum_bytes,
            tile_sum_bytes=-(-sum_bytes * self.row_tiles // max(1, cost.crossbars)),
            row_tiles=self.row_tiles,
            row_blocks=self.row_blocks,
            unit=0 if self.is_digital else None,
            digital_ps=cost.digital_ps,
        )

"""The mapping of a layer that takes the least energy, or the least product of energy and time.

Energies are those of `mho.mapping.unit_energies`, with what one crossbar and its core lose meanwhile. The search of
`mho.mapping.layer_search` adds up what candidates count, so it finds the least energy itself. A product does not add
up: it is compared between the fastest mapping, the one of the least energy, and the one of the least sum of both as
shares of these. What is compared at last is exact; while searching, a row's input bits come from buffers once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from mho.hardware.mapping_rules import MappingObjective
from mho.hardware.spec import Accelerator, Encoding
from mho.mapping.candidates import Array, Weighing
from mho.mapping.event_counts import UnitTimes
from mho.mapping.layer_mapping import LayerMapping
from mho.mapping.layer_search import LayerSearch
from mho.mapping.mapping_choice import WIDTHS, MappingChoice
from mho.mapping.stacks import NEVER, UNITS, Axis, StackSpace, StackTimes
from mho.mapping.unit_energies import UnitEnergies, leakage_aj_per_ps, price_mapping
from mho.network.layers import MvmLayer
from mho.policy import BitWidths

Searches = Mapping[Encoding, LayerSearch]


class PricedChoice(MappingChoice):
    """The mappings of one layer at one width of its stored integers, by energy."""

    def __init__(self, layer: MvmLayer, weight_bits: int, accelerator: Accelerator, batch: int) -> None:
        super().__init__(layer, weight_bits, accelerator, batch)
        self._batch, self._leakage = batch, leakage_aj_per_ps(accelerator)
        self._known: dict[int, LayerMapping] = {}

    def times_ps(self, act_bits: Sequence[int]) -> Array:
        """Return the time of a batch for each of the activation widths, int64, ps."""
        return np.array([self._price(self.mapping(self._widths(bits)))[0] for bits in act_bits], dtype=np.int64)

    def mapping(self, bits: BitWidths) -> LayerMapping:
        """Return the best mapping for the given widths."""
        if bits.act_bits not in self._known:
            self._known[bits.act_bits] = min(self._list(self._widths(bits.act_bits)), key=self._value)
        return replace(self._known[bits.act_bits], bits=bits)

    def mapping_within(self, bits: BitWidths, rows: int, cols: int) -> LayerMapping:  # noqa: ARG002 - it fits by itself
        """Return the same mapping: it enters a stack as it is."""
        return self.mapping(bits)

    def stack_times(self, act_bits: Sequence[int]) -> StackTimes:
        """Return what the layer takes in a stack for each of the activation widths: its write less, where it fits."""
        space = StackSpace(self._accelerator.crossbar)
        extra = np.full((len(act_bits), len(Axis), UNITS + 1), NEVER, np.int64)
        mappings = [self.mapping(self._widths(bits)) for bits in act_bits]
        for own, mapping in zip(extra, mappings, strict=True):
            if mapping.tiles != 1 or len(mapping.parts) != 1 or self._layer.is_stored_dynamically:
                continue
            part = mapping.parts[0]
            for axis, lines in ((Axis.ROWS, part.rows), (Axis.COLS, part.cols)):
                units = -(-lines * part.groups_per_tile // space.unit(axis))
                own[axis, units : space.count(axis) + 1] = -self._accelerator.write_latency_ps
        return StackTimes(extra, np.array([mapping.is_digital for mapping in mappings]))

    def _widths(self, act_bits: int) -> BitWidths:
        return BitWidths(self._weight_bits, act_bits)

    def _price(self, mapping: LayerMapping) -> tuple[int, float]:
        """Return time and energy of a batch, ps and aJ."""
        prices = UnitTimes.of(self._accelerator, mapping.encoding, self._batch)
        time_ps = prices.time_ps(mapping.counts, is_stored_dynamically=self._layer.is_stored_dynamically)
        return time_ps, price_mapping(mapping, self._accelerator, time_ps, batch=self._batch)

    def _value(self, mapping: LayerMapping) -> tuple[float, float]:
        """Return what is least, and what decides between equals."""
        time_ps, energy_aj = self._price(mapping)
        if self._accelerator.mapping.objective is MappingObjective.ENERGY:
            return energy_aj, time_ps
        return energy_aj * time_ps, time_ps

    def _list(self, bits: BitWidths) -> Iterator[LayerMapping]:
        """Yield what is compared: one mapping in each encoding by each weighing, and the digital unit."""
        number = self._number(bits.act_bits)
        if self._may_price_digital:
            yield self.digital_mapping(bits)
            is_too_rough = self.bound is not None and self._least_errors[number] > self.bound
            if self._must_be_digital or is_too_rough:
                return
        for searches in self._ways:
            for encoding, search in searches.items():
                if np.isfinite(search.time[number]):
                    yield self.build(bits, encoding, search.pieces(number))

    @property
    def _may_price_digital(self) -> bool:
        """True where the digital unit may take the layer, and what it takes is specified."""
        is_priced = self._accelerator.energy.operation_pj is not None or self._must_be_digital
        return self._can_be_digital and is_priced

    @cached_property
    def _ways(self) -> tuple[Searches, ...]:
        """The searches by each weighing."""
        least = self._search_by(0.0, 1.0)
        if self._accelerator.mapping.objective is MappingObjective.ENERGY:
            return (least,)
        bits, last = self._widths(WIDTHS[-1]), len(self._slices) - 1
        fastest, frugal = (
            [
                self._price(self.build(bits, encoding, search.pieces(last)))
                for encoding, search in searches.items()
                if np.isfinite(search.time[last])
            ]
            for searches in (self._searches, least)
        )
        time_ps, energy_aj = min(one[0] for one in fastest), min(one[1] for one in frugal)
        return self._searches, least, self._search_by(1 / max(time_ps, 1), 1 / max(energy_aj, 1.0))

    def _search_by(self, of_time: float, of_energy: float) -> Searches:
        """Search by so much for each ps and each aJ."""
        time = (of_time + of_energy * self._leakage) * self._unit_ps
        return {
            encoding: self._search(
                replace(
                    search.candidates,
                    weighing=Weighing(UnitEnergies.of(self._accelerator, encoding), time, of_energy),
                )
            )
            for encoding, search in self._searches.items()
        }

"""What each thing that a layer does takes: the accelerator's unit energies, by the counts of `mho.mapping.activity`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from mho.formats import AJ_PER_PJ
from mho.hardware.section import to_steps
from mho.hardware.spec import Accelerator, Encoding
from mho.mapping.activity import Activity, count_activity
from mho.mapping.adc_resolution import conversion_bits
from mho.mapping.layer_mapping import LayerMapping

_BITS_PER_BYTE = 8

Unit = Decimal | int | None


@dataclass(frozen=True)
class UnitEnergies:
    """Unit energies, aJ; None where the accelerator does not specify them.

    Attributes:
        reads: of one MVM.
        cell_reads: of one cell in an MVM.
        driven_rows: of one row that is driven.
        conversions: of one conversion.
        cell_writes: of one cell that is written, with all pulses of the budget that it takes on average.
        operations: of one operation of the digital unit.
        buffer_bits, hop_bits, memory_bits: of one bit.
    """

    reads: Unit
    cell_reads: Unit
    driven_rows: Unit
    conversions: Unit
    cell_writes: Unit
    operations: Unit
    buffer_bits: Unit
    hop_bits: Unit
    memory_bits: Unit

    @classmethod
    def of(cls, accelerator: Accelerator, encoding: Encoding) -> UnitEnergies:
        """Return the unit energies of an accelerator; an ideal ADC's bits depend on the encoding."""
        unit, write = accelerator.energy, _to_aj(accelerator.energy.cell_write_pj)
        return cls(
            reads=_to_aj(unit.mvm_pj),
            cell_reads=_to_aj(unit.cell_read_pj),
            driven_rows=_to_aj(unit.dac_pj),
            conversions=unit.conversion_aj(conversion_bits(accelerator, encoding)),
            cell_writes=None if write is None else write * accelerator.pulses_per_cell,
            operations=_to_aj(unit.operation_pj),
            buffer_bits=_per_bit(unit.buffer_pj_per_byte),
            hop_bits=_per_bit(unit.hop_pj_per_byte),
            memory_bits=_per_bit(unit.memory_pj_per_byte),
        )

    def total_aj(self, activity: Activity) -> float:
        """Return what an activity takes of all that is specified, aJ, rounded; leakage aside."""
        return float(self.weigh(**{one.name: getattr(activity, one.name) for one in fields(activity)}))

    def weigh(self, **counts: int | NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the same of counts by their names, numbers or arrays of one shape."""
        return np.asarray(sum(np.multiply(count, float(getattr(self, name) or 0)) for name, count in counts.items()))


def leakage_aj_per_ps(accelerator: Accelerator) -> float:
    """Return what one crossbar and its core lose in a picosecond, aJ: a microwatt is one."""
    return float(accelerator.energy.crossbar_leakage_uw or 0) + float(accelerator.energy.core_leakage_uw or 0)


def price_mapping(mapping: LayerMapping, accelerator: Accelerator, time_ps: int, *, batch: int = 1) -> float:
    """Return the energy of a layer on one crossbar for a batch, aJ: all that is specified, leakage for its time.

    Args:
        mapping: how the layer lies in crossbars.
        accelerator: as the layer sees it (`mho.mapping.adc_resolution.layer_hardware`).
        time_ps: of the batch.
        batch: samples that share the writes of weights.
    """
    activity = count_activity(mapping, accelerator, batch=batch)
    spent = UnitEnergies.of(accelerator, mapping.encoding).total_aj(activity)
    return spent + leakage_aj_per_ps(accelerator) * time_ps


def _to_aj(picojoules: Decimal | None) -> int | None:
    return None if picojoules is None else to_steps(picojoules, 6)


def _per_bit(picojoules_per_byte: Decimal | None) -> Decimal | None:
    return None if picojoules_per_byte is None else picojoules_per_byte * AJ_PER_PJ / _BITS_PER_BYTE

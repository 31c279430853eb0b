"""What a program's instructions take: which column sums ADCs convert, alone or as differences, and all times."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mho.array.layout import begin_pairs
from mho.hardware.converters import ColumnDifference
from mho.hardware.spec import Encoding
from mho.mapping.event_counts import EventCounts, UnitTimes
from mho.mapping.slicing import ceil_divide
from mho.program.instructions import DigitalProduct, Layer, LoadInput, ShiftAdd, SumInputs
from mho.program.program import Program, walk


def list_differences(program: Program, item: ShiftAdd) -> NDArray[np.bool_]:
    """Return which columns of a read begin a pair that is converted as its difference, bool [cols]."""
    cols = slice(item.cols.start, item.cols.stop)
    if program.accelerator.converters.column_difference is ColumnDifference.DIGITAL:
        return np.zeros(len(item.cols), dtype=np.bool_)
    output = program.constants[item.column_offsets][cols].astype(np.int64)
    # A column that is left out has no weight: it is converted alone.
    weight = np.where(output < 0, 1, program.constants[item.column_weights][cols].astype(np.int64))
    return begin_pairs(output, weight)


def count_shift_add(program: Program, item: ShiftAdd) -> EventCounts[int]:
    """Count what adding up the columns of one MVM takes: rounds of conversion and operations of the digital unit."""
    accelerator = program.accelerator
    conversions = len(item.cols) - int(list_differences(program, item).sum())
    rounds = ceil_divide(conversions, accelerator.converters.count_adcs(accelerator.crossbar.cols))
    return EventCounts(0, 0, rounds, conversions)


def count_operations(program: Program, item: SumInputs | DigitalProduct) -> int:
    """Count what summing a vector, or multiplying it with a stored matrix, takes of the digital unit."""
    outputs = len(program.constants[item.column_targets]) if isinstance(item, DigitalProduct) else 1
    return len(program.constants[item.row_offsets]) * outputs


def price_layer(program: Program, layer: Layer) -> UnitTimes:
    """Return what each thing that a layer does takes for one sample, with ADC bits of its own where it has some."""
    return UnitTimes.of(program.accelerator.with_adc_bits(layer.adc_bits), find_encoding(program, layer))


def find_encoding(program: Program, layer: Layer) -> Encoding:
    """Return an encoding whose sums are as large, and signed, as those that a layer converts.

    Instructions do not name encodings: they follow from differences of columns, and from rows that are driven with both
    signs. The sums of all others are alike.
    """
    signs: dict[str, bool] = {}
    for item, _ in walk(layer.body):
        if isinstance(item, ShiftAdd) and list_differences(program, item).any():
            return Encoding.DIFFERENTIAL_COLUMNS
        if isinstance(item, LoadInput) and item.row_signs not in signs:
            signs[item.row_signs] = bool((program.constants[item.row_signs] < 0).any())
    return Encoding.DIFFERENTIAL_ROWS if any(signs.values()) else Encoding.TWOS_COMPLEMENT

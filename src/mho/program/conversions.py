"""What the ADCs do for a program's instructions: which column sums are converted, alone or as differences."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mho.accelerator.converters import ColumnDifference
from mho.array.layout import begin_pairs
from mho.mapping.counts import Counts
from mho.mapping.slicing import ceil_divide
from mho.program.instructions import ShiftAdd
from mho.program.program import Program


def list_differences(program: Program, item: ShiftAdd) -> NDArray[np.bool_]:
    """Tell which columns of a read begin a pair that is converted as its difference, bool [cols]."""
    cols = slice(item.cols.start, item.cols.stop)
    if program.accelerator.converters.column_difference is ColumnDifference.DIGITAL:
        return np.zeros(len(item.cols), dtype=np.bool_)
    output = program.constants[item.column_offsets][cols].astype(np.int64)
    # A column that is left out has no weight: it is converted alone.
    weight = np.where(output < 0, 1, program.constants[item.column_weights][cols].astype(np.int64))
    return begin_pairs(output, weight)


def count_shift_add(program: Program, item: ShiftAdd) -> Counts[int]:
    """Count what adding up the columns of one MVM takes: rounds of conversion and operations of the digital unit."""
    accelerator = program.accelerator
    conversions = len(item.cols) - int(list_differences(program, item).sum())
    rounds = ceil_divide(conversions, accelerator.converters.count_adcs(accelerator.crossbar.cols))
    return Counts(0, 0, rounds, conversions)

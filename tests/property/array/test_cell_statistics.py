"""Moments of cells equal those of sampled cells, whatever is not ideal about them."""

from __future__ import annotations

import math

import numpy as np
from accelerators import make_accelerator, with_array
from hypothesis import given, settings
from hypothesis import strategies as st

from mho.array.cell_statistics import cell_statistics
from mho.array.conductances import Conditions
from mho.array.crossbar import write_crossbar
from mho.array.seeds import CrossbarSeed

ROWS = 4000
ERRORS = 6

deviations = st.sampled_from([0, 0.01, 0.1, 0.4])
arrays = st.fixed_dictionaries(
    {
        "on_off_ratio": st.sampled_from(["infinite", 2, 20]),
        "off_current": st.sampled_from(["subtracted", "kept"]),
        "programming_error": deviations,
        "programming_error_of": st.sampled_from(["range", "conductance"]),
        "pulse_error": deviations,
        "verify_tolerance": deviations,
        "verify_pulses": st.sampled_from([1, 3]),
        "cell_variation": deviations,
        "stuck_on_rate": deviations,
        "stuck_off_rate": deviations,
        "read_noise": deviations,
        "read_noise_of": st.sampled_from(["range", "conductance"]),
        "drift_exponent": deviations,
        "drift_exponent_std": deviations,
        "read_disturb_reads": st.sampled_from(["never", 1000]),
        "read_disturb_towards": st.sampled_from(["lrs", "hrs"]),
    }
)


@settings(max_examples=40)
@given(arrays, st.integers(1, 3), st.sampled_from([None, 100.0]), st.sampled_from([0, 300]), st.integers(0, 99))
def test_moments_are_those_of_sampled_cells(array, cell_bits, elapsed_s, reads, chip):
    levels = 1 << cell_bits
    hardware = with_array(make_accelerator(rows=ROWS, cols=levels, cell_bits=cell_bits), **array)
    conditions = Conditions(elapsed_s, None, reads)
    found = cell_statistics(hardware, conditions)
    digits = np.tile(np.arange(levels), (ROWS, 1))
    cells = write_crossbar(hardware, digits, CrossbarSeed(chip), conditions=conditions)
    kept = found.mean - cell_statistics(with_array(hardware, off_current="subtracted"), conditions).mean
    counts = cells.counts + kept
    error = ERRORS / math.sqrt(ROWS)
    np.testing.assert_array_less(np.abs(counts.mean(axis=0) - found.mean), error * np.sqrt(found.variance) + 1e-3)
    spread = counts.var(axis=0)
    fourth = np.sqrt(((counts - counts.mean(axis=0)) ** 4).mean(axis=0))
    np.testing.assert_array_less(np.abs(spread - found.variance), error * np.maximum(fourth, 3 * found.variance) + 1e-3)
    of_reads = np.zeros_like(counts) if cells.variance is None else cells.variance
    slack = error * np.maximum(of_reads.std(axis=0), found.read_variance) + 1e-3
    np.testing.assert_array_less(np.abs(of_reads.mean(axis=0) - found.read_variance), slack)

"""Moments of cells where they are known in closed form; the property test compares them with sampled cells."""

from __future__ import annotations

import numpy as np
import pytest
from accelerators import make_accelerator, with_array

from mho.array.cell_statistics import cell_statistics
from mho.array.conductances import Conditions
from mho.errors import ConfigError
from mho.hardware.write_verify import WriteVerify

SPAN = 3


def statistics(conditions: Conditions | None = None, **array):
    return cell_statistics(with_array(make_accelerator(cell_bits=2), **array), conditions)


def test_ideal_cells_have_their_levels_and_no_variance():
    found = statistics()
    assert found.mean.tolist() == [0, 1, 2, 3]
    assert not found.variance.any()
    assert not found.read_variance.any()


def test_given_levels_are_the_means():
    assert statistics(levels=[0, 0.25, 0.5, 1]).mean.tolist() == [0, 0.75, 1.5, 3]


def test_errors_of_writes_add_their_variance_and_lift_the_lowest_level():
    """A normal number of deviation s that is cut off below zero has mean s / sqrt(2 pi)."""
    std = 0.02 * SPAN
    found = statistics(programming_error=0.02)
    np.testing.assert_allclose(found.mean, [std / np.sqrt(2 * np.pi), 1, 2, 3], atol=1e-4)
    np.testing.assert_allclose(found.variance[1:], std**2, rtol=1e-3)
    np.testing.assert_allclose(found.variance[0], std**2 * (1 / 2 - 1 / (2 * np.pi)), rtol=1e-2)


def test_pulses_leave_the_variance_of_their_closed_form():
    found = statistics(pulse_error=0.05, pulse_error_ratio=0.8, verify_tolerance=0.02, verify_pulses=5, on_off_ratio=2)
    whole = WriteVerify((0.05, 0.04, 0.032, 0.0256, 0.02048), 0.02)
    np.testing.assert_allclose(found.variance, whole.variance * SPAN**2, rtol=0.03)


def test_rare_stuck_cells_count_with_their_rates():
    on, off, levels = 1e-5, 3e-5, np.arange(4)
    found = statistics(stuck_on_rate=on, stuck_off_rate=off)
    np.testing.assert_allclose(found.mean, levels + on * (SPAN - levels) - off * levels, rtol=1e-12)
    square = on * (SPAN - levels) ** 2 + off * levels**2
    np.testing.assert_allclose(found.variance, square - (found.mean - levels) ** 2, rtol=1e-9)


def test_a_kept_off_current_is_part_of_every_mean():
    off = SPAN / (4 - 1)
    assert statistics(on_off_ratio=4, off_current="kept").mean.tolist() == [off, off + 1, off + 2, off + 3]


def test_read_noise_counts_with_its_squares_and_grows_as_it_should():
    drifting = {"read_noise": 0.01, "read_noise_averaging_s": 1e-3, "on_off_ratio": 4}
    fresh, later = statistics(**drifting), statistics(Conditions(1e4), **drifting)
    np.testing.assert_allclose(fresh.read_variance, (0.01 * (np.arange(4) + 1)) ** 2)
    grown = np.log((1e4 + 1e-3) / 2e-3) / np.log((1 + 1e-3) / 2e-3)
    np.testing.assert_allclose(later.read_variance, grown * fresh.read_variance)


def test_results_are_kept_and_cannot_be_written():
    found = statistics(programming_error=0.02)
    assert statistics(Conditions(5), programming_error=0.02) is found  # cells that do not age
    with pytest.raises(ValueError, match="read-only"):
        found.mean[0] = 1


def test_times_before_the_reference_are_refused():
    with pytest.raises(ConfigError, match="before"):
        statistics(Conditions(1), drift_exponent=0.1, drift_reference_s=10)

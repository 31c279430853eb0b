"""Budgets of pulses: closed forms against draws, limits that are known, and what they cost."""

import math
from decimal import Decimal

import numpy as np
import pytest
from accelerators import make_accelerator

from mho.hardware.array import Array
from mho.hardware.write_verify import WriteVerify

CELLS = 200_000
BUDGETS = [
    WriteVerify((0.05,), 0.02),
    WriteVerify((0.05,) * 6, 0.02),
    WriteVerify((0.1, 0.05, 0.025, 0.0125), 0.015),
    WriteVerify((0.05,) * 3, 0.0),
    WriteVerify((0.05, 0.0), 0.01),
]


def draw(budget, rng, cells):
    """Each cell by itself, as the module tells it: pulses taken, and the error that is left."""
    errors = rng.standard_normal((cells, len(budget.deviations))) * np.array(budget.deviations)
    is_within = np.abs(errors) <= budget.tolerance
    last = np.where(is_within.any(axis=1), is_within.argmax(axis=1), len(budget.deviations) - 1)
    return last + 1, errors[np.arange(cells), last]


@pytest.mark.parametrize("budget", BUDGETS, ids=str)
def test_pulses_and_errors_are_those_of_draws(budget):
    pulses, errors = draw(budget, np.random.default_rng(2), CELLS)
    assert abs(pulses.mean() - float(budget.count_for_row(1))) <= 1e-6 + 4 * pulses.std() / math.sqrt(CELLS)
    squares = errors**2
    assert abs(squares.mean() - budget.variance) < 1e-12 + 4 * squares.std() / math.sqrt(CELLS)
    left = budget.shares_left[-1]
    assert abs((np.abs(errors) > budget.tolerance).mean() - left) <= 4 * math.sqrt(left * (1 - left) / CELLS)


@pytest.mark.parametrize("cells", [2, 16, 256])
def test_a_row_waits_for_its_slowest_cell(cells):
    budget = BUDGETS[1]
    pulses, _ = draw(budget, np.random.default_rng(3), 4000 * cells)
    slowest = pulses.reshape(-1, cells).max(axis=1)
    error = 4 * slowest.std() / math.sqrt(len(slowest))
    assert abs(slowest.mean() - float(budget.count_for_row(cells))) <= 1e-6 + error


def test_without_a_tolerance_all_pulses_are_spent_and_the_last_one_counts():
    budget = WriteVerify((0.4, 0.2, 0.1), 0.0)
    assert (budget.count_for_row(1), budget.count_for_row(256)) == (3, 3)
    assert budget.variance == pytest.approx(0.01, rel=1e-12)
    assert budget.shares_left == (1, 1, 1, 1)


def test_a_large_budget_leaves_the_truncated_gaussian():
    """Its variance: s^2 (1 - 2 a phi(a) / (2 Phi(a) - 1)); pulses are geometric, 1 / p on average."""
    budget = WriteVerify((0.05,) * 500, 0.05)
    inside = math.erf(1 / math.sqrt(2))
    density = math.exp(-0.5) / math.sqrt(2 * math.pi)
    assert budget.variance == pytest.approx(0.0025 * (1 - 2 * density / inside), rel=1e-9)
    assert float(budget.count_for_row(1)) == pytest.approx(1 / inside, abs=1e-6)


def test_more_pulses_never_leave_more_and_never_cost_less():
    found = [WriteVerify((0.05,) * count, 0.02) for count in range(1, 12)]
    variances = [budget.variance for budget in found]
    counts = [budget.count_for_row(64) for budget in found]
    assert variances == sorted(variances, reverse=True)
    assert counts == sorted(counts)
    assert counts[0] == 1


def test_extreme_figures_stay_finite():
    tiny = WriteVerify(tuple(1e-9 * 1e-9**pulse for pulse in range(60)), 10.0)
    assert (tiny.variance, tiny.count_for_row(65536)) == (pytest.approx(1e-18), 1)
    hopeless = WriteVerify((10.0,) * 10_000, 1e-9)
    assert hopeless.count_for_row(1) == pytest.approx(10_000, abs=1)
    assert hopeless.variance == pytest.approx(100, rel=1e-4)


def test_a_budget_is_that_of_the_array():
    array = Array(pulse_error=0.1, pulse_error_ratio=0.5, verify_pulses=3, verify_tolerance=0.02)
    assert WriteVerify.of(array) == WriteVerify((0.1, 0.05, 0.025), 0.02)
    assert WriteVerify.of(Array(verify_pulses=3)) is None


def test_writes_take_the_time_of_their_pulses():
    array = {"pulse_error": 0.05, "verify_tolerance": 0.02, "verify_pulses": 6}
    hardware = make_accelerator(8, 16, array=array)
    pulses = BUDGETS[1].count_for_row(16)
    assert pulses > 5
    assert hardware.write_latency_ps == round(53_000_007 * pulses)
    assert hardware.pulses_per_cell == BUDGETS[1].count_for_row(1) < pulses
    plain = make_accelerator(8, 16)
    assert (plain.write_latency_ps, plain.pulses_per_cell) == (plain.crossbar.write_latency_ps, Decimal(1))
    assert plain.write_latency_us == plain.crossbar.write_latency_us

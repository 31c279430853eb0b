"""Lines for what is written: costs by hand, choices that no exchange betters, pairs that keep together."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mho.array.conductances import Device
from mho.array.placement import MAX_LINES_PLACED, FaultCosts, Lines, place_lines
from mho.errors import ConfigError
from mho.hardware.array import Array

DEVICE = Device(Array(), 2)


def costs_of(digits, significance=None, device=DEVICE):
    digits = np.array(digits)
    weights = np.ones(digits.shape) if significance is None else np.array(significance, dtype=np.float64)
    return FaultCosts.of(device, weights, digits)


def stuck_of(text):
    """One line a row: + in the highest level, - in the lowest, . for a good cell."""
    return np.array([[{"+": 1, "-": -1, ".": 0}[cell] for cell in row] for row in text.split()], dtype=np.int8)


def test_a_stuck_cell_costs_the_square_of_what_it_is_off_times_what_it_counts_for():
    costs = costs_of([[0, 1, 3]], [[1, 0.5, 0]])
    np.testing.assert_allclose(costs.on, [[1, (2 / 3) ** 2 / 4, 0]], atol=2**-28)
    np.testing.assert_allclose(costs.off, [[0, (1 / 3) ** 2 / 4, 0]], atol=2**-28)
    assert (costs.on * 2**28 == np.rint(costs.on * 2**28)).all()
    wrong, error = costs.measure(stuck_of("+-+"), Lines.as_mapped(1, 3))
    assert (wrong, error) == (2, pytest.approx(1 + 1 / 36, abs=1e-7))
    assert costs.measure(stuck_of("-.-"), Lines.as_mapped(1, 3)) == (0, 0)


def test_the_least_deviation_costs_something():
    costs = costs_of([[1]], [[1e-9]])
    assert costs.on[0, 0] == costs.off[0, 0] == 2**-28
    assert costs.measure(stuck_of("-"), Lines.as_mapped(1, 1))[0] == 1


def test_levels_that_are_not_even_cost_what_they_are_off():
    uneven = Device(Array(levels=(0, 0.1, 0.2, 1)), 2)
    np.testing.assert_allclose(costs_of([[2]], device=uneven).on, [[0.64]], atol=2**-28)


def test_digits_that_are_not_known_may_be_any():
    costs = FaultCosts.of(DEVICE, np.array([[1, 0.5]]), None)
    mean = (0 + 1 + 4 + 9) / 4 / 9
    np.testing.assert_allclose([costs.on, costs.off], [[[mean, mean / 4]]] * 2, atol=2**-28)


def test_nothing_moves_where_stuck_cells_hold_what_is_wanted():
    lines = place_lines(costs_of([[3, 0], [0, 3]]), stuck_of("+-. .+."))
    assert (lines.rows.tolist(), lines.cols.tolist()) == ([0, 1], [0, 1])


def test_a_spare_column_takes_the_place_of_a_bad_one():
    costs, stuck = costs_of([[3, 1], [3, 2]]), stuck_of("-.. -..")
    lines = place_lines(costs, stuck)
    assert lines.cols.tolist() == [2, 1]
    assert costs.measure(stuck, lines) == (0, 0)


def test_a_row_moves_where_no_column_can():
    costs = costs_of([[3, 3], [0, 0]])
    lines = place_lines(costs, stuck_of("-- .."))
    assert lines.rows.tolist() == [1, 0]
    assert costs.measure(stuck_of("-- .."), lines) == (0, 0)


@pytest.mark.parametrize("seed", range(6))
def test_no_exchange_of_rows_alone_or_columns_alone_is_better(seed):
    rng = np.random.default_rng(seed)
    costs = costs_of(rng.integers(0, 4, (4, 4)), rng.choice([0.25, 1], (4, 4)))
    stuck = rng.choice([-1, 0, 0, 1], (4, 5)).astype(np.int8)
    lines = place_lines(costs, stuck)
    _, least = costs.measure(stuck, lines)
    assert 0 < least < costs.measure(stuck, Lines.as_mapped(4, 4))[1]
    for rows in itertools.permutations(range(4)):
        assert costs.measure(stuck, Lines(np.array(rows), lines.cols))[1] >= least
    for cols in itertools.permutations(range(5), 4):
        assert costs.measure(stuck, Lines(lines.rows, np.array(cols)))[1] >= least


@pytest.mark.parametrize(("parity", "cols", "bitlines"), [(0, 6, 8), (1, 6, 9), (0, 5, 9), (1, 7, 7)])
def test_pairs_keep_together_and_begin_where_pairs_do(parity, cols, bitlines):
    rng = np.random.default_rng(3)
    moved = 0
    for _ in range(20):
        stuck = rng.choice([-1, 0, 0, 0, 1], (3, bitlines)).astype(np.int8)
        lines = place_lines(costs_of(rng.integers(0, 4, (3, cols))), stuck, parities=(parity,))
        first = np.arange(parity, cols - 1, 2)
        assert (lines.cols[first + 1] == lines.cols[first] + 1).all()
        assert (lines.cols[first] % 2 == parity).all()
        assert len(set(lines.cols.tolist())) == cols
        alone = sorted(set(range(cols)) - set(first) - set(first + 1))
        assert lines.cols[alone].tolist() == alone
        moved += int((lines.cols != np.arange(cols)).any())
    assert moved > 10


def test_pairs_of_both_parities_leave_columns_where_they_are():
    costs = costs_of([[3, 3, 0, 0], [0, 0, 3, 3]])
    lines = place_lines(costs, stuck_of("--.. ..--"), parities={0, 1})
    assert (lines.cols.tolist(), lines.rows.tolist()) == ([0, 1, 2, 3], [1, 0])


def test_too_many_lines_are_an_error():
    many = MAX_LINES_PLACED + 1
    costs = FaultCosts(np.zeros((1, many)), np.zeros((1, many)))
    with pytest.raises(ConfigError, match=str(MAX_LINES_PLACED)):
        place_lines(costs, np.zeros((1, many), dtype=np.int8))

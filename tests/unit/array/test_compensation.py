"""Digits that make up for stuck cells: by hand, against all digits that there are, and as single costs foretell."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mho.array.compensation import NO_WEIGHT, WeightCells

SPAN = 3
"""Two bits a cell."""
COEFFICIENTS = {
    "one cell": (1,),
    "differential": (1, -1),
    "offset slices": (1, 4, 16),
    "differential slices": (1, -1, 4, -4),
    "two's complement": (1, 4, -16),
}


def weights_in_rows(coefficients, rows=1):
    """One weight a row, whose cells are all of it."""
    coefficient = np.tile(np.array(coefficients, dtype=np.int64), (rows, 1))
    weight = np.repeat(np.arange(rows)[:, None], coefficient.shape[1], axis=1)
    return WeightCells(weight, coefficient, np.abs(coefficient) / np.abs(coefficient).max())


def value(coefficients, digits, stuck):
    held = [SPAN if state > 0 else 0 if state < 0 else digit for digit, state in zip(digits, stuck, strict=True)]
    return sum(c * d for c, d in zip(coefficients, held, strict=True))


def compensate(cells, digits, stuck):
    return cells.compensate(np.array(digits), np.array(stuck, dtype=np.int8), SPAN)


def test_the_negative_cell_takes_what_the_positive_one_has_too_much():
    digits, wrong, error = compensate(weights_in_rows((1, -1)), [[1, 0]], [[1, 0]])
    assert (digits.tolist(), wrong, error) == ([[1, 2]], 0, 0)


def test_what_is_out_of_reach_stays():
    digits, wrong, error = compensate(weights_in_rows((1, -1)), [[2, 0]], [[-1, 0]])
    assert (digits.tolist(), wrong) == ([[2, 0]], 1)
    assert error == pytest.approx(4 / 9)


def test_lower_digits_come_as_near_as_they_can():
    """4 is lost, 3 can be raised by 2 to 3: one short of 1, of 12 at most."""
    digits, wrong, error = compensate(weights_in_rows((1, 4)), [[1, 1]], [[0, -1]])
    assert (digits.tolist(), wrong) == ([[3, 1]], 1)
    assert error == pytest.approx((2 / 12) ** 2)


def test_cells_of_two_rows_that_meet_the_same_codes_are_one_weight():
    cells = WeightCells(np.array([[0], [0]]), np.array([[1], [-1]]), np.ones((2, 1)))
    digits, wrong, _ = compensate(cells, [[0], [1]], [[0], [1]])
    assert (digits.tolist(), wrong) == ([[2], [1]], 0)


def test_cells_that_nothing_reads_and_good_ones_stay():
    cells = WeightCells(np.array([[0, 0, NO_WEIGHT], [1, 1, 1]]), np.array([[1, -1, 0], [1, -1, 4]]), np.ones((2, 3)))
    digits, wrong, error = compensate(cells, [[1, 0, 2], [1, 2, 3]], [[0, 0, -1], [0, 0, 1]])
    assert (digits.tolist(), wrong, error) == ([[1, 0, 2], [1, 2, 3]], 0, 0)


@pytest.mark.parametrize("coefficients", COEFFICIENTS.values(), ids=COEFFICIENTS)
def test_one_stuck_cell_is_made_up_for_as_well_as_any_digits_do(coefficients):
    """All weights, all single stuck cells; costs foretell what is left, and digits stay digits."""
    every = np.array(list(itertools.product(range(SPAN + 1), repeat=len(coefficients))))
    cells, largest = weights_in_rows(coefficients, len(every)), SPAN * max(map(abs, coefficients))
    costs = cells.weigh(every, SPAN)
    for place, state in itertools.product(range(len(coefficients)), (1, -1)):
        stuck = np.zeros(every.shape, dtype=np.int8)
        stuck[:, place] = state
        found, _, error = cells.compensate(every, stuck, SPAN)
        assert found.min() >= 0
        assert found.max() <= SPAN
        reachable = np.array(sorted({value(coefficients, digits, stuck[0]) for digits in every}))
        meant = every @ np.array(coefficients)
        held = np.array([value(coefficients, digits, stuck[0]) for digits in found])
        best = np.abs(meant[:, None] - reachable).min(axis=1)
        np.testing.assert_array_equal(np.abs(meant - held), best)
        np.testing.assert_allclose(error, ((best / largest) ** 2).sum())
        cost = (costs.on if state > 0 else costs.off)[:, place]
        np.testing.assert_allclose(cost, (best / largest) ** 2, atol=2**-28)


@pytest.mark.parametrize("coefficients", COEFFICIENTS.values(), ids=COEFFICIENTS)
def test_several_stuck_cells_are_never_made_worse(coefficients):
    rng = np.random.default_rng(1)
    cells, digits = weights_in_rows(coefficients, 500), rng.integers(0, SPAN + 1, (500, len(coefficients)))
    stuck = rng.choice([-1, 0, 0, 1], digits.shape).astype(np.int8)
    found, wrong, error = cells.compensate(digits, stuck, SPAN)
    left, left_as_meant, largest, deviating = [], [], SPAN * max(map(abs, coefficients)), 0
    for before, after, states in zip(digits, found, stuck, strict=True):
        meant = int(before @ np.array(coefficients))
        left.append(abs(value(coefficients, after, states) - meant))
        left_as_meant.append(abs(value(coefficients, before, states) - meant))
        is_off = ((states > 0) & (before < SPAN)) | ((states < 0) & (before > 0))
        deviating += int(is_off.sum()) if left[-1] else 0
        assert (after[states != 0] == before[states != 0]).all()
    assert (np.array(left) <= np.array(left_as_meant)).all()
    assert wrong == deviating
    np.testing.assert_allclose(error, ((np.array(left) / largest) ** 2).sum())
    as_meant = cells.measure(digits, stuck, SPAN)
    np.testing.assert_allclose(as_meant[1], ((np.array(left_as_meant) / largest) ** 2).sum())
    assert as_meant[0] >= wrong

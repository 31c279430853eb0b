"""Wires with resistance: networks solved by hand, limits, and what is refused."""

import re
import warnings
from fractions import Fraction

import numpy as np
import pytest

from mho.array.nodal import solve_nodal
from mho.array.wires import CELLS_AT_ONCE, Wires, transfer_matrix
from mho.errors import ConfigError, DataError
from mho.hardware.array import DrivenEnds


def random_cells(shape, seed=0, low=1e-6, high=1e-4):
    return np.random.default_rng(seed).uniform(low, high, shape)


def parallel(*ohms):
    return 1 / sum(1 / ohm for ohm in ohms)


def close(found, expected, tolerance=1e-14):
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=0)


@pytest.mark.parametrize(("ends", "row_ohm"), [(DrivenEnds.LEFT, 5.0), (DrivenEnds.BOTH, 2.5)])
def test_a_single_cell_is_in_series_with_its_segments(ends, row_ohm):
    close(transfer_matrix(np.array([[0.01]]), Wires(5.0, 3.0, ends)), [[1 / (100 + 3 + row_ohm)]])


def test_two_rows_share_the_lower_column_segment():
    """Cells of 100 and 50 ohm, rows of 5, columns of 3 ohm: with one row driven, the other is a load of the column."""
    upper, lower, segment = 105 + 3, 55, 3
    from_upper = 1 / (upper + parallel(lower, segment)) * lower / (lower + segment)
    from_lower = 1 / (lower + parallel(upper, segment)) * upper / (upper + segment)
    close(transfer_matrix(np.array([[1 / 100], [1 / 50]]), Wires(5.0, 3.0)), [[from_upper], [from_lower]])


def test_two_columns_share_the_first_row_segment():
    near, far, segment = 100 + 3, 50 + 3 + 5, 5
    at_node = 1 - segment / (segment + parallel(near, far))
    close(transfer_matrix(np.array([[1 / 100, 1 / 50]]), Wires(5.0, 3.0)), [[at_node / near, at_node / far]])


def test_two_columns_of_a_row_driven_at_both_ends_see_either_driver():
    """Node voltages u, v by Kirchhoff: (1 - u) / 5 = u / 103 + (u - v) / 5 and (1 - v) / 5 = v / 53 + (v - u) / 5."""
    u, v = np.linalg.solve([[2 / 5 + 1 / 103, -1 / 5], [-1 / 5, 2 / 5 + 1 / 53]], [1 / 5, 1 / 5])
    found = transfer_matrix(np.array([[1 / 100, 1 / 50]]), Wires(5.0, 3.0, DrivenEnds.BOTH))
    close(found, [[u / 103, v / 53]])


@pytest.mark.parametrize("ends", DrivenEnds)
def test_ideal_wires_leave_conductances_as_they_are(ends):
    cells = random_cells((3, 4, 5))
    assert np.array_equal(transfer_matrix(cells, Wires(0, 0, ends)), cells)
    assert transfer_matrix(cells, Wires(0, 0, ends)) is not cells


@pytest.mark.parametrize("ends", DrivenEnds)
@pytest.mark.parametrize(("row_ohm", "col_ohm"), [(0, 2.0), (2.0, 0), (0, 0)])
def test_segments_of_almost_no_resistance_answer_as_those_of_none(ends, row_ohm, col_ohm):
    """Both ways to the answer, ladders and dissection, meet in the limit; none loses digits on the way there."""
    cells = random_cells((9, 12))
    almost = transfer_matrix(cells, Wires(row_ohm or 1e-9, col_ohm or 1e-9, ends))
    close(almost, transfer_matrix(cells, Wires(row_ohm, col_ohm, ends)), 1e-9)


@pytest.mark.parametrize("ends", DrivenEnds)
@pytest.mark.parametrize(("row_ohm", "col_ohm"), [(2.0, 3.0), (0, 3.0), (2.0, 0)])
def test_tiles_are_solved_one_by_one_whatever_stands_beside_them(ends, row_ohm, col_ohm):
    wires, cells = Wires(row_ohm, col_ohm, ends), random_cells((2, 3, 20, 11))
    found = transfer_matrix(cells, wires)
    for index in np.ndindex(2, 3):
        close(found[index], transfer_matrix(cells[index], wires))


def test_more_cells_than_are_reduced_at_once_are_reduced_in_parts():
    side, tiles = 64, CELLS_AT_ONCE // 64**2 + 1
    cells, wires = random_cells((tiles, side, side)), Wires(1.0, 1.0)
    found = transfer_matrix(cells, wires)
    for tile in (0, tiles - 2, tiles - 1):
        close(found[tile], transfer_matrix(cells[tile], wires))


def test_no_tiles_give_no_matrices():
    assert transfer_matrix(np.ones((0, 3, 4)), Wires(1.0, 1.0)).shape == (0, 3, 4)


@pytest.mark.parametrize("shape", [(150, 140), (300, 3), (2, 200)])
def test_large_arrays_equal_the_nodal_solution(shape):
    cells, wires = random_cells(shape), Wires(1.0, 1.0)
    volts = np.random.default_rng(1).random((2, shape[0]))
    close(volts @ transfer_matrix(cells, wires), solve_nodal(cells, volts, wires).currents_ampere, 1e-10)


def exact_transfer(cells, wires):
    """T in rational numbers: every node but one driver at one volt and the grounds eliminated by Gauss."""
    rows, cols = cells.shape
    row_g, col_g = 1 / Fraction(wires.row_segment_ohm), 1 / Fraction(wires.col_segment_ohm)
    size = 2 * rows * cols
    matrix = np.full((size, size + rows), Fraction(0), dtype=object)  # one right side a driver

    def connect(one, other, siemens):
        for here, there in ((one, other), (other, one)):
            matrix[here, here] += siemens
            matrix[here, there] -= siemens

    for r, c in np.ndindex(rows, cols):
        row, col = 2 * (r * cols + c), 2 * (r * cols + c) + 1
        connect(row, col, Fraction(float(cells[r, c])))
        if c:
            connect(row, row - 2, row_g)
        else:
            matrix[row, row] += row_g
            matrix[row, size + r] += row_g
        if r + 1 < rows:
            connect(col, col + 2 * cols, col_g)
        else:
            matrix[col, col] += col_g
    for pivot in range(size):
        for other in np.flatnonzero(matrix[:, pivot]):
            if other != pivot:
                matrix[other] -= matrix[other, pivot] / matrix[pivot, pivot] * matrix[pivot]
    last = 2 * ((rows - 1) * cols + np.arange(cols)) + 1
    return col_g * (matrix[last, size:] / matrix[last, last][:, None]).T


@pytest.mark.parametrize(
    ("row_ohm", "col_ohm", "low", "high"),
    [
        (1e-9, 1e-9, 1e-9, 1e-3),
        (1e9, 1e9, 1e-6, 1e6),
        (1e-9, 1e9, 1e-12, 1e6),
        (1e9, 1e-9, 1e-12, 1e6),
        (1.0, 1.0, 1e-30, 1e-25),
        (1e9, 1e9, 1e5, 1e6),
        (1.0, 1.0, 1e-30, 1e6),
    ],
)
def test_every_entry_keeps_its_digits_at_extreme_ratios(row_ohm, col_ohm, low, high):
    exponents = np.random.default_rng(5).uniform(np.log10(low), np.log10(high), (4, 3))
    cells, wires = 10.0**exponents, Wires(row_ohm, col_ohm)
    exact, found = exact_transfer(cells, wires), transfer_matrix(cells, wires)
    errors = [abs(Fraction(float(found[place])) / exact[place] - 1) for place in np.ndindex(cells.shape)]
    assert float(max(errors)) < 1e-13


@pytest.mark.parametrize("wires", [Wires(1.0, 1.0), Wires(0, 1.0), Wires(1.0, 0), Wires(1.0, 1.0, DrivenEnds.BOTH)])
def test_an_array_without_any_conducting_cell_gives_no_current_and_no_warning(wires):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not transfer_matrix(np.zeros((6, 5)), wires).any()


@pytest.mark.parametrize("wires", [Wires(0, 0), Wires(1.0, 1.0), Wires(0, 1.0), Wires(1.0, 0)])
def test_conductances_too_small_to_count_are_none(wires):
    cells = random_cells((5, 4))
    cells[:, 1], cells[2, 3] = 5e-324, 0.9e-30
    nothing = np.where(cells < 1e-30, 0, cells)
    assert np.array_equal(transfer_matrix(cells, wires), transfer_matrix(nothing, wires))
    assert cells[0, 1] == 5e-324, "what was passed is left alone"


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), 1e-10, 1e10, True, "1"])
@pytest.mark.parametrize("name", ["row_segment_ohm", "col_segment_ohm"])
def test_resistances_out_of_range_are_refused(name, value):
    with pytest.raises(ConfigError, match=name):
        Wires(**{"row_segment_ohm": 1.0, "col_segment_ohm": 1.0, name: value})


def test_driven_ends_are_one_of_those_known():
    with pytest.raises(ConfigError, match="driven_ends is 'right'"):
        Wires(1.0, 1.0, "right")


@pytest.mark.parametrize("wires", [Wires(0, 0), Wires(1.0, 1.0)])
@pytest.mark.parametrize("value", [-1e-31, float("nan"), float("inf"), 1.1e6])
def test_conductances_out_of_range_are_refused_with_their_place(wires, value):
    cells = random_cells((2, 3, 4))
    cells[1, 2, 3] = value
    with pytest.raises(DataError, match=re.escape("(1, 2, 3)")):
        transfer_matrix(cells, wires)


@pytest.mark.parametrize("cells", [np.ones(3), np.ones((0, 3)), np.ones((3, 0)), np.ones((2, 2), dtype=complex)])
def test_what_is_no_array_of_conductances_is_refused(cells):
    with pytest.raises(DataError, match="shape"):
        transfer_matrix(cells, Wires(1.0, 1.0))


@pytest.mark.parametrize(
    ("cells", "volts"),
    [((3, 4), (2, 4)), ((1, 3, 4), (2, 3)), ((3, 4), (3,))],
)
def test_the_nodal_solution_refuses_what_does_not_fit(cells, volts):
    with pytest.raises(DataError, match="voltages"):
        solve_nodal(np.ones(cells), np.ones(volts), Wires(1.0, 1.0))


def test_the_nodal_solution_refuses_voltages_that_are_not_finite():
    with pytest.raises(DataError, match="voltages"):
        solve_nodal(np.ones((2, 2)), np.full((1, 2), np.nan), Wires(1.0, 1.0))

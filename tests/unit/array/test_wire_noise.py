"""Read noise under resistive wires: closed forms, Monte Carlo of nodal solutions, and how near the formula comes."""

import re

import numpy as np
import pytest

from mho.array.nodal import first_order_variance, solve_nodal
from mho.array.wire_noise import linearize_noise
from mho.array.wires import CELLS_AT_ONCE, Wires, transfer_matrix
from mho.errors import DataError
from mho.hardware.array import DrivenEnds

EVERY_WIRE = [
    Wires(row_ohm, col_ohm, ends)
    for ends in DrivenEnds
    for row_ohm, col_ohm in ((0, 0), (0, 20.0), (20.0, 0), (20.0, 30.0))
]


def random_cells(shape, seed=0):
    return np.random.default_rng(seed).uniform(1e-6, 1e-4, shape)


def bits(vectors, rows, seed=1):
    return (np.random.default_rng(seed).random((vectors, rows)) < 0.5).astype(float)


def variance(cells, deviations, volts, wires, typical=None):
    noise = linearize_noise(cells, deviations, wires, typical)
    return noise.variance(volts, volts @ noise.transfer)


def test_a_single_cell_divides_the_voltage_with_its_wires():
    """I = 1 / (1 / g + 8): dI / dg = 1 / (1 + 8 g)^2."""
    found = variance(np.array([[0.01]]), np.array([[1e-4]]), np.array([[0.5]]), Wires(5.0, 3.0))
    np.testing.assert_allclose(found, [[(0.5 * 1e-4 / 1.08**2) ** 2]], rtol=1e-13)


def test_ideal_wires_give_the_sum_of_squares():
    cells, volts = random_cells((6, 4)), np.random.default_rng(2).uniform(-1, 1, (5, 6))
    found = variance(cells, 0.1 * cells, volts, Wires(0, 0))
    np.testing.assert_allclose(found, volts**2 @ (0.1 * cells) ** 2, rtol=1e-12)


@pytest.mark.parametrize("wires", EVERY_WIRE)
def test_the_transfer_matrix_comes_with_it(wires):
    cells = random_cells((3, 7, 6))
    np.testing.assert_allclose(linearize_noise(cells, cells, wires).transfer, transfer_matrix(cells, wires), rtol=1e-13)


@pytest.mark.parametrize("wires", EVERY_WIRE)
def test_what_one_cell_adds_to_its_own_column_is_exact_where_its_row_is_driven_alone(wires):
    """The derivative of the nodal solution by the conductance, by central differences."""
    cells, row, col, step = random_cells((7, 6)), 3, 4, 1e-9
    shift, volts = np.zeros_like(cells), np.eye(7)[row : row + 1]
    shift[row, col] = step
    up, down = (solve_nodal(cells + sign * shift, volts, wires).currents_ampere[0, col] for sign in (1, -1))
    found = variance(cells, shift, volts, wires)[0, col]
    np.testing.assert_allclose(np.sqrt(found), (up - down) / 2, rtol=1e-5)


@pytest.mark.parametrize("wires", EVERY_WIRE)
@pytest.mark.parametrize("typical", [None, np.random.default_rng(3).random(7)])
def test_what_one_cell_adds_to_its_own_column_is_exact_at_typical_voltages(wires, typical):
    cells = random_cells((7, 6))
    volts = 0.3 * (np.ones((1, 7)) if typical is None else typical[None])
    for row, col in ((0, 0), (6, 5), (2, 4)):
        deviations = np.zeros_like(cells)
        deviations[row, col] = 1e-6
        expected = first_order_variance(cells, deviations, volts, wires)[0, col]
        np.testing.assert_allclose(variance(cells, deviations, volts, wires, typical)[0, col], expected, rtol=1e-9)


@pytest.mark.parametrize("shape", [(40, 25), (33, 70), (1, 30), (30, 1)])
@pytest.mark.parametrize("ends", DrivenEnds)
def test_deviations_of_random_inputs_come_within_two_percent_of_first_order(shape, ends):
    """One-bit inputs; wires take up to half of what ideal ones would give."""
    cells, volts, wires = random_cells(shape), bits(60, shape[0]), Wires(3.0, 5.0, ends)
    exact = np.sqrt(first_order_variance(cells, 0.05 * cells, volts, wires))
    found = np.sqrt(variance(cells, 0.05 * cells, volts, wires))
    driven = volts.any(axis=1)
    errors = found[driven] / exact[driven] - 1
    assert np.abs(errors).max() < 0.02
    assert np.sqrt(np.mean(errors**2)) < 0.005
    assert not found[~driven].any()


@pytest.mark.parametrize("wires", [Wires(20.0, 30.0), Wires(20.0, 30.0, DrivenEnds.BOTH)])
def test_reads_of_noisy_cells_deviate_as_the_formula_has_it(wires):
    """2500 reads, each with cells of its own and a transfer matrix of its own.

    The standard deviation of n Gaussian numbers has itself one of 1 / sqrt(2 n) = 1.4 %; six of these are allowed, and
    the mean's six standard errors beside the shift of second order.
    """
    cells, reads, noise = random_cells((10, 8)), 2500, 0.05
    volts = np.vstack([np.ones(10), bits(2, 10)])
    rng = np.random.default_rng(4)
    drawn = cells * (1 + noise * rng.standard_normal((reads, *cells.shape)))
    currents = volts @ transfer_matrix(drawn, wires)
    expected = np.sqrt(variance(cells, noise * cells, volts, wires))
    np.testing.assert_allclose(currents.std(axis=0), expected, rtol=6 / np.sqrt(2 * reads))
    shift = (currents.mean(axis=0) - volts @ transfer_matrix(cells, wires)) / expected
    assert np.abs(shift).max() < 0.05 + 6 / np.sqrt(reads)


@pytest.mark.parametrize("wires", EVERY_WIRE)
def test_tiles_are_linearized_one_by_one(wires):
    cells = random_cells((2, 2, 12, 5))
    deviations, volts = 0.1 * cells, np.random.default_rng(5).random((2, 2, 4, 12))
    found = variance(cells, deviations, volts, wires)
    for tile in np.ndindex(2, 2):
        np.testing.assert_allclose(found[tile], variance(cells[tile], deviations[tile], volts[tile], wires), rtol=1e-9)


def test_more_cells_than_are_reduced_at_once_are_linearized_in_parts():
    cells = random_cells((CELLS_AT_ONCE // 64**2 + 1, 64, 64))
    found, alone = (
        linearize_noise(cells, cells, Wires(1.0, 1.0)),
        linearize_noise(cells[-1], cells[-1], Wires(1.0, 1.0)),
    )
    for name in ("transfer", "squares", "products", "currents"):
        np.testing.assert_allclose(getattr(found, name)[-1], getattr(alone, name), rtol=1e-9)


@pytest.mark.parametrize("wires", EVERY_WIRE)
def test_columns_without_conducting_cells_deviate_by_their_cells_alone(wires):
    """Cells that do not conduct may deviate all the same; what they add is finite."""
    cells, deviations = random_cells((6, 4)), np.full((6, 4), 1e-7)
    cells[:, 2] = 0
    found = variance(cells, deviations, np.ones((1, 6)), wires)
    exact = first_order_variance(cells, deviations, np.ones((1, 6)), wires)
    np.testing.assert_allclose(found, exact, rtol=0.02)


def test_no_variance_is_negative():
    """Where next to nothing lies across a cell, the three terms cancel; rounding may not make it less than nothing."""
    cells, deviations = 1e4 * random_cells((8, 200)), np.zeros((8, 200))
    deviations[0] = 1e-3
    noise = linearize_noise(cells, deviations, Wires(0, 1e9))
    volts = np.ones((1, 8))
    amperes = volts @ noise.transfer
    terms = volts**2 @ noise.squares - 2 * amperes * (volts @ noise.products) + amperes**2 * noise.currents
    assert (terms < 0).any(), "the case is too easy to tell anything"
    assert (noise.variance(volts, amperes) >= 0).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("deviations_s", -np.ones((3, 4))),
        ("deviations_s", np.full((3, 4), np.nan)),
        ("deviations_s", np.ones((2, 3, 4))),
        ("deviations_s", np.ones((4, 3))),
        ("typical_volts", np.ones(4)),
        ("typical_volts", np.array([1.0, -1.0, 1.0])),
        ("typical_volts", np.array(["a", "b", "c"])),
    ],
)
def test_what_does_not_fit_is_refused_by_name(name, value):
    arguments = {"deviations_s": np.ones((3, 4)), "typical_volts": None, name: value}
    with pytest.raises(DataError, match=re.escape(name)):
        linearize_noise(np.ones((3, 4)), wires=Wires(1.0, 1.0), **arguments)

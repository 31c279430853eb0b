"""Any array with resistive wires answers as its nodal solution does, and as physics demands."""

import numpy as np
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mho.array.nodal import first_order_variance, solve_nodal
from mho.array.wire_noise import linearize_noise
from mho.array.wires import Wires, transfer_matrix
from mho.hardware.array import DrivenEnds

OHMS = st.one_of(st.just(0.0), st.floats(-3, 4).map(lambda exponent: 10.0**exponent))
WIRES = st.builds(Wires, OHMS, OHMS, st.sampled_from(DrivenEnds))
SIEMENS = st.one_of(st.just(0.0), st.floats(-7, -3).map(lambda exponent: 10.0**exponent))


@st.composite
def cells(draw, longest=12):
    shape = draw(st.tuples(st.integers(1, longest), st.integers(1, longest)))
    return draw(arrays(np.float64, shape, elements=SIEMENS, fill=SIEMENS))


@settings(max_examples=examples(150), deadline=None)
@given(cells(), WIRES, st.integers(0, 2**32 - 1))
def test_products_equal_the_nodal_solution(conductances, wires, seed):
    volts = np.random.default_rng(seed).uniform(-1, 1, (3, len(conductances)))
    expected = solve_nodal(conductances, volts, wires).currents_ampere
    found = volts @ transfer_matrix(conductances, wires)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11 * max(np.abs(expected).max(), 1e-300))


@settings(max_examples=examples(30), deadline=None)
@given(st.tuples(st.integers(1, 90), st.integers(1, 90)), WIRES, st.integers(0, 2**32 - 1))
def test_arrays_of_any_size_equal_the_nodal_solution(shape, wires, seed):
    """Every way to pad and to cut into patches, with a tenth of the cells unused."""
    rng = np.random.default_rng(seed)
    conductances = rng.uniform(1e-6, 1e-4, shape) * (rng.random(shape) > 0.1)
    volts = rng.random((2, shape[0]))
    expected = solve_nodal(conductances, volts, wires).currents_ampere
    found = volts @ transfer_matrix(conductances, wires)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * max(expected.max(), 1e-300))


@settings(max_examples=examples(80), deadline=None)
@given(cells(), WIRES)
def test_rows_and_columns_may_change_places(conductances, wires):
    """Reciprocity: drive the columns' grounds and measure at the rows' drivers, and T is transposed."""
    left = Wires(wires.row_segment_ohm, wires.col_segment_ohm)
    turned = Wires(left.col_segment_ohm, left.row_segment_ohm)
    other = transfer_matrix(conductances.T[::-1, ::-1], turned)[::-1, ::-1].T
    np.testing.assert_allclose(other, transfer_matrix(conductances, left), rtol=1e-12, atol=0)


@settings(max_examples=examples(80), deadline=None)
@given(cells(), WIRES)
def test_wires_only_take_from_what_a_row_gives(conductances, wires):
    """Whatever one row is driven with, the columns together carry less than its cells would on ideal wires."""
    transfer = transfer_matrix(conductances, wires)
    assert (transfer >= 0).all()
    assert (transfer.sum(axis=1) <= conductances.sum(axis=1) * (1 + 1e-12)).all()


@settings(max_examples=examples(80), deadline=None)
@given(cells(), WIRES, st.floats(1.01, 100))
def test_more_resistance_takes_more_from_all_rows_together(conductances, wires, factor):
    """Rayleigh's law: with all rows at one voltage, what flows in all falls as any segment's resistance rises."""
    total = transfer_matrix(conductances, wires).sum()
    ends = wires.driven_ends
    for worse in (
        Wires(wires.row_segment_ohm * factor, wires.col_segment_ohm, ends),
        Wires(wires.row_segment_ohm, wires.col_segment_ohm * factor, ends),
    ):
        assert transfer_matrix(conductances, worse).sum() <= total * (1 + 1e-12)


@settings(max_examples=examples(80), deadline=None)
@given(cells(), OHMS, OHMS)
def test_a_second_driver_never_takes_from_the_sum_of_all_columns(conductances, row_ohm, col_ohm):
    one = transfer_matrix(conductances, Wires(row_ohm, col_ohm)).sum()
    assert transfer_matrix(conductances, Wires(row_ohm, col_ohm, DrivenEnds.BOTH)).sum() >= one * (1 - 1e-12)


@settings(max_examples=examples(60), deadline=None)
@given(cells(), WIRES, st.integers(1, 4), st.integers(1, 40))
def test_unused_rows_on_top_and_columns_of_an_open_end_change_nothing(conductances, wires, rows, cols):
    left = Wires(wires.row_segment_ohm, wires.col_segment_ohm)
    larger = np.pad(conductances, ((rows, 0), (0, cols)))
    found = transfer_matrix(larger, left)
    np.testing.assert_allclose(found[rows:, : conductances.shape[1]], transfer_matrix(conductances, left), rtol=1e-12)
    assert not found[:rows].any()
    assert not found[:, conductances.shape[1] :].any()


@settings(max_examples=examples(80), deadline=None)
@given(cells(longest=9), WIRES, st.integers(0, 2**32 - 1))
def test_a_column_deviates_at_typical_voltages_as_its_own_cells_make_it(conductances, wires, seed):
    """There the closed form is the whole first-order sum, except for cells of other columns, which are held still."""
    rng = np.random.default_rng(seed)
    rows, cols = conductances.shape
    typical, column = rng.uniform(0.1, 1, rows), int(rng.integers(cols))
    deviations = np.zeros((rows, cols))
    deviations[:, column] = rng.uniform(0, 1e-5, rows)
    noise = linearize_noise(conductances, deviations, wires, typical)
    found = noise.variance(typical[None], typical[None] @ noise.transfer)[0, column]
    expected = first_order_variance(conductances, deviations, typical[None], wires)[0, column]
    np.testing.assert_allclose(found, expected, rtol=1e-6)

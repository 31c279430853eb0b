"""The product of an array is what its cells, steps and converters give one by one, for every layout and path."""

from __future__ import annotations

import numpy as np
import torch
from examples import examples
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from plain_array import array_product, layouts, make_layout, plain_results

from mho.arithmetic.exactness import exact_products
from mho.array import integer_product
from mho.array.converters import Adc, drive_levels, make_adc
from mho.array.layout import list_conversions
from mho.array.read_noise import result_noise, step_noise
from mho.array.row_drives import RowDrives
from mho.array.wire_noise import WireNoise
from mho.errors import DataError
from mho.hardware.converters import ColumnDifference

GRID_BITS = 8
"""Counts that are drawn are whole multiples of 2^-8: no product tells cells more coarsely, so all sums are exact."""
CHECKED = settings(max_examples=examples(60), deadline=None)


@st.composite
def cases(draw, *, are_whole):
    """A layout, counts of its cells, codes, and how differences are taken."""
    layout = draw(layouts())
    cell_bits = draw(st.integers(1, 8))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (layout.rows, layout.cols)
    if are_whole:
        counts = generator.integers(0, 1 << cell_bits, shape).astype(np.float64)
    else:
        counts = generator.integers(-(1 << GRID_BITS), 1 << (cell_bits + GRID_BITS), shape) / (1 << GRID_BITS)
    codes = generator.integers(0, 1 << layout.input_bits, (draw(st.integers(0, 4)), layout.rows))
    return layout, counts, codes, draw(st.sampled_from(ColumnDifference))


@st.composite
def adcs(draw, layout, difference, *, errors):
    """ADCs with ranges of their own, halves included, that are often too narrow."""
    count = len(list_conversions(layout, difference).plus)
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    bits = draw(st.integers(1, 10))
    kind = draw(st.sampled_from(["clips", "alike", "each"]))
    size = count if kind == "each" else 1
    low = np.broadcast_to(generator.integers(-200, 50, size), count).astype(np.float64)
    if kind == "clips":
        return Adc(bits, low, np.ones(count), np.ones(count), np.zeros(count))
    step = np.broadcast_to(generator.integers(1, 9, size) / 2, count).astype(np.float64)
    gain, offset = np.ones(count), np.zeros(count)
    if errors:
        gain, offset = 1 + generator.integers(-3, 4, count) / 16, generator.integers(-8, 9, count) / 4
    return Adc(bits, low, step, gain, offset)


@given(cases(are_whole=True))
@CHECKED
def test_an_ideal_array_gives_the_integers_of_its_cells(case):
    layout, counts, codes, difference = case
    results = array_product(layout, counts, difference=difference).run(codes)
    assert (results == plain_results(layout, counts, codes, difference=difference)).all()


@given(cases(are_whole=False))
@CHECKED
def test_cells_between_levels_are_added_exactly(case):
    layout, counts, codes, difference = case
    results = array_product(layout, counts, difference=difference).run(codes)
    assert (results == plain_results(layout, counts, codes, difference=difference)).all()


@given(cases(are_whole=True), st.data())
@CHECKED
def test_converted_whole_sums_are_what_the_formula_gives(case, data):
    layout, counts, codes, difference = case
    adc = data.draw(adcs(layout, difference, errors=False))
    results = array_product(layout, counts, difference=difference, adc=adc).run(codes)
    assert (results == plain_results(layout, counts, codes, difference=difference, adc=adc)).all()


@given(cases(are_whole=False), st.data())
@CHECKED
def test_converted_sums_of_any_cells_by_converters_with_errors_are_what_the_formula_gives(case, data):
    layout, counts, codes, difference = case
    adc = data.draw(adcs(layout, difference, errors=True))
    results = array_product(layout, counts, difference=difference, adc=adc).run(codes)
    assert (results == plain_results(layout, counts, codes, difference=difference, adc=adc)).all()


@given(cases(are_whole=True), st.sampled_from([0.0, -0.125, 0.25]), st.sampled_from([0.0, 0.25]), st.booleans())
@CHECKED
def test_dacs_that_are_not_linear_and_currents_that_are_kept_add_up(case, inl, kept, is_converted):
    layout, counts, codes, difference = case
    levels = np.rint(drive_levels(layout.dac_bits, inl) * 4096) / 4096  # as finely as voltages are resolved
    adc = None
    if is_converted:
        largest = np.full(len(list_conversions(layout, difference).plus), 124.0)  # steps of 4
        adc = make_adc(6, -largest, largest)
    options = {"difference": difference, "kept_off_steps": kept, "levels": levels, "adc": adc}
    try:
        product = array_product(layout, counts, **options)
    except DataError as error:
        assume("leaves cells no precision" not in error.what)
        raise
    assert (product.run(codes) == plain_results(layout, counts, codes, **options)).all()


@given(cases(are_whole=False), st.data())
@CHECKED
def test_an_adc_of_enough_codes_changes_whole_sums_by_nothing(case, data):
    layout, counts, codes, difference = case
    counts = np.floor(np.abs(counts))
    largest = np.abs(counts).sum(axis=0).max() * 2 * (1 << layout.dac_bits)
    bits = int(largest).bit_length() + 2
    limits = np.full(len(list_conversions(layout, difference).plus), largest)
    adc = make_adc(bits, -limits, limits)
    ideal = array_product(layout, counts, difference=difference).run(codes)
    assert (array_product(layout, counts, difference=difference, adc=adc).run(codes) == ideal).all()


@given(cases(are_whole=True), st.integers(1, 8), st.integers(1, 600))
@CHECKED
def test_any_range_gives_the_codes_of_the_formula(case, bits, largest):
    """Steps that float64 does not hold exactly: results are added in another order, codes are the same."""
    layout, counts, codes, difference = case
    limits = np.full(len(list_conversions(layout, difference).plus), float(largest))
    adc = make_adc(bits, -limits, limits)
    results = array_product(layout, counts, difference=difference, adc=adc).run(codes)
    wanted = plain_results(layout, counts, codes, difference=difference, adc=adc)
    np.testing.assert_allclose(results, wanted, rtol=1e-11, atol=1e-9)


@given(cases(are_whole=False), st.sampled_from([0.0, 0.25]), st.data())
@CHECKED
def test_blocks_in_either_memory_order_give_the_same_bits(case, inl, data):
    layout, counts, codes, difference = case
    levels = np.rint(drive_levels(layout.dac_bits, inl) * 4096) / 4096
    adc = data.draw(st.one_of(st.none(), adcs(layout, difference, errors=True)))
    product = array_product(layout, counts, difference=difference, levels=levels, adc=adc)
    by_rows = torch.from_numpy(np.ascontiguousarray(codes.T)).t()
    with exact_products():
        found = product.run_block(by_rows, None)
    assert (found.numpy() == product.run(codes)).all()


@given(st.integers(2, 7), st.booleans(), st.booleans(), st.integers(0, 99))
@settings(max_examples=examples(20), deadline=None)
def test_deviations_in_either_memory_order_are_the_same(steps, is_converted, are_wires, seed):
    """With drives and cells that are drawn, noise of the same numbers differs by rounding alone."""
    generator = np.random.default_rng(seed)
    layout = make_layout(9, 3, (1, -1), input_bits=steps)
    counts, codes = generator.random((9, 6)), generator.integers(0, 1 << steps, (40, 9)).astype(np.uint8)
    squares = generator.random((9, 6)) / 100
    variance = WireNoise(counts, squares, squares / 9, np.full(6, 1e-3)) if are_wires else squares
    conversions = list_conversions(layout, ColumnDifference.ANALOG)
    feed = RowDrives(layout, drive_levels(layout.dac_bits, 0))
    noise = (step_noise if is_converted else result_noise)(layout, conversions, feed, variance)
    given_codes = torch.from_numpy(codes)
    turned = given_codes.t().contiguous().t()
    if is_converted:
        given_codes, turned = (feed.slices(some).flatten(0, 1) for some in (given_codes, turned))
        assert torch.equal(given_codes, turned)
    np.testing.assert_allclose(noise.deviations(turned), noise.deviations(given_codes), rtol=1e-5)


def test_routes_agree_on_a_large_array(monkeypatch):
    """The routes of a processor without fast bytes give the same bits."""
    generator = np.random.default_rng(3)
    layout = make_layout(130, 9, (1, -1, 16, -16))
    counts = generator.integers(0, 16 << 4, (130, 36)) / 16
    codes = generator.integers(0, 256, (300, 130)).astype(np.uint8)
    adc = make_adc(7, np.full(18, -500.0), np.full(18, 500.0))
    products = []
    for _ in range(2):
        products.append(array_product(layout, counts, difference=ColumnDifference.ANALOG, adc=adc))
        products.append(array_product(layout, np.floor(counts), difference=ColumnDifference.ANALOG, adc=adc))
        products.append(array_product(layout, counts))
        monkeypatch.setattr(integer_product, "has_fast_bytes", lambda: False)
    for first, second in zip(products[:3], products[3:], strict=True):
        assert (first.run(codes) == second.run(codes)).all()

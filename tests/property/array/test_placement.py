"""Placement on random crossbars: lines are lines, errors never grow, ideal cells answer the same bits on any lines."""

from __future__ import annotations

import numpy as np
from accelerators import make_accelerator
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_array import make_layout

from mho.array.conductances import Device
from mho.array.crossbar import draw_stuck, make_product, write_crossbar
from mho.array.placement import FaultCosts, Lines, place_lines
from mho.array.seeds import CrossbarSeed
from mho.hardware.array import Array


@settings(max_examples=examples(60), deadline=None)
@given(
    st.integers(1, 9), st.integers(1, 9), st.integers(0, 4), st.integers(0, 2**32), st.sampled_from([(), (0,), (1,)])
)
def test_chosen_lines_are_lines_and_never_worse(rows, cols, spares, seed, parities):
    rng = np.random.default_rng(seed)
    digits = rng.integers(0, 4, (rows, cols)) if seed % 3 else None
    costs = FaultCosts.of(Device(Array(), 2), rng.choice([0, 0.25, 1], (rows, cols)), digits)
    stuck = rng.choice([-1, 0, 0, 1], (rows, cols + spares)).astype(np.int8)
    lines = place_lines(costs, stuck, parities=parities)
    assert sorted(lines.rows.tolist()) == list(range(rows))
    assert len(set(lines.cols.tolist())) == cols
    assert lines.cols.min() >= 0
    assert lines.cols.max() < cols + spares
    assert costs.measure(stuck, lines)[1] <= costs.measure(stuck, Lines.as_mapped(rows, cols))[1]


@settings(max_examples=examples(40), deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 3), st.sampled_from(["ideal", 4]), st.sampled_from(["digital", "analog"]))
def test_ideal_cells_answer_the_same_bits_on_any_lines(seed, pairs, adc_bits, difference):
    rng = np.random.default_rng(seed)
    layout = make_layout(7, 2, (1, -1, 4, -4), input_bits=3)
    hardware = make_accelerator(
        9, 12, 2, adc_bits=adc_bits, converters={"column_difference": difference}, array={"spare_cols": 2 * pairs}
    )
    starts = 2 * rng.permutation(6 + pairs)[:6]
    lines = Lines(rng.permutation(9), np.stack([starts, starts + 1], axis=1).reshape(-1))
    digits, codes = rng.integers(0, 4, (7, 8)), rng.integers(0, 8, (20, 7))
    own, moved = (write_crossbar(hardware, digits, CrossbarSeed(1), lines=one) for one in (None, lines))
    assert (moved.bitlines == lines.cols).all()
    found, wanted = (make_product(hardware, layout, one, CrossbarSeed(1)).run(codes) for one in (moved, own))
    assert (found == wanted).all()


@settings(max_examples=examples(20), deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 5))
def test_what_is_held_deviates_where_stuck_cells_are_met(seed, spares):
    rng = np.random.default_rng(seed)
    array = {"stuck_on_rate": 0.1, "stuck_off_rate": 0.2, "spare_cols": spares}
    hardware = make_accelerator(8, 10, 2, array=array)
    digits, chip = rng.integers(0, 4, (8, 10)), CrossbarSeed(seed, 2)
    stuck = draw_stuck(hardware, chip)
    assert stuck.shape == (8, 10 + spares)
    costs = FaultCosts.of(Device.of(hardware), np.ones((8, 10)), digits)
    for lines in (Lines.as_mapped(8, 10), place_lines(costs, stuck)):
        held = write_crossbar(hardware, digits, chip, lines=lines).counts
        wrong, error = costs.measure(stuck, lines)
        assert wrong == np.count_nonzero(held != digits)
        np.testing.assert_allclose(error, (((held - digits) / 3) ** 2).sum(), atol=1e-6)

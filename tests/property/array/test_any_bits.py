"""Cells, slices, DACs and ADCs of any bits, with errors, wires and noise, against a plain model of the same array."""

from __future__ import annotations

import numpy as np
from accelerators import make_accelerator
from examples import examples
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from plain_array import layouts
from plain_reads import PlainCrossbar, hold_all_together, plain_adc, plain_answers, plain_moments

from mho.array.conductances import Conditions
from mho.array.crossbar import make_product, write_crossbar
from mho.array.layout import ArrayLayout, list_conversions
from mho.array.seeds import CrossbarSeed, Purpose
from mho.errors import DataError
from mho.hardware.spec import Accelerator

READS = 400
LATER = Conditions(1000.0, reads=20)
ERRORS = (
    {"programming_error": 0.03, "cell_variation": 0.05},
    {"programming_error": 0.05, "programming_error_of": "conductance", "stuck_on_rate": 0.1, "stuck_off_rate": 0.1},
    {"drift_exponent": 0.06, "drift_exponent_std": 0.02, "read_disturb_reads": 100},
)
WIRES = ({}, {"row_segment_ohm": 20, "col_segment_ohm": 40, "lrs_siemens": 1e-4})


def make_hardware(layout: ArrayLayout, cell_bits: int, array: dict, converters: dict) -> Accelerator:
    return make_accelerator(
        layout.rows, layout.cols, cell_bits, layout.dac_bits,
        array={"on_off_ratio": 8, **array}, converters={"adc_bits": "ideal", **converters},
    )  # fmt: skip


def draw_ranges(hardware, layout, draws, largest: float):
    """Return ranges of calibrated ADCs, some of which clip sums up to `largest`."""
    if not hardware.converters.has_calibrated_adc:
        return None
    count = len(list_conversions(layout, hardware.converters.column_difference).plus)
    return -largest * draws.uniform(0.1, 1, count), largest * draws.uniform(0.1, 1, count)


@settings(max_examples=examples(40), deadline=None)
@given(
    layouts(),
    st.integers(1, 8),
    st.sampled_from(ERRORS),
    st.sampled_from(WIRES),
    st.sampled_from(["ideal", "full-scale", "calibrated-columns"]),
    st.integers(2, 12),
    st.sampled_from(["digital", "analog"]),
    st.sampled_from(["kept", "subtracted"]),
    st.sampled_from([0.0, 0.2]),
    st.integers(0, 2**32),
)
def test_answers_without_noise_are_those_of_the_plain_model(
    layout, cell_bits, errors, wires, adc_range, adc_bits, difference, current, inl, seed
):
    draws, chip = np.random.default_rng(seed), CrossbarSeed(seed)
    converters = {"column_difference": difference, "dac_inl_lsb": inl if layout.dac_bits > 1 else 0}
    if adc_range != "ideal":
        converters |= {"adc_bits": adc_bits, "adc_range": adc_range, "adc_offset_lsb": 0.5, "adc_gain_error": 0.02}
    hardware = make_hardware(layout, cell_bits, {**errors, **wires, "off_current": current}, converters)
    digits = draws.integers(0, 1 << cell_bits, (layout.rows, layout.cols))
    codes = draws.integers(0, 1 << layout.input_bits, (6, layout.rows))
    cells = write_crossbar(hardware, digits, chip, conditions=LATER)
    plain = PlainCrossbar.written(hardware, digits, chip, LATER)
    counts = plain.sums(np.eye(layout.rows))
    np.testing.assert_allclose(cells.counts, counts, rtol=0, atol=1e-9 * (1 << cell_bits))
    ranges = draw_ranges(hardware, layout, draws, 3.0 * layout.rows)
    try:
        product = make_product(hardware, layout, cells, chip, ranges=ranges)
    except DataError:  # sums so large that cells are left no precision
        assume(False)
    adc = plain_adc(hardware, layout, chip, ranges=ranges)
    wanted = plain_answers(hardware, layout, cells.counts, codes, adc, fraction_bits=product.fraction_bits)
    np.testing.assert_allclose(product.run(codes), wanted, rtol=1e-9, atol=2e-5)


def draw_layout(draws: np.random.Generator, dac_bits: int, input_bits: int) -> ArrayLayout:
    """Return slices of weights and inputs of any bits: rows of both signs, in a quarter of them a slice beside."""
    rows, outputs = int(draws.integers(3, 9)), int(draws.integers(1, 4))
    cols = [
        (output, int(sign) << int(draws.integers(0, 9)))
        for output in range(outputs)
        for sign in draws.choice([-1, 1], 3)
    ]
    at_once = int(draws.choice([1, 1, 1, 2]))
    return ArrayLayout(
        row_sign=draws.choice([-1, 1], rows) if draws.random() < 0.5 else np.ones(rows, dtype=np.int64),
        row_shift=dac_bits * draws.integers(0, at_once, rows),
        col_output=np.array([output for output, _ in cols]),
        col_weight=np.array([weight for _, weight in cols]),
        outputs=outputs,
        input_bits=input_bits,
        dac_bits=dac_bits,
        steps=-(-input_bits // (dac_bits * at_once)),
        step_shift=dac_bits * at_once,
    )


def test_noise_has_the_moments_of_the_plain_model_at_any_bits():
    """Every width of a cell with five ADCs; other widths, slices, wires and kinds of noise are drawn."""
    found = []
    for number in range(40):
        draws, chip = np.random.default_rng(number), CrossbarSeed(number)
        cell_bits, dac_bits, input_bits = 1 + number % 8, int(draws.integers(1, 9)), int(draws.integers(1, 13))
        layout = draw_layout(draws, dac_bits, input_bits)
        array = {"programming_error": 0.03, **WIRES[int(draws.integers(0, 2))]}
        array |= {"read_noise": 0.05, "read_noise_of": str(draws.choice(["range", "conductance"]))}
        adc_bits = int(draws.integers(2, 10))
        converters = ({}, {"adc_bits": adc_bits}, {"adc_bits": adc_bits, "adc_range": "calibrated-columns"})[number % 3]
        hardware = make_hardware(layout, cell_bits, array, converters)
        digits = draws.integers(0, 1 << cell_bits, (layout.rows, layout.cols))
        codes = draws.integers(0, 1 << input_bits, (3, layout.rows))
        ranges = draw_ranges(hardware, layout, draws, ((1 << cell_bits) - 1) * ((1 << dac_bits) - 1) * layout.rows / 2)
        cells = write_crossbar(hardware, digits, chip)
        product = make_product(hardware, layout, cells, chip, ranges=ranges)
        moments = plain_moments(
            PlainCrossbar.written(hardware, digits, chip),
            layout,
            codes,
            plain_adc(hardware, layout, chip, ranges=ranges),
        )
        answers = product.run(np.repeat(codes, READS, axis=0), chip.stream(Purpose.READS, 1))
        case = f"case {number}: cells of {cell_bits} bits, DACs of {dac_bits}, inputs of {input_bits}, {converters}"
        first_order = 0.07 if hardware.array.has_wires else 0
        found.append(moments.hold(answers.reshape(3, READS, -1).swapaxes(0, 1), case, first_order=first_order))
    hold_all_together(found)

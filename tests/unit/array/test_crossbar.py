"""From an accelerator to a product: the same seed is the same chip, and ideal values give ideal integers."""

from __future__ import annotations

import numpy as np
import pytest
from accelerators import make_accelerator
from plain_array import make_layout

from mho.array.conductances import Conditions, Device
from mho.array.converters import make_adc
from mho.array.crossbar import ProductMaker, full_scale, make_product, write_crossbar
from mho.array.layout import list_conversions
from mho.array.placement import Lines
from mho.array.seeds import CrossbarSeed
from mho.array.wires import Wires, transfer_matrix
from mho.errors import ConfigError, DataError
from mho.hardware.converters import ColumnDifference
from mho.hardware.spec import Encoding
from mho.mapping.adc_resolution import required_adc_bits

ROWS, COLS = 12, 16
WORST = {
    "on_off_ratio": 8,
    "programming_error": 0.05,
    "cell_variation": 0.1,
    "stuck_on_rate": 0.05,
    "stuck_off_rate": 0.05,
    "drift_exponent": 0.05,
    "drift_exponent_std": 0.02,
    "read_disturb_reads": 1000,
    "lrs_siemens": 1e-5,
}
LATER = Conditions(1000, 320, 10)


def hardware(adc_bits="ideal", *, array=None, converters=None, **changes):
    return make_accelerator(ROWS, COLS, 2, adc_bits=adc_bits, array=array or {}, converters=converters or {}, **changes)


@pytest.fixture
def layout():
    return make_layout(9, 3, (1, -1, 4, -4), input_bits=4)


@pytest.fixture
def digits():
    return np.random.default_rng(0).integers(0, 4, (9, 12))


@pytest.fixture
def codes():
    return np.random.default_rng(1).integers(0, 16, (30, 9))


def run(made, layout, digits, codes, *, seed=3, write=0, conditions=None, **options):
    cells = write_crossbar(made, digits, CrossbarSeed(seed), write=write, conditions=conditions)
    return make_product(made, layout, cells, CrossbarSeed(seed), **options).run(codes)


def ideal(layout, digits, codes):
    weights = np.zeros((layout.rows, layout.outputs), dtype=np.int64)
    np.add.at(weights.T, layout.col_output, (digits * layout.col_weight).T)
    return codes @ weights


@pytest.mark.parametrize("adc_bits", ["ideal", 6])
@pytest.mark.parametrize("difference", ColumnDifference)
@pytest.mark.parametrize("array", [{}, {"on_off_ratio": 3}, {"drift_reference_s": 5}, {"lrs_siemens": 0.001}], ids=str)
def test_ideal_values_give_the_integers_of_the_layer(adc_bits, difference, array, layout, digits, codes):
    made = hardware(adc_bits, array=array, converters={"column_difference": difference})
    assert (run(made, layout, digits, codes) == ideal(layout, digits, codes)).all()


@pytest.mark.parametrize("difference", ColumnDifference)
def test_the_bits_that_a_mapping_asks_for_resolve_every_sum(difference, layout, digits, codes):
    options = {"converters": {"column_difference": difference}}
    need = required_adc_bits(hardware(**options), Encoding.DIFFERENTIAL_COLUMNS, layout.rows)
    one_sided = np.where(layout.col_weight > 0, 3, 0) * np.ones_like(digits)
    codes[0] = 15
    wanted = ideal(layout, one_sided, codes)
    assert (run(hardware(need, **options), layout, one_sided, codes) == wanted).all()
    assert (run(hardware(need - 1, **options), layout, one_sided, codes) != wanted).any()


@pytest.mark.parametrize("adc_bits", ["ideal", 4])
def test_the_same_seed_is_the_same_chip(adc_bits, layout, digits, codes):
    errors = {} if adc_bits == "ideal" else {"adc_offset_lsb": 0.5, "adc_gain_error": 0.05}
    made = hardware(adc_bits, array=WORST, converters=errors)
    wanted = run(made, layout, digits, codes, conditions=LATER)
    assert (run(made, layout, digits, codes, conditions=LATER) == wanted).all()
    assert (run(made, layout, digits, codes, conditions=LATER, seed=4) != wanted).any()
    assert (run(made, layout, digits, codes, conditions=LATER, write=1) != wanted).any()
    assert (run(made, layout, digits, codes) != wanted).any()


def test_which_cells_are_bad_does_not_depend_on_the_tile(digits):
    made = hardware(array={**WORST, "drift_exponent": 0, "drift_exponent_std": 0})
    whole, part = (write_crossbar(made, tile, CrossbarSeed(5)).counts for tile in (digits, digits[:4, :5]))
    assert whole.shape == part.shape == (ROWS, COLS)
    assert (whole[:4, :5] == part[:4, :5]).all()
    assert (whole[9:] == part[9:]).all()


def test_rows_that_are_driven_in_turn_add_up_to_all(layout, digits, codes):
    made = hardware(array=WORST, crossbar={"active_rows": 5})
    seed = CrossbarSeed(2)
    cells = write_crossbar(made, digits, seed)
    total = sum(
        make_product(made, layout.drive_rows(start, min(start + 5, 9)), cells, seed, first_row=start).run(
            codes[:, start : start + 5]
        )
        for start in (0, 5)
    )
    at_once = run(hardware(array=WORST), layout, digits, codes, seed=2)
    np.testing.assert_allclose(total, at_once, atol=1e-6)


def test_currents_of_the_lowest_level_cancel_in_differences_and_count_elsewhere(digits, codes):
    kept = {"on_off_ratio": 4, "off_current": "kept"}
    both = make_layout(9, 3, (1, -1, 4, -4), input_bits=4)
    assert (run(hardware(array=kept), both, digits, codes) == ideal(both, digits, codes)).all()
    alone = make_layout(9, 3, (1, 4, 16, 64), input_bits=4)
    extra = codes.sum(axis=1, keepdims=True) * 85 * 1.0  # an off current of one step in four columns a result
    assert (run(hardware(array=kept), alone, digits, codes) == ideal(alone, digits, codes) + extra).all()
    taken = {"on_off_ratio": 4}
    assert (run(hardware(array=taken), alone, digits, codes) == ideal(alone, digits, codes)).all()


def test_wires_lower_what_is_read(layout, digits, codes):
    plain = make_layout(9, 12, (1,), input_bits=4)
    wires = {"lrs_siemens": 1e-4, "row_segment_ohm": 20, "col_segment_ohm": 30}
    lowered = run(hardware(array=wires), plain, digits, codes)
    wanted = ideal(plain, digits, codes)
    assert (lowered < wanted).all()
    assert (lowered > 0.5 * wanted).all()
    both = run(hardware(array={**wires, "driven_ends": "both"}), plain, digits, codes)
    assert (lowered < both).all()
    assert (both < wanted).all()
    small = {**wires, "row_segment_ohm": 1e-6, "col_segment_ohm": 1e-6}
    np.testing.assert_allclose(run(hardware(array=small), plain, digits, codes), wanted, rtol=1e-7)


@pytest.mark.parametrize("adc_bits", ["ideal", 5])
@pytest.mark.parametrize("difference", ColumnDifference)
@pytest.mark.parametrize("dac_bits", [1, 2])
def test_noise_under_wires_has_the_variance_that_its_formula_tells(adc_bits, difference, dac_bits, digits, codes):
    """Against reads whose every conversion is drawn with the variance of `WireNoise`, one column after the other."""
    array = {"lrs_siemens": 1e-4, "row_segment_ohm": 60, "col_segment_ohm": 90, "read_noise": 0.3, "on_off_ratio": 9}
    converters = {"column_difference": difference}
    made = make_accelerator(ROWS, COLS, 2, dac_bits, adc_bits, array=array, converters=converters)
    layout = make_layout(9, 3, (1, -1, 4, -4), input_bits=4, dac_bits=dac_bits)
    cells = write_crossbar(made, digits, CrossbarSeed(1))
    product = make_product(made, layout, cells, CrossbarSeed(1))
    reads = 20_000
    results = product.run(np.broadcast_to(codes[0], (reads, 9)), np.random.default_rng(3))
    tile, conversions = cells.cut(slice(9), slice(12)), list_conversions(layout, difference)
    generator, wanted = np.random.default_rng(4), np.zeros((reads, 3))
    adc = None
    if adc_bits != "ideal":
        limits = full_scale(Device.of(made), layout, conversions, np.arange(1.0 * (1 << dac_bits)), 0)
        adc = make_adc(adc_bits, *limits)
    for step, volts in enumerate(layout.slice_codes(codes[:1])[:, 0].astype(float)):
        of_columns = tile.variance.variance(volts[None], volts[None] @ tile.variance.transfer)
        std = np.sqrt(conversions.add(of_columns))
        sums = conversions.subtract(volts @ tile.counts) + std * generator.standard_normal((reads, std.shape[1]))
        read = sums if adc is None else adc.read(adc.convert(sums))
        np.add.at(wanted.T, conversions.output, (read * conversions.weight * 2.0 ** (step * dac_bits)).T)
    assert (np.abs(results.mean(axis=0) - wanted.mean(axis=0)) < 5 * wanted.std(axis=0) * np.sqrt(2 / reads)).all()
    assert (np.abs(results.std(axis=0) / wanted.std(axis=0) - 1) < 5 / np.sqrt(reads)).all()


def test_noise_under_wires_is_that_of_each_read_solved_anew(digits, codes):
    """Against networks whose cells are drawn for each read: within what the first order leaves out."""
    array = {"lrs_siemens": 1e-4, "row_segment_ohm": 30, "col_segment_ohm": 30, "read_noise": 0.05}
    made = make_accelerator(ROWS, COLS, 2, array=array)
    layout = make_layout(ROWS, COLS, (1,), input_bits=1)
    generator = np.random.default_rng(8)
    digits = generator.integers(0, 4, (ROWS, COLS))
    cells = write_crossbar(made, digits, CrossbarSeed(1))
    volts = np.arange(ROWS) % 3 != 0
    reads = 4000
    product = make_product(made, layout, cells, CrossbarSeed(1))
    results = product.run(np.broadcast_to(volts.astype(int), (reads, ROWS)), np.random.default_rng(3))
    device = Device.of(made)
    drawn = digits * np.maximum(0, 1 + 0.05 * generator.standard_normal((reads, ROWS, COLS)))
    currents = volts @ transfer_matrix(device.to_siemens(drawn), Wires(30.0, 30.0)) / device.step_siemens
    assert (np.abs(results.mean(axis=0) - currents.mean(axis=0)) < 0.1 * currents.std(axis=0)).all()
    assert (np.abs(results.std(axis=0) / currents.std(axis=0) - 1) < 0.02 + 5 / np.sqrt(2 * reads)).all()


@pytest.mark.parametrize(("of", "difference"), zip(["range", "conductance"], ColumnDifference, strict=True))
def test_answers_of_chips_deviate_as_the_errors_of_their_writes_add_up(of, difference, layout, digits, codes):
    """Over chips no cell of which comes near zero: codes times weights of columns times errors, squared and added.

    Within five standard errors: answers of random codes one by one, and of single rows, independent ones, in all.
    """
    array = {"on_off_ratio": 2, "programming_error": 0.05, "programming_error_of": of}
    made, chips = hardware(array=array, converters={"column_difference": difference}), 600
    codes = np.concatenate([15 * np.eye(9, dtype=np.int64), codes[:5]])
    maker, seeds = ProductMaker(made, layout), [CrossbarSeed(chip) for chip in range(chips)]
    answers = np.array([maker.make(write_crossbar(made, digits, seed), seed).run(codes) for seed in seeds])
    errors = np.full(digits.shape, 0.15) if of == "range" else 0.05 * (digits + 3)
    variance = np.zeros((len(codes), layout.outputs))
    np.add.at(variance.T, layout.col_output, (codes.astype(float) ** 2 @ (errors * layout.col_weight) ** 2).T)
    assert (np.abs(answers.mean(axis=0) - ideal(layout, digits, codes)) < 5 * np.sqrt(variance / chips)).all()
    ratio = answers.var(axis=0, ddof=1) / variance
    assert (np.abs(ratio - 1) < 5 * np.sqrt(2 / chips)).all()
    assert abs(ratio[:9].mean() - 1) < 5 * np.sqrt(2 / (chips * ratio[:9].size))


def test_lines_take_along_what_cells_hold_and_how_they_deviate():
    """Digits on chosen lines are those of a crossbar that they are written into line by line, wires and noise too."""
    wires = {"lrs_siemens": 1e-4, "row_segment_ohm": 60, "col_segment_ohm": 90, "read_noise": 0.1, "on_off_ratio": 9}
    made, draws, seed = hardware(array=wires), np.random.default_rng(5), CrossbarSeed(4)
    digits, lines = draws.integers(0, 4, (ROWS, COLS)), Lines(draws.permutation(ROWS), draws.permutation(COLS))
    placed = np.empty_like(digits)
    placed[lines.rows[:, None], lines.cols] = digits
    moved, whole = write_crossbar(made, digits, seed, lines=lines), write_crossbar(made, placed, seed)
    assert (moved.counts == lines.find(whole.counts)).all()
    assert (moved.bitlines == lines.cols).all()
    for name in ("transfer", "squares", "products"):
        assert (getattr(moved.variance, name) == lines.find(getattr(whole.variance, name))).all()
    assert (moved.variance.currents == whole.variance.currents[lines.cols]).all()


def test_full_scale_holds_every_sum():
    for signs, difference in (([1] * 6, "analog"), ([1] * 6, "digital"), ([1, -1] * 3, "digital")):
        layout = make_layout(6, 1, (1, -1), input_bits=2, dac_bits=2)
        layout.row_sign[:] = signs
        conversions = list_conversions(layout, ColumnDifference(difference))
        lowest, highest = full_scale(Device.of(hardware()), layout, conversions, np.arange(4.0), 0.5)
        if difference == "analog":
            assert (lowest.tolist(), highest.tolist()) == ([-54], [54])
        elif -1 in signs:
            assert (lowest.tolist(), highest.tolist()) == ([-31.5] * 2, [31.5] * 2)
        else:
            assert (lowest.tolist(), highest.tolist()) == ([0] * 2, [63] * 2)


def test_calibrated_ranges_are_taken_and_needed(layout, digits, codes):
    made = hardware(4, converters={"adc_range": "calibrated-layer"})
    with pytest.raises(ConfigError, match="no ranges are given"):
        run(made, layout, digits, codes)
    limits = np.zeros(12), np.full(12, 15.0)
    calibrated = run(made, layout, digits, codes, ranges=limits)
    assert (calibrated != run(hardware(4), layout, digits, codes)).any()
    with pytest.raises(ConfigError, match="and ranges are given"):
        run(hardware(4), layout, digits, codes, ranges=limits)


def test_what_does_not_fit_is_an_error(layout, digits, codes):
    with pytest.raises(ConfigError, match="digits are"):
        write_crossbar(hardware(), np.zeros((13, 2), int), CrossbarSeed(0))
    with pytest.raises(ConfigError, match="driven at once"):
        run(hardware(crossbar={"active_rows": 8}), layout, digits, codes)
    with pytest.raises(ConfigError, match="from row 4 on"):
        run(hardware(), layout, digits, codes, first_row=4)
    with pytest.raises(ConfigError, match="from column 5 on"):
        run(hardware(), layout, digits, codes, first_col=5)
    with pytest.raises(DataError, match="DACs of 1 bits"):
        run(make_accelerator(ROWS, COLS, 2, dac_bits=2), layout, digits, codes)

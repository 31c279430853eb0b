"""Calibrated ranges: who shares them, what they are worth with few codes, and what they do not fit."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from accelerators import make_accelerator
from bits import assert_same_bits
from chip_networks import make_chain
from chip_programs import quantized_program
from random_networks import random_inputs
from small_programs import compile_small, conv_network

from mho.array.calibration import RangeMethod, RangeRule
from mho.array.range_groups import group_conversions
from mho.errors import ConfigError, DataError
from mho.hardware.loading import accelerator_from_json
from mho.program.lowering import compile_network
from mho.simulation.adc_ranges import calibrate_adcs
from mho.simulation.analog import AnalogExecutor
from mho.simulation.executor import Executor


@pytest.fixture(scope="module")
def network():
    return conv_network((1, 8, 6, 6), outputs=8)


@pytest.fixture(scope="module")
def program(network):
    return compile_network(network, make_accelerator(40, 24, 2))


@pytest.fixture(scope="module")
def inputs(network):
    return random_inputs(network, 6)


def hardware(program, bits, adc_range, *, difference="digital", **array):
    content = program.accelerator.to_json()
    content["converters"].update(adc_bits=bits, adc_range=adc_range, columns_per_adc=3, column_difference=difference)
    content["array"].update(array)
    return accelerator_from_json(content, where="test")


def calibrated(program, inputs, made, **options):
    ranges = calibrate_adcs(program, 1, inputs, hardware=made, **options).layers
    return AnalogExecutor(program, 1, hardware=made, ranges=ranges).run(inputs)["y"]


@pytest.mark.parametrize("adc_range", ["calibrated-layer", "calibrated-slices", "calibrated-columns"])
def test_calibrated_ranges_lose_less_than_full_scale(program, inputs, adc_range):
    exact = Executor(program).run(inputs)["y"]
    full = AnalogExecutor(program, 1, hardware=hardware(program, 3, "full-scale")).run(inputs)["y"]
    found = calibrated(program, inputs, hardware(program, 3, adc_range))
    assert np.square(found - exact).mean() < 0.5 * np.square(full - exact).mean()


def test_ranges_of_all_that_occurs_with_codes_enough_lose_nothing(program, inputs):
    made = hardware(program, 7, "calibrated-columns")
    found = calibrated(program, inputs, made, rule=RangeRule(RangeMethod.EXTREMES))
    assert_same_bits({"y": found}, Executor(program).run(inputs))


def test_a_layer_shares_one_range(program, inputs):
    ranges = calibrate_adcs(program, 1, inputs, hardware=hardware(program, 3, "calibrated-layer")).layers
    (tiles,) = ranges.values()
    assert len(tiles) > 1
    assert len(np.unique(np.concatenate([high for _, high in tiles]))) == 1


@pytest.mark.parametrize("difference", ["digital", "analog"])
def test_a_weight_slice_shares_one_range(network, inputs, difference):
    """Weights from -8 to 7 in cells of one bit: digits of 1, 2, 4, 8, and with digital differences of minus as much."""
    program = compile_small(network, make_accelerator(40, 24, 1))
    made = hardware(program, 3, "calibrated-slices", difference=difference)
    ranges = calibrate_adcs(program, 1, inputs, hardware=made).layers["conv"]
    tiles = AnalogExecutor(program, 1, hardware=made, ranges={"conv": ranges}).tiles["conv"]
    found = {}
    for tile, (lowest, highest) in zip(tiles, ranges, strict=True):
        for weight, *pair in zip(tile.product.conversions.weight.tolist(), lowest, highest, strict=True):
            found.setdefault(weight, set()).add(tuple(pair))
    assert set(found) == {1, 2, 4, 8} | ({-1, -2, -4, -8} if difference == "digital" else set())
    assert all(len(pairs) == 1 for pairs in found.values())
    assert len(set.union(*(found[weight] for weight in (1, 2, 4, 8)))) == 4


@pytest.mark.parametrize("adc_range", ["calibrated-slices", "calibrated-layer"])
def test_sums_of_inputs_are_no_slice_of_the_weights(network, inputs, adc_range):
    """A column of ones weighs what the lowest digits weigh, and carries larger sums."""
    accelerator = make_accelerator(80, 24, 2, encoding="offset")
    program = compile_small(network, accelerator)
    made = hardware(program, 3, adc_range)
    ranges = calibrate_adcs(program, 1, inputs, hardware=made).layers["conv"]
    tiles = AnalogExecutor(program, 1, hardware=made, ranges={"conv": ranges}).tiles["conv"]
    ones, digits = set(), set()
    for tile, (_, highest) in zip(tiles, ranges, strict=True):
        layout, conversions = tile.product.layout, tile.product.conversions
        is_correction = layout.is_correction[conversions.plus]
        ones |= set(highest[is_correction].tolist())
        digits |= set(highest[~is_correction & (conversions.weight == 1)].tolist())
    assert len(ones) == len(digits) == 1
    assert (ones == digits) == (adc_range == "calibrated-layer")


def test_columns_of_one_converter_share_one_range(program, inputs):
    made = hardware(program, 3, "calibrated-columns")
    ranges = calibrate_adcs(program, 1, inputs, hardware=made).layers
    tiles = AnalogExecutor(program, 1, hardware=made, ranges=ranges).tiles
    seen = set()
    for name, found in ranges.items():
        for tile, (_, high) in zip(tiles[name], found, strict=True):
            converter = tile.bitlines[tile.product.conversions.plus] // 3
            for number in np.unique(converter):
                assert len(np.unique(high[converter == number])) == 1
            seen |= set(high.tolist())
    assert len(seen) > 3


@pytest.mark.parametrize(("difference", "is_signed"), [("digital", False), ("analog", True)])
def test_ranges_reach_below_zero_where_sums_do(network, inputs, difference, is_signed):
    program = compile_small(network, make_accelerator(40, 24, 2))
    made = hardware(program, 3, "calibrated-layer", difference=difference)
    (tiles,) = calibrate_adcs(program, 1, inputs, hardware=made).layers.values()
    assert all((low < 0).all() == is_signed for low, _ in tiles)
    assert calibrated(program, inputs, made) is not None


def test_converters_are_those_of_the_crossbar_where_a_layer_does_not_begin_with_one():
    """Six columns from column 2 on, three to a converter: the first is the last of the first converter."""
    product = SimpleNamespace(conversions=SimpleNamespace(plus=np.arange(6)))
    converters = make_accelerator(converters={"adc_range": "calibrated-columns", "columns_per_adc": 3}).converters
    (groups,) = group_conversions([product], [np.arange(2, 8)[product.conversions.plus]], converters)
    assert groups.tolist() == [0, 1, 1, 1, 2, 2]


def test_ranges_follow_what_the_chip_holds_but_not_its_noise():
    program = quantized_program(make_chain(), make_accelerator(rows=32, cols=16, cell_bits=4, crossbars=60))[1]
    inputs = np.random.default_rng(1).standard_normal((3, 1, 6, 6)).astype(np.float32)

    def found(**array):
        ranges = calibrate_adcs(program, 1, inputs, hardware=hardware(program, 3, "calibrated-columns", **array)).layers
        return np.concatenate([np.concatenate(pair) for tiles in ranges.values() for pair in tiles])

    ideal = found()
    assert (found(read_noise=0.1) == ideal).all()
    assert (found(stuck_on_rate=0.2) != ideal).any()


def test_the_batch_size_changes_no_range(program, inputs):
    made = hardware(program, 3, "calibrated-layer")
    whole, single = (calibrate_adcs(program, 1, inputs, hardware=made, batch_size=size).layers for size in (6, 1))
    assert all((a[1] == b[1]).all() for name in whole for a, b in zip(whole[name], single[name], strict=True))


@pytest.mark.parametrize(("bits", "adc_range"), [("ideal", "calibrated-layer"), (4, "full-scale")])
def test_hardware_without_calibrated_adcs_is_refused(program, inputs, bits, adc_range):
    with pytest.raises(ConfigError, match="adc_range"):
        calibrate_adcs(program, 1, inputs, hardware=hardware(program, bits, adc_range))


def test_no_data_gives_no_ranges(program, inputs):
    nothing = {name: values[:0] for name, values in inputs.items()}
    with pytest.raises(DataError):
        calibrate_adcs(program, 1, nothing, hardware=hardware(program, 4, "calibrated-layer"))


def test_ranges_of_other_tiles_and_none_are_refused(program, inputs):
    made = hardware(program, 4, "calibrated-layer")
    ranges = calibrate_adcs(program, 1, inputs, hardware=made).layers
    for changed in ({}, {"conv": ranges["conv"][:-1]}, {"conv": (*ranges["conv"], ranges["conv"][0])}):
        with pytest.raises(ConfigError, match="other tiles"):
            AnalogExecutor(program, 1, hardware=made, ranges=changed)
    with pytest.raises(ConfigError, match="no ranges are given"):
        AnalogExecutor(program, 1, hardware=made)

"""Files of ranges: they come back as they were, fit one program alone, and damage is told."""

from __future__ import annotations

import numpy as np
import pytest
from accelerators import make_accelerator
from random_networks import random_inputs
from small_programs import conv_network

from mho.accelerator.array import Placement
from mho.accelerator.converters import AdcRange
from mho.accelerator.loading import accelerator_from_json, override
from mho.errors import ConfigError, InputFileError
from mho.program.lowering import compile_network
from mho.simulation.adc_ranges import AdcRanges, calibrate_adcs, read_ranges, write_ranges
from mho.simulation.arrays import read_arrays, write_arrays


def with_adc(program, bits=3, adc_range="calibrated-columns"):
    content = program.accelerator.to_json()
    content["converters"].update(adc_bits=bits, adc_range=adc_range)
    return accelerator_from_json(content, where="test")


@pytest.fixture(scope="module")
def network():
    return conv_network((1, 8, 6, 6), outputs=8)


@pytest.fixture(scope="module")
def program(network):
    return compile_network(network, make_accelerator(40, 24, 2))


@pytest.fixture(scope="module")
def ranges(network, program):
    return calibrate_adcs(program, 7, random_inputs(network, 4), hardware=with_adc(program))


def test_a_file_holds_all_of_it_in_the_same_bytes(ranges, tmp_path):
    for name in ("a.npz", "b.npz"):
        write_ranges(ranges, tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    read = read_ranges(tmp_path / "a.npz")
    assert (read.digest, read.seed, read.adc_bits, read.adc_range) == (ranges.digest, 7, 3, AdcRange.CALIBRATED_COLUMNS)
    assert list(read.layers) == list(ranges.layers) == ["conv"]
    assert len(read.layers["conv"]) == len(ranges.layers["conv"]) > 1
    for one, other in zip(read.layers["conv"], ranges.layers["conv"], strict=True):
        np.testing.assert_array_equal(one, other)


def test_layers_of_no_tiles_and_several_layers_keep_their_order(tmp_path):
    ends = [np.arange(count, dtype=float) for count in (1, 3, 2)]
    tiles = [(-end, end + 1) for end in ends]
    layers = {"z": (tiles[0],), "none": (), "a/b": (tiles[1], tiles[2])}
    write_ranges(
        AdcRanges("00" * 32, 2**70, 4, AdcRange.CALIBRATED_LAYER, Placement.AS_MAPPED, layers), tmp_path / "r.npz"
    )
    read = read_ranges(tmp_path / "r.npz")
    assert read.seed == 2**70
    assert {name: len(found) for name, found in read.layers.items()} == {"z": 1, "none": 0, "a/b": 2}
    assert list(read.layers) == ["z", "none", "a/b"]
    np.testing.assert_array_equal(read.layers["a/b"][1], tiles[2])


def test_they_fit_the_program_and_the_bits_that_they_were_found_for(network, program, ranges):
    fitted = ranges.fit(program, with_adc(program, adc_range="full-scale"))
    assert fitted.converters.adc_range is AdcRange.CALIBRATED_COLUMNS
    assert fitted.converters.adc_bits == 3
    with pytest.raises(ConfigError, match=r"ADCs of 3 bits, and converters\.adc_bits is 4"):
        ranges.fit(program, with_adc(program, bits=4))
    placed = override(with_adc(program), placement=Placement.FAULT_AWARE)
    with pytest.raises(ConfigError, match="found with as-mapped placement"):
        ranges.fit(program, placed)
    found = calibrate_adcs(program, 7, random_inputs(network, 2), hardware=placed)
    assert found.fit(program, placed).array.placement is Placement.FAULT_AWARE
    with pytest.raises(ConfigError, match="found with fault-aware placement"):
        found.fit(program, with_adc(program))
    with pytest.raises(ConfigError, match="another program"):
        ranges.fit(compile_network(network, make_accelerator(40, 26, 2)), with_adc(program))


@pytest.mark.parametrize("adc_range", [AdcRange.CALIBRATED_LAYER, AdcRange.CALIBRATED_SLICES])
def test_what_shares_a_range_may_be_told_beside_the_hardware(network, program, adc_range, tmp_path):
    hardware, inputs = with_adc(program, adc_range="full-scale"), random_inputs(network, 2)
    found = calibrate_adcs(program, 0, inputs, hardware=hardware, adc_range=adc_range)
    assert found.adc_range is adc_range
    write_ranges(found, tmp_path / "r.npz")
    assert read_ranges(tmp_path / "r.npz").fit(program, hardware).converters.adc_range is adc_range
    with pytest.raises(ConfigError, match="adc_range"):
        calibrate_adcs(program, 0, inputs, hardware=hardware)
    with pytest.raises(ConfigError, match="'ideal'"):
        calibrate_adcs(program, 0, inputs, hardware=program.accelerator, adc_range=AdcRange.CALIBRATED_LAYER)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"lowest": None}, "holds no 'lowest'"),
        ({"tiles": np.array([1.0])}, "'tiles' is float64"),
        ({"digest": np.zeros(3, np.uint8)}, "head is damaged"),
        ({"adc_bits": np.array(0)}, "head is damaged"),
        ({"adc_range": np.array("full-scale")}, "head is damaged"),
        ({"seed": np.array("-1")}, "head is damaged"),
        ({"tiles": np.array([-1])}, "do not fit each other"),
        ({"tiles": np.array([1])}, "do not fit each other"),
        ({"layers": np.array(["conv", "conv"])}, "do not fit each other"),
        ({"conversions": np.array([1, 2, 3])}, "do not fit each other"),
        ({"highest": np.zeros(2)}, "do not fit each other"),
    ],
)
def test_damage_is_told(ranges, tmp_path, change, told):
    path = tmp_path / "r.npz"
    write_ranges(ranges, path)
    arrays = {**read_arrays(path), **change}
    write_arrays(path, {name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(InputFileError, match=told):
        read_ranges(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e9])
def test_ranges_that_are_empty_or_not_finite_are_told(ranges, tmp_path, value):
    path = tmp_path / "r.npz"
    write_ranges(ranges, path)
    arrays = read_arrays(path)
    arrays["highest"][1] = value
    write_arrays(path, arrays)
    with pytest.raises(InputFileError, match="empty or not finite"):
        read_ranges(path)

"""Files of ranges: they come back as they were, fit one program alone, and damage is refused."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from accelerators import make_accelerator, with_array, with_converters
from random_networks import random_inputs
from small_programs import conv_network

from mho.array.conductances import Conditions
from mho.array_files import read_arrays, write_arrays
from mho.errors import ConfigError, InputFileError
from mho.hardware.array import Placement
from mho.hardware.converters import AdcRange
from mho.hardware.loading import override
from mho.program.lowering import compile_network
from mho.simulation.adc_ranges import AdcRanges, calibrate_adcs, read_ranges, write_ranges
from mho.simulation.chip_origin import ORIGIN


def with_adc(program, bits=3, adc_range="calibrated-columns"):
    return with_converters(program.accelerator, adc_bits=bits, adc_range=adc_range)


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
    assert (read.origin, read.digest) == (ranges.origin, ranges.digest)
    assert (read.origin.seed, read.adc_bits, read.adc_range) == (7, 3, AdcRange.CALIBRATED_COLUMNS)
    assert list(read.layers) == list(ranges.layers) == ["conv"]
    assert len(read.layers["conv"]) == len(ranges.layers["conv"]) > 1
    for one, other in zip(read.layers["conv"], ranges.layers["conv"], strict=True):
        np.testing.assert_array_equal(one, other)


def test_layers_of_no_tiles_and_several_layers_keep_their_order(ranges, tmp_path):
    ends = [np.arange(count, dtype=float) for count in (1, 3, 2)]
    tiles = [(-end, end + 1) for end in ends]
    layers = {"z": (tiles[0],), "none": (), "a/b": (tiles[1], tiles[2])}
    write_ranges(AdcRanges(ranges.origin.model_copy(update={"seed": 2**70}), layers), tmp_path / "r.npz")
    read = read_ranges(tmp_path / "r.npz")
    assert read.origin.seed == 2**70
    assert {name: len(found) for name, found in read.layers.items()} == {"z": 1, "none": 0, "a/b": 2}
    assert list(read.layers) == ["z", "none", "a/b"]
    np.testing.assert_array_equal(read.layers["a/b"][1], tiles[2])


def test_they_fit_the_chip_that_they_were_found_on(program, ranges):
    fitted = ranges.fit(program, 7, with_adc(program, adc_range="full-scale"))
    assert fitted.converters.adc_range is AdcRange.CALIBRATED_COLUMNS
    assert fitted.converters.adc_bits == 3


def test_another_chip_other_cells_and_another_age_are_refused_unless_they_are_meant(program, ranges):
    hardware = with_adc(program)
    erring, drifting = with_array(hardware, cell_variation=0.5), with_array(hardware, drift_exponent=0.1)
    by_level = with_array(hardware, programming_error=[0, 0.1, 0, 0])
    for message, seed, given, when in [
        ("seed = 7, and it is 8", 8, erring, None),
        ("array.cell_variation = 0, and it is 0.5", 7, erring, None),
        ("array.programming_error = 0, and it is [0, 0.1, 0, 0]", 7, by_level, None),
        ("array.drift_exponent = 0, and it is 0.1", 7, drifting, Conditions(1e4)),
    ]:
        with pytest.raises(ConfigError, match=re.escape(message)):
            ranges.fit(program, seed, given, when)
        assert ranges.fit(program, seed, given, when, transferred=True) == given
        assert message.startswith(tuple(ranges.differences(program, seed, given, when)))


def test_what_changes_no_range_may_differ(network, program, ranges):
    hardware, inputs = with_adc(program), random_inputs(network, 4)
    alike = [
        with_array(hardware, read_noise=0.5, read_noise_of="range"),
        with_array(hardware, lrs_siemens=1e-4, drift_reference_s=7, spare_cols=5),
        with_array(hardware, drift_exponent=0.1),  # at once
        with_array(hardware, programming_error=[0] * 4),
        override(hardware, placement=Placement.FAULT_AWARE),
        with_converters(hardware, adc_offset_lsb=1, adc_gain_error=0.1, adc_latency_us_per_bit=1),
    ]
    assert ranges.fit(program, 8, hardware) == hardware  # chips of cells without errors are alike
    for given in alike:
        assert ranges.fit(program, 7, given) == given
        assert calibrate_adcs(program, np.int64(7), inputs, hardware=given).digest == ranges.digest
    analog = with_converters(hardware, column_difference="analog")
    found = calibrate_adcs(program, 7, inputs, hardware=analog)
    shared = with_converters(analog, columns_per_adc=2)  # two share one anyway
    assert found.fit(program, 7, shared) == shared
    of_layer = calibrate_adcs(program, 7, inputs, hardware=hardware, adc_range=AdcRange.CALIBRATED_LAYER)
    assert of_layer.fit(program, 7, with_converters(hardware, columns_per_adc=8)).converters.columns_per_adc == 8


def test_ages_that_affect_cells_count(network, program):
    hardware = with_array(with_adc(program), drift_exponent=0.1)
    inputs, day = random_inputs(network, 2), Conditions(86400)
    found = calibrate_adcs(program, 7, inputs, hardware=hardware, conditions=day)
    with pytest.raises(ConfigError, match=r"elapsed_s = 86400\.0, and it is unspecified"):
        found.fit(program, 7, hardware)
    with pytest.raises(ConfigError, match=r"elapsed_s = 86400\.0, and it is 100\.0"):
        found.fit(program, 7, hardware, Conditions(100))
    # Without an activation energy, and where reads disturb nothing, the rest does not affect cells.
    assert found.fit(program, 7, hardware, Conditions(86400, 350, reads=5)) == hardware


def test_seeds_and_reads_are_whole_numbers(network, program, tmp_path):
    hardware, inputs = with_array(with_adc(program), read_disturb_reads=100), random_inputs(network, 2)
    found = calibrate_adcs(program, 7, inputs, hardware=hardware, conditions=Conditions(reads=np.int64(5)))
    write_ranges(found, tmp_path / "r.npz")
    assert read_ranges(tmp_path / "r.npz").fit(program, 7, hardware, Conditions(reads=5.0)) == hardware
    for seed, message in ((-1, "seed -1"), (10**1000, "more than 1000 digits")):
        with pytest.raises(ConfigError, match=message):
            calibrate_adcs(program, seed, inputs, hardware=hardware)


def test_other_programs_bits_and_lines_are_refused_in_any_case(network, program, ranges):
    def refused(found, message, other, hardware, seed=7):
        with pytest.raises(ConfigError, match=message):
            found.fit(other, seed, hardware, transferred=True)

    refused(ranges, "another program", compile_network(network, make_accelerator(40, 26, 2)), with_adc(program))
    refused(ranges, r"converters\.adc_bits = 3, and it is 4", program, with_adc(program, bits=4))
    shared = with_converters(with_adc(program), columns_per_adc=8)
    refused(ranges, r"columns_per_adc = 1, and it is 8", program, shared)
    of_slices = AdcRange.CALIBRATED_SLICES
    found = calibrate_adcs(program, 7, random_inputs(network, 2), hardware=with_adc(program), adc_range=of_slices)
    assert found.fit(program, 7, shared, transferred=True).converters.columns_per_adc == 8
    stuck = with_array(with_adc(program), stuck_on_rate=0.01)
    placed = override(stuck, placement=Placement.FAULT_AWARE)
    found = calibrate_adcs(program, 7, random_inputs(network, 2), hardware=stuck)
    refused(found, r"array\.placement = as-mapped, and it is fault-aware", program, placed)
    found = calibrate_adcs(program, 7, random_inputs(network, 2), hardware=placed)
    assert found.fit(program, 7, placed).array.placement is Placement.FAULT_AWARE
    refused(found, "seed = 7, and it is 8", program, placed, seed=8)
    for other in ({"spare_cols": 3}, {"stuck_off_rate": 0.1}, {"levels": [0, 0.1, 0.2, 1]}):
        refused(found, rf"array\.{next(iter(other))} = ", program, with_array(placed, **other))


@pytest.mark.parametrize("adc_range", [AdcRange.CALIBRATED_LAYER, AdcRange.CALIBRATED_SLICES])
def test_what_shares_a_range_may_be_given_beside_the_hardware(network, program, adc_range, tmp_path):
    hardware, inputs = with_adc(program, adc_range="full-scale"), random_inputs(network, 2)
    found = calibrate_adcs(program, 0, inputs, hardware=hardware, adc_range=adc_range)
    assert found.adc_range is adc_range
    write_ranges(found, tmp_path / "r.npz")
    assert read_ranges(tmp_path / "r.npz").fit(program, 0, hardware).converters.adc_range is adc_range
    with pytest.raises(ConfigError, match="adc_range"):
        calibrate_adcs(program, 0, inputs, hardware=hardware)
    with pytest.raises(ConfigError, match="'ideal'"):
        calibrate_adcs(program, 0, inputs, hardware=program.accelerator, adc_range=AdcRange.CALIBRATED_LAYER)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lowest": None}, "holds no 'lowest'"),
        ({"tiles": np.array([1.0])}, "'tiles' is float64"),
        ({ORIGIN: None}, "holds no 'origin'"),
        ({ORIGIN: np.array(3)}, "origin: damaged"),
        ({ORIGIN: np.array("[]")}, "origin: "),
        ({ORIGIN: np.array("[" * 100_000)}, "origin: not JSON"),
        ({"tiles": np.array([-1])}, "do not fit each other"),
        ({"tiles": np.array([1])}, "do not fit each other"),
        ({"layers": np.array(["conv", "conv"])}, "do not fit each other"),
        ({"conversions": np.array([1, 2, 3])}, "do not fit each other"),
        ({"highest": np.zeros(2)}, "do not fit each other"),
    ],
)
def test_damage_is_refused(ranges, tmp_path, change, message):
    path = tmp_path / "r.npz"
    write_ranges(ranges, path)
    arrays = {**read_arrays(path), **change}
    write_arrays(path, {name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(InputFileError, match=message):
        read_ranges(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, "seed: is -1"),
        ({"reads": 0.5}, "reads"),
        ({"elapsed_s": float("nan")}, "NaN is not a JSON number"),
        ({"program": "00"}, "program"),
        ({"array": {"read_noise": -1}}, "array.read_noise: is -1"),
        ({"else": 1}, "else: unknown key"),
        ({"converters": {"dac_bits": 1, "adc_bits": 3}}, "no ranges"),
        ({"converters": {"dac_bits": 1, "adc_bits": "ideal", "adc_range": "calibrated-layer"}}, "no ranges"),
    ],
)
def test_impossible_origins_are_refused(ranges, tmp_path, change, message):
    path = tmp_path / "r.npz"
    write_ranges(ranges, path)
    arrays = read_arrays(path)
    origin = json.loads(arrays[ORIGIN].item()) | change
    write_arrays(path, {**arrays, ORIGIN: np.array(json.dumps(origin))})
    with pytest.raises(InputFileError, match=message):
        read_ranges(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e9])
def test_ranges_that_are_empty_or_not_finite_are_refused(ranges, tmp_path, value):
    path = tmp_path / "r.npz"
    write_ranges(ranges, path)
    arrays = read_arrays(path)
    arrays["highest"][1] = value
    write_arrays(path, arrays)
    with pytest.raises(InputFileError, match="empty or not finite"):
        read_ranges(path)

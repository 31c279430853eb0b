"""Layers whose sums are converted with bits of their own: what costs say, what programs do, what chips compute."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerators import make_accelerator
from bits import assert_same_bits
from chip_networks import make_chain
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_networks import networks, random_inputs
from small_programs import conv_network

from mho.array.calibration import RangeRule, SumCounts
from mho.array.converters import make_adc
from mho.cost_model.bounds import bound_network
from mho.cost_model.energy import energy_network
from mho.cost_model.latency import cost_network
from mho.errors import ConfigError, ProgramError
from mho.hardware.converters import AdcRange
from mho.mapping.layer_mapping import MappingModel
from mho.policy import BitWidths, Policy
from mho.program.codec import decode_instructions, encode_instructions
from mho.program.instructions import Layer
from mho.program.lowering import compile_network, read_widths
from mho.program.verify import verify_program
from mho.quantization.ptq import quantize
from mho.simulation.adc_ranges import calibrate_adcs
from mho.simulation.analog import AnalogExecutor
from mho.simulation.executor import Executor
from mho.simulation.timing import time_program

MOST = 7
IDEAL = make_accelerator(12, 12, 2)
CHAIN = make_chain()
slow = settings(max_examples=examples(25), deadline=None, suppress_health_check=list(HealthCheck))
own_bits = st.lists(st.integers(1, MOST) | st.none(), min_size=8, max_size=8)


def hardware(adc_bits=MOST, adc_range=AdcRange.CALIBRATED_COLUMNS, per_bit=0.3, **energy):
    converters = {"adc_range": str(adc_range), "adc_latency_us_per_bit": per_bit, "columns_per_adc": 3}
    return make_accelerator(12, 12, 2, adc_bits=adc_bits, converters=converters, energy=energy)


def bits_by_name(network, drawn):
    return {name: bits for name, bits in zip(network.layer_names, drawn, strict=False) if bits is not None}


@slow
@given(networks(), own_bits, st.sampled_from(MappingModel))
def test_the_program_takes_what_is_predicted_and_comes_back_from_its_file(network, drawn, model):
    own = bits_by_name(network, drawn)
    program = compile_network(network, hardware(), model=model, adc_bits=own)
    cost = cost_network(network, read_widths(network, own), hardware(), model=model)
    timed = {layer.name: layer.latency_ps for layer in time_program(program).layers}
    assert timed == {layer.mapping.layer.name: layer.latency_ps for layer in cost.layers}
    assert bound_network(cost.mapping, hardware()).latency_ps <= cost.latency_ps
    encoded = encode_instructions(program.instructions)
    assert decode_instructions(encoded, "instructions") == program.instructions
    encoded_bits = {item["name"]: item["adc_bits"] for item in encoded if "adc_bits" in item}
    assert encoded_bits == own


@slow
@given(networks(), st.integers(2, MOST), st.sampled_from(MappingModel))
def test_bits_that_all_layers_have_are_those_of_an_accelerator_with_so_many(network, bits, model):
    names = network.layer_names
    with_own = compile_network(network, hardware(), model=model, adc_bits=dict.fromkeys(names, bits))
    without = compile_network(network, hardware(bits), model=model)
    assert tuple(replace(layer, adc_bits=None) for layer in with_own.layers) == without.layers
    assert time_program(with_own) == time_program(without)
    energies = []
    for own, made in ((dict.fromkeys(names, bits), hardware(adc_supply_v=1)), ({}, hardware(bits, adc_supply_v=1))):
        costs = cost_network(network, read_widths(network, own), made, model=model)
        energies.append(energy_network(costs, made).energy)
    assert energies[0] == energies[1]


@slow
@given(networks(), st.sampled_from(MappingModel))
def test_fewer_bits_take_no_more_time(network, model):
    """Without a bound on errors: fewer bits may ask for a slower mapping that keeps one."""
    made, found = hardware().with_max_error("none"), []
    for bits in (1, 3, 5, MOST, None):
        own = {} if bits is None else dict.fromkeys(network.layer_names, bits)
        cost = cost_network(network, read_widths(network, own), made, model=model)
        found.append((cost.latency_ps, bound_network(cost.mapping, made).latency_ps))
    assert found == sorted(found)
    assert found[-1] == found[-2]
    assert [bound for _, bound in found] == sorted(bound for _, bound in found)


@pytest.mark.parametrize("adc_range", [kind for kind in AdcRange if kind is not AdcRange.FULL_SCALE])
def test_each_layer_is_converted_as_on_a_chip_whose_adcs_have_its_bits(adc_range):
    """Ranges come from ideal sums, so those of a layer are the ones that a chip of so many bits finds for it."""
    inputs = np.random.default_rng(1).standard_normal((3, 1, 6, 6)).astype(np.float32)
    network, made = (
        quantize(CHAIN, Policy.uniform(CHAIN.layer_names, BitWidths(4, 4)), inputs),
        hardware(adc_range=adc_range),
    )
    program, plain = (
        compile_network(network, made, model=MappingModel.PAPER, adc_bits=own)
        for own in ({CHAIN.layer_names[0]: 3}, {})
    )
    ranges = calibrate_adcs(program, 1, inputs, hardware=made).layers
    tiles = AnalogExecutor(program, 1, hardware=made, ranges=ranges).tiles
    for name, bits in zip(network.layer_names, (3, MOST), strict=True):
        alone = hardware(bits, adc_range)
        expected = calibrate_adcs(plain, 1, inputs, hardware=alone).layers
        others = AnalogExecutor(plain, 1, hardware=alone, ranges=expected).tiles
        np.testing.assert_equal(ranges[name], expected[name])
        for one, other in zip(tiles[name], others[name], strict=True):
            drives = np.random.default_rng(3).integers(0, 2, (5, len(one.rows)))
            np.testing.assert_array_equal(one.product.run(drives), other.product.run(drives))


@settings(slow, max_examples=3)
@given(networks())
def test_a_program_without_bits_computes_what_one_with_those_of_the_accelerator_does(network):
    made, inputs = hardware(), random_inputs(network, 2)
    answers = []
    for own in ({}, dict.fromkeys(network.layer_names, MOST)):
        answers.append(calibrate_and_run(compile_network(network, made, adc_bits=own), inputs, made))
    assert_same_bits(*answers)


def test_a_chip_with_fewer_bits_than_a_layer_has_is_refused_and_one_with_ideal_adcs_reads_all():
    network = conv_network((1, 2, 4, 4))
    program, inputs = compile_network(network, hardware(), adc_bits={"conv": 5}), random_inputs(network, 2)
    with pytest.raises(ConfigError, match="a conversion with 5 bits"):
        calibrate_and_run(program, inputs, hardware(4))
    calibrate_and_run(program, inputs, hardware(5))
    assert_same_bits(AnalogExecutor(program, 1, hardware=IDEAL).run(inputs), Executor(program).run(inputs))


def calibrate_and_run(program, inputs, made):
    ranges = calibrate_adcs(program, 1, inputs, hardware=made).layers
    return AnalogExecutor(program, 1, hardware=made, ranges=ranges).run(inputs)


@given(st.integers(1, 15), st.floats(0, 1e6), st.floats(0, 1e6), st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_the_largest_error_of_sums_in_range_never_grows_with_bits(bits, below, above, places):
    lowest, highest = np.array([-below]), np.array([above])
    coarse, fine = (make_adc(count, lowest, highest) for count in (bits, bits + 1))
    assert (fine.step <= coarse.step).all()
    sums = np.array(places)[:, None] * (highest - lowest) + lowest
    if bits > 1:  # one bit reads both ends and nothing between
        for adc in (coarse, fine):
            assert (np.abs(adc.read(adc.convert(sums)) - sums) <= adc.step / 2 * (1 + 1e-9)).all()


def test_more_bits_lose_less_of_what_data_gives():
    sums = np.random.default_rng(5).normal(0, 400, (4000, 1)).round()
    counts = SumCounts(1)
    counts.see(torch.from_numpy(sums), np.zeros(1, np.int64))
    counts.count(torch.from_numpy(sums), np.zeros(1, np.int64))
    errors = []
    for bits in range(2, 10):
        adc = make_adc(bits, *counts.find_ranges(RangeRule(), bits))
        errors.append(float(((adc.read(adc.convert(sums)) - sums) ** 2).mean()))
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize(
    ("made", "bits"),
    [(hardware(), MOST + 1), (hardware(), 0), (hardware(9, "full-scale"), 4), (IDEAL, 4)],
)
def test_a_program_with_bits_that_its_adcs_do_not_have_is_refused(made, bits):
    program = compile_network(conv_network((1, 2, 4, 4)), hardware())

    def with_bits(bits):
        layers = (replace(item, adc_bits=bits) if isinstance(item, Layer) else item for item in program.instructions)
        return replace(program, instructions=tuple(layers))

    verify_program(with_bits(3))
    with pytest.raises(ProgramError, match=f"conversions with {bits} bits"):
        verify_program(replace(with_bits(bits), accelerator=made))

"""The ADC that a mapping asks for is the least that its program verifies with and that reads every sum on a chip."""

from __future__ import annotations

from dataclasses import replace

import pytest
from accelerators import with_converters
from bits import assert_same_bits
from examples import examples
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from random_mappings import only_layer, random_accelerator, random_mapping
from random_networks import choosers, random_inputs, random_layer

from mho.array.conductances import Device
from mho.array.converters import drive_levels, make_adc
from mho.array.crossbar import full_scale
from mho.errors import ProgramError
from mho.mapping.adc_resolution import required_adc_bits
from mho.network.reference import run_quantized
from mho.program.instructions import LoadInput
from mho.program.lowering import compile_network
from mho.program.program import walk
from mho.program.verify import verify_program
from mho.simulation.analog import AnalogExecutor


def map_at_random(chooser, difference):
    """Return a network of one layer, its mapping onto ideal ADCs, and its program."""
    network = random_layer(chooser)
    hardware = with_converters(random_accelerator(chooser), adc_bits="ideal", column_difference=difference)
    layer, bits = only_layer(network)
    mapping = random_mapping(chooser, layer, bits, hardware)
    return network, mapping, compile_network(network, hardware, mappings={layer.name: mapping})


def coarsest_step(program, bits):
    """Return the coarsest step of ADCs over the full scale, in counts: 1 where every sum is read exactly."""
    steps = [
        make_adc(
            bits,
            *full_scale(
                Device.of(program.accelerator),
                tile.product.layout,
                tile.product.conversions,
                drive_levels(program.accelerator.converters.dac_bits, 0),
                0.0,
            ),
        ).step.max()
        for tiles in AnalogExecutor(program, 1).tiles.values()
        for tile in tiles
    ]
    return max(steps)


@settings(max_examples=examples(20), deadline=None, suppress_health_check=list(HealthCheck))
@given(choosers(), st.sampled_from(["digital", "analog"]))
def test_programs_need_the_bits_that_mappings_ask_for(chooser, difference):
    network, mapping, program = map_at_random(chooser, difference)
    rows = [len(item.rows) for item, _ in walk(program.layers[0].body) if isinstance(item, LoadInput)]
    demand = required_adc_bits(program.accelerator, mapping.encoding, max(rows))
    assume(1 < demand <= 16)
    enough, short = (with_converters(program.accelerator, adc_bits=bits) for bits in (demand, demand - 1))
    verify_program(replace(program, accelerator=enough))
    with pytest.raises(ProgramError, match=f"an ADC of {demand} bits"):
        verify_program(replace(program, accelerator=short))
    verify_program(replace(program, accelerator=with_converters(short, adc_range="calibrated-layer")))
    assert coarsest_step(program, demand) == 1 < coarsest_step(program, demand - 1)
    inputs = random_inputs(network, 2)
    assert_same_bits(AnalogExecutor(program, 1, hardware=enough).run(inputs), run_quantized(network, inputs))

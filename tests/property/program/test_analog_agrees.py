"""On ideal arrays the analog engine gives the bits of the executor, for any network, hardware and mapping."""

from __future__ import annotations

from accelerators import accelerators
from bits import assert_same_bits
from chip_programs import random_chip_network, random_schedule
from examples import examples
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from random_mappings import random_accelerator, random_mapping
from random_networks import choosers, networks, random_inputs, random_layer

from mho.errors import MappingError
from mho.hardware.loading import accelerator_from_json
from mho.mapping.layer_mapping import MappingModel
from mho.network.layers import derive_layer
from mho.network.reference import run_quantized
from mho.policy import BitWidths
from mho.program.lowering import compile_network, compile_schedule
from mho.simulation.analog import AnalogExecutor

RELAXED = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=examples(40), **RELAXED)
@given(networks(), accelerators(), st.sampled_from(MappingModel), st.integers(1, 3))
def test_ideal_arrays_give_the_bits_of_the_integer_reference(network, accelerator, model, samples):
    inputs = random_inputs(network, samples)
    executor = AnalogExecutor(compile_network(network, accelerator, model=model), 1)
    assert_same_bits(executor.run(inputs, batch_size=2), run_quantized(network, inputs))


@settings(max_examples=examples(20), **RELAXED)
@given(choosers(), st.integers(1, 3))
def test_chips_with_copies_of_layers_give_them(chooser, samples):
    network = random_chip_network(chooser)
    try:
        program = compile_schedule(network, random_schedule(chooser, network))
    except MappingError:
        assume(False)
    inputs = random_inputs(network, samples)
    assert_same_bits(AnalogExecutor(program, 1).run(inputs, batch_size=2), run_quantized(network, inputs))


@settings(max_examples=examples(40), **RELAXED)
@given(choosers(), st.sampled_from(["digital", "analog"]), st.integers(1, 3))
def test_every_mapping_and_either_difference_gives_them(chooser, difference, samples):
    network, content = random_layer(chooser), random_accelerator(chooser).to_json()
    content["converters"].update(column_difference=difference)
    content["array"].update(on_off_ratio=3)
    hardware = accelerator_from_json(content, where="drawn")
    (node,) = network.mvm_nodes
    grids = node.quantization
    layer, bits = derive_layer(network, node), BitWidths(grids.weight.bits, grids.input.bits)
    mapping = random_mapping(chooser, layer, bits, hardware)
    program = compile_network(network, hardware, mappings={layer.name: mapping})
    inputs = random_inputs(network, samples)
    assert_same_bits(AnalogExecutor(program, 1).run(inputs), run_quantized(network, inputs))

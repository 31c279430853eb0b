"""Any mapping that an accelerator allows, not only the best, becomes an exact program that takes the predicted time."""

from accelerators import make_accelerator
from bits import assert_same_bits
from examples import RELAXED, examples
from hypothesis import given, settings
from hypothesis import strategies as st
from random_mappings import only_layer, random_accelerator, random_mapping
from random_networks import choosers, random_inputs, random_layer

from mho.cost_model.latency import cost_layer
from mho.hardware.loading import accelerator_from_json
from mho.mapping.best_mapping import MappingChoice
from mho.network.reference import run_quantized
from mho.program.instructions import DigitalProduct
from mho.program.lowering import compile_network
from mho.program.program import walk
from mho.simulation.analog import AnalogExecutor
from mho.simulation.executor import Executor
from mho.simulation.interpreter import interpret
from mho.simulation.timing import time_program


def draw_hardware(chooser, operation_us):
    """Any accelerator with either difference of columns, whose digital unit takes time."""
    content = random_accelerator(chooser).to_json()
    content["digital"] = {"operation_latency_us": operation_us}
    content["converters"].update(column_difference=chooser.choice(("digital", "analog")))
    content["array"].update(on_off_ratio=3)
    return accelerator_from_json(content, where="drawn")


def check(network, hardware, mapping, samples):
    """All engines give the reference, and the program does and takes what the mapping claims."""
    program = compile_network(network, hardware, mappings={mapping.layer.name: mapping})
    inputs = random_inputs(network, samples)
    expected, execution = run_quantized(network, inputs), interpret(program, inputs)
    assert_same_bits(execution.outputs, expected)
    assert_same_bits(Executor(program).run(inputs, batch_size=2), expected)
    assert_same_bits(AnalogExecutor(program, 1).run(inputs), expected)
    name = mapping.layer.name
    assert (execution.writes, execution.mvms) == ({name: mapping.tiles}, {name: mapping.mvms})
    (timing,) = time_program(program).layers
    cost = cost_layer(mapping, hardware)
    assert (timing.writes, timing.mvms) == (mapping.tiles, mapping.mvms)
    assert (timing.write_ps, timing.read_ps) == (cost.write_ps, cost.read_ps)
    return program


@settings(max_examples=examples(150), **RELAXED)
@given(choosers(), st.sampled_from(["ideal", 0.000007, 0.1]), st.integers(1, 3))
def test_every_allowed_mapping_becomes_a_program_that_is_exact_and_takes_the_time_it_costs(
    chooser, operation_us, samples
):
    network, hardware = random_layer(chooser), draw_hardware(chooser, operation_us)
    layer, bits = only_layer(network)
    if chooser.integer(0, 2):
        mapping = random_mapping(chooser, layer, bits, hardware)
    else:
        mapping = MappingChoice(layer, bits.weight_bits, hardware, 1).mapping(bits)
    check(network, hardware, mapping, samples)


@settings(max_examples=examples(40), **RELAXED)
@given(choosers())
def test_layers_with_weights_run_on_the_digital_unit_where_that_is_faster(chooser):
    network = random_layer(chooser, kinds=("conv", "linear"))
    layer, bits = only_layer(network)
    hardware = make_accelerator(
        crossbar={"write_latency_us": 10_000, "mvm_latency_us": 10_000},
        mapping={"digital_layers": "auto"},
        digital={"operation_latency_us": 0.000001},
    )
    mapping = MappingChoice(layer, bits.weight_bits, hardware, 1).mapping(bits)
    program = check(network, hardware, mapping, 2)
    assert mapping.is_digital
    assert sum(isinstance(item, DigitalProduct) for item, _ in walk(program.instructions)) == 1


@settings(max_examples=examples(20), **RELAXED)
@given(choosers())
def test_products_of_activations_run_on_the_digital_unit_where_writing_is_expensive(chooser):
    network = random_layer(chooser, kinds=("matmul",))
    layer, bits = only_layer(network)
    hardware = make_accelerator(
        crossbar={"write_latency_us": 10_000, "mvm_latency_us": 10_000}, digital={"operation_latency_us": 0.000001}
    )
    mapping = MappingChoice(layer, bits.weight_bits, hardware, 1).mapping(bits)
    program = check(network, hardware, mapping, 2)
    assert mapping.is_digital
    assert sum(isinstance(item, DigitalProduct) for item, _ in walk(program.instructions)) == 1

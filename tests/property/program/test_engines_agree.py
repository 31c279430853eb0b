"""The central promise: interpreter = executor = integer reference, to the last bit, for any network and hardware."""

import tempfile
from pathlib import Path

import pytest
from accelerators import accelerators, make_accelerator
from bits import assert_same_bits
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_networks import SeededChooser, networks, random_inputs, random_network

from mho.cost_model.latency import cost_network
from mho.hardware.spec import PAPER_ENCODINGS
from mho.mapping.layer_mapping import MappingModel
from mho.network.reference import run_quantized
from mho.policy import BitWidths, Policy
from mho.program.container import read_program, write_program
from mho.program.lowering import compile_network
from mho.simulation.executor import Executor
from mho.simulation.interpreter import interpret
from mho.simulation.timing import time_program

RELAXED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}


MODELS = st.sampled_from(MappingModel)


def policy_of(network):
    grids = {node.name: node.quantization for node in network.mvm_nodes}
    return Policy({name: BitWidths(grid.weight.bits, grid.input.bits) for name, grid in grids.items()})


@settings(max_examples=examples(250), **RELAXED)
@given(networks(), accelerators(), MODELS, st.integers(1, 3))
def test_interpreter_and_executor_give_the_bits_of_the_integer_reference(network, accelerator, model, samples):
    inputs = random_inputs(network, samples)
    expected = run_quantized(network, inputs)
    program = compile_network(network, accelerator, model=model)
    execution = interpret(program, inputs)
    assert_same_bits(execution.outputs, expected)
    assert_same_bits(Executor(program).run(inputs, batch_size=2), expected)


@settings(max_examples=examples(80), **RELAXED)
@given(networks(), accelerators(), MODELS)
def test_a_program_takes_the_time_that_the_cost_model_predicts_and_does_what_it_counts(network, accelerator, model):
    program = compile_network(network, accelerator, model=model)
    timing = time_program(program)
    predicted = cost_network(network, policy_of(network), accelerator, model=model)
    assert [layer.name for layer in timing.layers] == [layer.mapping.layer.name for layer in predicted.layers]
    for mine, theirs in zip(timing.layers, predicted.layers, strict=True):
        assert (mine.writes, mine.mvms) == (theirs.writes, theirs.mapping.mvms)
        assert (mine.write_ps, mine.read_ps) == (theirs.write_ps, theirs.read_ps)
    assert timing.latency_ps == predicted.latency_ps
    execution = interpret(program, random_inputs(network, 2))
    assert execution.writes == {layer.name: layer.writes for layer in timing.layers}
    assert execution.mvms == {layer.name: layer.mvms for layer in timing.layers}


@settings(max_examples=examples(50), **RELAXED)
@given(networks(), accelerators(), MODELS)
def test_a_program_survives_its_file_and_writes_the_same_bytes_again(network, accelerator, model):
    program = compile_network(network, accelerator, model=model, metadata={"note": "ä", "numbers": [1, 2.5, None]})
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder) / "a.mho", Path(folder) / "b.mho"
        write_program(program, first)
        loaded = read_program(first)
        assert loaded.instructions == program.instructions
        assert dict(loaded.buffers) == dict(program.buffers)
        assert loaded.accelerator == program.accelerator
        write_program(loaded, second)
        assert first.read_bytes() == second.read_bytes()
        inputs = random_inputs(network, 2)
        assert_same_bits(Executor(loaded).run(inputs), interpret(program, inputs).outputs)


@pytest.mark.parametrize("encoding", PAPER_ENCODINGS)
@pytest.mark.parametrize("seed", range(12))
def test_results_do_not_depend_on_the_batch_size_nor_on_the_hardware(encoding, seed):
    network = random_network(SeededChooser(seed))
    inputs = random_inputs(network, 7)
    expected = run_quantized(network, inputs)
    for rows, cell_bits, dac_bits in ((3, 1, 1), (16, 8, 8), (300, 4, 3)):
        program = compile_network(network, make_accelerator(rows, 11, cell_bits, dac_bits, encoding=encoding))
        executor = Executor(program)
        for batch_size in (1, 3, 7, None):
            assert_same_bits(executor.run(inputs, batch_size), expected)

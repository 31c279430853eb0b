"""What is counted as skippable is what an interpreter skips, MVM by MVM, and skipping changes no output."""

import numpy as np
import pytest
from accelerators import accelerators, make_accelerator
from bits import assert_same_bits
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_networks import SeededChooser, networks, random_inputs, random_network

from mho.mapping.layer_mapping import MappingModel
from mho.network.reference import run_quantized
from mho.program.instruction_costs import price_layer
from mho.program.lowering import compile_network
from mho.simulation.interpreter import interpret
from mho.simulation.timing import time_program
from mho.simulation.zero_slices import count_zero_slices

RELAXED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}


def sparse_inputs(network, samples, share, seed):
    """Inputs of which about this share is zero."""
    generator = np.random.default_rng(seed)
    return {
        name: (array * (generator.random(array.shape) >= share)).astype(np.float32)
        for name, array in random_inputs(network, samples).items()
    }


def assert_counted_as_interpreted(network, program, inputs, batch_size=None):
    counted = count_zero_slices(program, inputs, batch_size)
    execution = interpret(program, inputs, skip_zero_slices=True)
    timing = time_program(program)
    prices = {layer.name: price_layer(program, layer) for layer in program.layers}
    assert [layer.name for layer in counted.layers] == list(execution.skipped)
    for layer, timed in zip(counted.layers, timing.layers, strict=True):
        skipped = execution.skipped[layer.name]
        assert (layer.mvms, layer.latency_ps) == (timed.mvms, timed.latency_ps)
        np.testing.assert_array_equal(layer.skipped, skipped.mvms)
        np.testing.assert_array_equal(layer.saved_ps, prices[layer.name].reading_ps(skipped))
        assert (layer.skipped <= layer.mvms).all()
        assert (layer.saved_ps <= timed.read_ps).all()
    assert_same_bits(execution.outputs, run_quantized(network, inputs))
    return counted


@settings(max_examples=examples(150), **RELAXED)
@given(
    networks(), accelerators(), st.sampled_from(MappingModel), st.integers(1, 3), st.sampled_from([0.0, 0.5, 0.9, 1.0])
)
def test_counting_gives_what_the_interpreter_skips(network, accelerator, model, samples, share):
    program = compile_network(network, accelerator, model=model)
    inputs = sparse_inputs(network, samples, share, samples)
    assert_counted_as_interpreted(network, program, inputs, batch_size=2)


@pytest.mark.parametrize("model", MappingModel)
@pytest.mark.parametrize("rows", [5, 24])  # rows to spare let several input slices enter one MVM
@pytest.mark.parametrize("seed", range(6))
def test_the_batch_size_changes_nothing(seed, rows, model):
    network = random_network(SeededChooser(seed))
    program = compile_network(network, make_accelerator(rows=rows, cols=7, dac_bits=2), model=model)
    inputs = sparse_inputs(network, 7, 0.7, seed)
    whole = assert_counted_as_interpreted(network, program, inputs)
    for batch_size in (1, 3, 7):
        parts = count_zero_slices(program, inputs, batch_size)
        for one, other in zip(whole.layers, parts.layers, strict=True):
            np.testing.assert_array_equal(one.skipped, other.skipped)
            np.testing.assert_array_equal(one.saved_ps, other.saved_ps)

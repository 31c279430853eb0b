"""Recalibration leaves ideal chips alone, undoes what is affine in a channel, and brings back means and deviations."""

from __future__ import annotations

import numpy as np
from accelerators import make_accelerator, with_array
from bits import assert_same_bits
from examples import examples
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from random_networks import SeededChooser, random_inputs, random_layer, random_network
from small_programs import compile_small, conv_network, linear_network

from mho.array.conductances import Conditions
from mho.mapping.layer_mapping import MappingModel
from mho.network.graph import Grid
from mho.program.lowering import compile_network
from mho.program.verify import verify_program
from mho.simulation.analog import AnalogExecutor
from mho.simulation.executor import Executor
from mho.simulation.recalibration import recalibrate

RELAXED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
SEEDS = st.integers(0, 2**31)
ACCELERATORS = st.sampled_from([make_accelerator(24, 16, 2), make_accelerator(9, 40, 1), make_accelerator(64, 64, 4)])


@settings(max_examples=examples(20), **RELAXED)
@given(SEEDS, ACCELERATORS, st.sampled_from(MappingModel), st.integers(1, 4))
@example(11979, make_accelerator(24, 16, 2), MappingModel.BEST, 1)  # a convolution of bytes, channels last
def test_ideal_chips_are_left_alone(seed, accelerator, model, batch_size):
    network = random_network(SeededChooser(seed))
    program = compile_network(network, accelerator, model=model)
    inputs = random_inputs(network, 4)
    corrections = recalibrate(program, seed, inputs, batch_size=batch_size)
    assert not any(one.changes for one in corrections.layers.values())
    assert corrections.correct(program) is program
    assert_same_bits(AnalogExecutor(program, seed).run(inputs), Executor(program).run(inputs))


@settings(max_examples=examples(20), **RELAXED)
@given(SEEDS, st.sampled_from([0.01, 0.1, 0.4]), st.booleans())
def test_a_gain_of_all_columns_is_undone(seed, exponent, has_bias):
    """Drift without spread multiplies every cell, and so every sum, with one factor."""
    generator = np.random.default_rng(seed)
    weights = generator.integers(-7, 8, (6, 30))
    bias = generator.standard_normal(6).astype(np.float32) if has_bias else None
    network = linear_network(weights, Grid(np.float32(0.25), np.int64(0), 0, 15, 4), bias=bias)
    program = compile_small(network, make_accelerator(16, 12, 2))
    aged, later = (
        with_array(program.accelerator, drift_exponent=exponent, drift_reference_s=1),
        Conditions(elapsed_s=1000),
    )
    seen, unseen = random_inputs(network, 24, seed=1), random_inputs(network, 8, seed=2)
    corrections = recalibrate(program, 3, seen, hardware=aged, conditions=later)
    # Cells are kept in two bytes, which tell worn ones, a sixteenth of what they were, less finely.
    np.testing.assert_allclose(corrections.layers["fc"].scale, 1000**exponent, rtol=3e-3)
    corrected = corrections.correct(program)
    (found,) = AnalogExecutor(corrected, 3, hardware=aged, conditions=later).run(unseen).values()
    (wanted,) = Executor(program).run(unseen).values()
    np.testing.assert_allclose(found, wanted, rtol=3e-3, atol=3e-3 * np.abs(wanted).max())
    (wrong,) = AnalogExecutor(program, 3, hardware=aged, conditions=later).run(unseen).values()
    assert np.abs(wrong - wanted).max() > 10 * np.abs(found - wanted).max()


@settings(max_examples=examples(20), **RELAXED)
@given(SEEDS, ACCELERATORS, st.sampled_from([0.01, 0.1, 0.3]))
def test_means_and_deviations_of_channels_are_those_of_exact_results(seed, accelerator, error):
    network = random_layer(SeededChooser(seed), ("conv", "linear"))
    program = compile_network(network, accelerator)
    hardware, inputs = with_array(program.accelerator, programming_error=error), random_inputs(network, 12)
    corrections = recalibrate(program, seed, inputs, hardware=hardware)
    corrected = corrections.correct(program)
    verify_program(corrected)
    (layer,) = corrected.layers
    layout = next(item for item in layer.body if hasattr(item, "layout")).layout
    shape = (layout.batch, layout.groups, layout.lines, layout.channels, layout.rows, layout.columns)
    # ReLUs and the like may follow: the layer's own output is compared.
    found, wanted = (
        np.moveaxis(one.reshape(12, *shape), (2, 4), (0, 1)).reshape(layout.groups, layout.channels, -1).astype(float)
        for one in (_last_layer(corrected, hardware, seed, inputs), _last_layer(program, None, seed, inputs))
    )
    size = np.abs(wanted).max() + 1
    np.testing.assert_allclose(found.mean(axis=-1), wanted.mean(axis=-1), atol=1e-5 * size)
    varies = (corrections.layers[layer.name].scale != 1) & (wanted.std(axis=-1) > 0)
    np.testing.assert_allclose(found.std(axis=-1)[varies], wanted.std(axis=-1)[varies], rtol=1e-3, atol=1e-6 * size)


def _last_layer(program, hardware, seed, inputs):
    """Return the output of the only layer on a chip."""
    executor = AnalogExecutor(program, seed, hardware=hardware)
    live = dict(inputs)
    for item in program.instructions:
        before = set(live)
        executor.run_item(item, live)
        if item is program.layers[-1]:
            (name,) = set(live) - before
            return live[name]
    raise AssertionError("no layer")


@settings(max_examples=examples(10), **RELAXED)
@given(SEEDS, st.integers(1, 9))
def test_one_seed_gives_one_answer_whatever_the_batch_size(seed, batch_size):
    network = conv_network((1, 3, 5, 5), outputs=4)
    program = compile_network(network, make_accelerator(16, 12, 2))
    hardware, inputs = (
        with_array(program.accelerator, programming_error=0.1, stuck_off_rate=0.02),
        random_inputs(network, 9),
    )
    one = recalibrate(program, seed, inputs, hardware=hardware).layers
    other = recalibrate(program, seed, inputs, hardware=hardware, batch_size=batch_size).layers
    assert list(one) == list(other) == ["conv"]
    assert (one["conv"].scale == other["conv"].scale).all()
    assert (one["conv"].shift == other["conv"].shift).all()
    next_chip = recalibrate(program, seed + 1, inputs, hardware=hardware).layers["conv"]
    assert (next_chip.scale != one["conv"].scale).any()

"""Tiles that are put together give what each of them gives alone, to the last bit, and as noisily."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

import numpy as np
from accelerators import make_accelerator
from bits import assert_same_bits
from chip_programs import random_chip_network, random_schedule
from examples import RELAXED, examples
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_mappings import random_accelerator, random_program
from random_networks import choosers, random_inputs, random_layer
from small_programs import conv_network

from mho.array.conductances import Conditions
from mho.errors import DataError, MappingError
from mho.hardware.loading import accelerator_from_json
from mho.network.graph import TensorInfo
from mho.program.lowering import compile_network, compile_schedule
from mho.simulation import analog
from mho.simulation.analog import AnalogExecutor
from mho.simulation.analog_windows import run_alone

WORN = {
    "on_off_ratio": 8,
    "programming_error": 0.08,
    "cell_variation": 0.1,
    "stuck_on_rate": 0.02,
    "stuck_off_rate": 0.02,
    "drift_exponent": 0.05,
}
converters = st.sampled_from([{}, {"adc_bits": 4}, {"adc_bits": 6, "column_difference": "analog"}])


def worn(program, more, **array):
    content = program.accelerator.to_json()
    content["array"].update(WORN | array)
    content["converters"].update({"adc_bits": "ideal", "dac_inl_lsb": 0} | more)
    return accelerator_from_json(content, where="drawn")


def run_tiles_alone(executor, inputs, batch_size):
    """Run every tile as a product of its own."""
    with patch.object(analog, "plan_runs", lambda tiles, _: tuple(map(run_alone, tiles))):
        return executor.run(inputs, batch_size)


def check_that_tiles_together_are_tiles_alone(program, inputs, hardware):
    try:
        executor, other = (
            AnalogExecutor(program, 3, hardware=hardware, conditions=Conditions(100.0)) for _ in range(2)
        )
        alone = run_tiles_alone(other, inputs, 2)
    except DataError:  # sums so large that cells are left no precision, found when operands are stored at the latest
        assume(False)
    assert_same_bits(executor.run(inputs, batch_size=3), alone)
    assert_same_bits(executor.run(inputs, batch_size=1), alone)


@settings(max_examples=examples(25), **RELAXED)
@given(choosers(), converters, st.sampled_from([0, 0.25]), st.sampled_from(["kept", "subtracted"]))
def test_every_mapping_and_encoding_gives_the_bits_of_its_tiles(chooser, more, inl, off_current):
    network, hardware = random_layer(chooser), random_accelerator(chooser)
    program = random_program(chooser, network, hardware)
    chip = worn(program, {**more, "dac_inl_lsb": inl}, off_current=off_current)
    check_that_tiles_together_are_tiles_alone(program, random_inputs(network, 3), chip)


@settings(max_examples=examples(15), **RELAXED)
@given(choosers(), converters)
def test_chips_with_copies_and_stored_operands_give_them(chooser, more):
    network = random_chip_network(chooser)
    try:
        program = compile_schedule(network, random_schedule(chooser, network))
    except MappingError:
        assume(False)
    check_that_tiles_together_are_tiles_alone(program, random_inputs(network, 3), worn(program, more))


def test_tiles_together_are_as_noisy_as_alone():
    """Three tiles of rows meet the same windows: means agree, and so do variances, of thousands of equal samples."""
    network = conv_network((1, 5, 4, 4), outputs=7)
    # Without its ReLU, which would cut noise off.
    network = replace(network, nodes=network.nodes[:1], outputs=(TensorInfo("c", network.shapes["c"]),))
    program = compile_network(network, make_accelerator(16, 12, 2))
    content = program.accelerator.to_json()
    content["array"].update(read_noise=0.1, read_noise_of="conductance", programming_error=0.1, on_off_ratio=8)
    hardware = accelerator_from_json(content, where="noisy")
    executor, other = (AnalogExecutor(program, 3, hardware=hardware) for _ in range(2))
    assert len(executor.tiles["conv"]) > 3
    inputs = {name: np.repeat(values, 3000, axis=0) for name, values in random_inputs(network, 1).items()}
    (together,) = executor.run(inputs, batch_size=500).values()
    (alone,) = run_tiles_alone(other, inputs, 500).values()
    spread = alone.std(axis=0)
    assert (spread > 0).all()
    np.testing.assert_allclose((together.mean(axis=0) - alone.mean(axis=0)) / spread, 0, atol=0.12)
    np.testing.assert_allclose(together.std(axis=0) / spread, 1, atol=0.08)

"""Random quantized networks in integers alone: the reference, both engines and chips agree, near what floats give."""

from __future__ import annotations

import numpy as np
import pytest
from accelerators import make_accelerator
from bits import assert_same_bits
from chip_programs import random_chip_network, random_schedule
from examples import RELAXED, examples
from hypothesis import assume, given, settings
from network_builder import residual
from random_networks import SeededChooser, choosers, random_inputs

import mho
from mho.errors import ConfigError, MappingError
from mho.network.graph import Network
from mho.network.integer_lowering import lower_to_integers
from mho.network.reference import run_quantized
from mho.program.container import read_program, write_program
from mho.program.lowering import compile_network, compile_schedule
from mho.program.program import BufferKind
from mho.quantization.digital_grids import assign_digital_grids
from mho.simulation.analog import AnalogExecutor
from mho.simulation.executor import Executor
from mho.simulation.interpreter import interpret

INTEGER = {"digital": {"arithmetic": "integer"}}


def _network(chooser, samples: int = 3) -> tuple[Network, dict[str, np.ndarray]]:
    network = random_chip_network(chooser)
    inputs = random_inputs(network, samples, seed=chooser.integer(0, 99))
    return assign_digital_grids(network, inputs, bits=chooser.choice((8, 12, 16, 16))), inputs


@settings(max_examples=examples(40), **RELAXED)
@given(chooser=choosers())
def test_reference_and_both_engines_give_the_same_integers(chooser, tmp_path_factory):
    network, inputs = _network(chooser)
    expected = run_quantized(lower_to_integers(network).network, inputs)
    program = compile_network(network, make_accelerator(8, 8, 2, 2, **INTEGER))
    assert_same_bits(interpret(program, inputs).outputs, expected)
    assert_same_bits(Executor(program).run(inputs), expected)
    made = {name for name, buffer in program.buffers.items() if buffer.kind is BufferKind.FLOAT}
    assert made == {*program.inputs, *program.outputs}
    path = tmp_path_factory.mktemp("program") / "p.mho"
    write_program(program, path)
    assert_same_bits(Executor(read_program(path)).run(inputs), expected)


@settings(max_examples=examples(15), **RELAXED)
@given(choosers())
def test_a_chip_that_runs_windows_as_soon_as_it_can_gives_the_same_integers(chooser):
    network, inputs = _network(chooser)
    try:
        schedule = random_schedule(chooser, network, arithmetic="integer")
    except MappingError:
        assume(False)
    program = compile_schedule(network, schedule)
    expected = run_quantized(lower_to_integers(network).network, inputs)
    assert_same_bits(interpret(program, inputs).outputs, expected)
    assert_same_bits(Executor(program).run(inputs), expected)


@pytest.mark.parametrize("seed", range(8))
def test_wide_integers_are_near_the_floats_that_they_stand_for(seed: int) -> None:
    network, inputs = _network(SeededChooser(seed), samples=32)
    network = assign_digital_grids(network, inputs)
    floats, integers = run_quantized(network, inputs), run_quantized(lower_to_integers(network).network, inputs)
    for name, values in floats.items():
        error, size = float(np.abs(integers[name] - values).mean()), float(np.abs(values).mean())
        assert error <= 0.05 * size + 1e-6


def test_chips_give_the_integers_of_the_executor_where_they_are_exact_and_others_where_they_are_not():
    network = residual()
    inputs = np.random.default_rng(0).standard_normal((40, *network.inputs[0].shape)).astype(np.float32)
    network = mho.quantize_digital(mho.quantize(network, "8/8", inputs), inputs)
    exact, noisy = (
        compile_network(network, make_accelerator(16, 16, 2, 2, **INTEGER, array={"read_noise": noise}))
        for noise in (0, 0.05)
    )
    expected = Executor(exact).run(inputs)
    assert_same_bits(AnalogExecutor(exact, 0).run(inputs), expected)
    (chip,), (ideal,) = (outputs.values() for outputs in (AnalogExecutor(noisy, 0).run(inputs), expected))
    assert 0 < np.abs(chip - ideal).max() < np.abs(ideal).max()
    assert mho.count_zero_slices(exact, inputs[:2]).samples == 2
    with pytest.raises(ConfigError, match="integer arithmetic"):
        mho.recalibrate(noisy, inputs, seed=0)

"""Recalibration of chips: what it wins back, on which inputs the layers meet, and what has no channels of its own."""

from __future__ import annotations

import numpy as np
import pytest
from accelerators import make_accelerator, with_array
from chip_networks import make_chain
from chip_programs import quantized_program
from random_networks import random_inputs
from small_programs import compile_small, conv_network, grid, linear_network, matmul_network

from mho.array.conductances import Conditions
from mho.errors import ConfigError, DataError
from mho.evaluation.chip import Difference, write_chip
from mho.simulation.adc_ranges import calibrate_adcs
from mho.simulation.executor import Executor
from mho.simulation.recalibration import recalibrate


def deviation(program, inputs, corrections=None, ranges=None, conditions=None, hardware=None):
    chip = write_chip(program, 1, hardware=hardware, conditions=conditions, ranges=ranges, corrections=corrections)
    found = chip.run(inputs)
    (one,), (exact,) = found.values(), Executor(program).run(inputs).values()
    return Difference.of(one, exact).deviation


@pytest.fixture(scope="module")
def chain():
    """Two convolutions with copies, on a chip."""
    return quantized_program(make_chain(), make_accelerator(rows=32, cols=16, cell_bits=4, crossbars=60), copies=2)[1]


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).standard_normal((40, 1, 6, 6)).astype(np.float32)


def test_drift_and_errors_of_cells_cost_less_also_in_layers_with_copies(chain, images):
    assert set(chain.schedule.copies.values()) == {2}
    hardware = with_array(chain.accelerator, programming_error=0.03, drift_exponent=0.1, drift_exponent_std=0.02)
    later = Conditions(elapsed_s=1e5)
    corrections = recalibrate(chain, 1, images[:20], hardware=hardware, conditions=later)
    assert list(corrections.layers) == [layer.name for layer in chain.layers]
    plain = deviation(chain, images[20:], hardware=hardware, conditions=later)
    assert deviation(chain, images[20:], corrections, hardware=hardware, conditions=later) < 0.5 * plain


def test_later_layers_meet_what_corrected_ones_give(chain, images):
    """On inputs of its own the last layer would find other corrections: its means and deviations tell."""
    hardware = with_array(chain.accelerator, programming_error=0.1)
    corrected = recalibrate(chain, 1, images, hardware=hardware).correct(chain)
    (found,) = write_chip(corrected, 1, hardware=hardware).run(images).values()
    (exact,) = Executor(chain).run(images).values()
    assert found.ndim == 4
    np.testing.assert_allclose(found.mean(axis=(0, 2, 3)), exact.mean(axis=(0, 2, 3)), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found.std(axis=(0, 2, 3)), exact.std(axis=(0, 2, 3)), rtol=1e-3)


def test_ranges_of_adcs_are_those_of_the_chip(chain, images):
    hardware = with_array(
        chain.accelerator,
        {"adc_bits": 5, "adc_range": "calibrated-columns"},
        drift_exponent=0.1,
        programming_error=0.02,
    )
    later = Conditions(elapsed_s=1e5)
    ranges = calibrate_adcs(chain, 1, images[:20], hardware=hardware, conditions=later)
    plain = deviation(chain, images[20:], None, ranges, later, hardware)
    corrections = recalibrate(chain, 1, images[:20], hardware=hardware, conditions=later, ranges=ranges)
    assert deviation(chain, images[20:], corrections, ranges, later, hardware) < 0.5 * plain
    with pytest.raises(ConfigError, match="mho calibrate"):
        recalibrate(chain, 1, images[:2], hardware=hardware)


def test_operands_that_are_written_for_each_sample_have_one_correction_for_all_channels():
    network = matmul_network()
    program = compile_small(network, make_accelerator(40, 24, 2))
    hardware, inputs = with_array(program.accelerator, programming_error=0.1), random_inputs(network, 6)
    found = recalibrate(program, 1, inputs, hardware=hardware).layers["qk"]
    assert found.changes
    assert found.scale.size > 1
    assert len(np.unique(found.scale)) == len(np.unique(found.shift)) == 1


def test_channels_that_do_not_vary_get_their_mean_alone():
    weights = np.random.default_rng(0).integers(-7, 8, (3, 20))
    weights[1] = 0
    network = linear_network(weights, grid(4))
    program = compile_small(network, make_accelerator(40, 24, 2))
    hardware, inputs = with_array(program.accelerator, programming_error=0.1), random_inputs(network, 1)
    found = recalibrate(program, 1, inputs, hardware=hardware)  # of one sample, nothing varies
    assert (found.layers["fc"].scale == 1).all()
    assert (found.layers["fc"].shift != 0).any()
    many = recalibrate(program, 1, random_inputs(network, 30), hardware=hardware).layers["fc"]
    assert ((many.scale == 1) == [[False, True, False]]).all()


def test_noise_of_reads_is_averaged(images):
    network = conv_network((1, 3, 6, 6))
    program = compile_small(network, make_accelerator(40, 24, 2))
    hardware, inputs = with_array(program.accelerator, read_noise=0.02), random_inputs(network, 40)
    found = recalibrate(program, 1, inputs, hardware=hardware).layers["conv"]
    assert found.changes
    np.testing.assert_allclose(found.scale, 1, atol=0.1)


def test_a_chip_can_be_recalibrated_again_later(chain, images):
    hardware = with_array(chain.accelerator, drift_exponent=0.1)
    day, year = (recalibrate(chain, 1, images, hardware=hardware, conditions=Conditions(t)) for t in (86400, 3e7))
    for name in day.layers:
        one, other = (np.abs(found.layers[name].scale - 1) for found in (day, year))
        assert (one > 0).all()
        assert (one < other).all()


def test_nothing_and_empty_batches_are_refused(chain, images):
    with pytest.raises(DataError):
        recalibrate(chain, 1, images[:0])
    with pytest.raises(DataError, match="batch size 0"):
        recalibrate(chain, 1, images, batch_size=0)

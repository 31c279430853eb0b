"""Programs on chips with stuck cells: what they make of the cells in use, and what choosing lines leaves of it."""

from __future__ import annotations

import numpy as np
import pytest
from accelerators import make_accelerator
from bits import assert_same_bits
from random_networks import random_inputs
from small_programs import compile_small, conv_network, grid, linear_network, matmul_network

from mho.array.crossbar import draw_stuck
from mho.array.seeds import CrossbarSeed
from mho.hardware.loading import accelerator_from_json
from mho.mapping.layer_mapping import MappingModel
from mho.program.lowering import compile_network
from mho.simulation.analog import AnalogExecutor
from mho.simulation.executor import Executor

FAULTS = {"stuck_on_rate": 0.01, "stuck_off_rate": 0.01}


def chip(program, seed=3, *, converters=None, **array):
    content = program.accelerator.to_json()
    content["array"].update(FAULTS | array)
    content["converters"].update(converters or {})
    return AnalogExecutor(program, seed, hardware=accelerator_from_json(content, where="test"))


def deviation(program, inputs, executor):
    exact = Executor(program).run(inputs)
    return sum(float(np.square(found - exact[name]).sum()) for name, found in executor.run(inputs).items())


@pytest.fixture
def dense():
    """One tile of 40 rows and 20 columns in a crossbar of 64 x 32."""
    network = linear_network(np.random.default_rng(0).integers(-7, 8, (10, 40)), grid(4))
    return compile_network(network, make_accelerator(64, 32, 4), model=MappingModel.PAPER)


def make_network():
    return conv_network((1, 4, 6, 6), outputs=6)


@pytest.fixture
def conv():
    """Tiles smaller than the layer, several rows and columns of them, all in one crossbar."""
    return compile_network(make_network(), make_accelerator(16, 12, 2))


def test_cells_that_deviate_are_those_of_the_tile_that_are_stuck_elsewhere(dense):
    executor = chip(dense, stuck_on_rate=0.05, stuck_off_rate=0.05)
    (tile,) = executor.tiles["fc"]
    stuck = draw_stuck(executor.hardware, CrossbarSeed(3, tile.crossbar))[:40, :20]
    (constant,) = [one for one in dense.constants.values() if one.ndim == 3 and one.shape[1:] == (40, 20)]
    digits = constant[0].astype(int)
    wrong = ((stuck > 0) & (digits != 15)) | ((stuck < 0) & (digits != 0))
    size = np.where(stuck > 0, 15 - digits, np.where(stuck < 0, digits, 0)) / 15
    figures = executor.faults
    assert (figures.cells, figures.wrong, figures.wrong_as_mapped) == (800, wrong.sum(), wrong.sum())
    assert figures.error == figures.error_as_mapped == pytest.approx((size**2).sum(), abs=1e-5)


def test_idle_lines_and_spare_columns_take_all_that_bad_ones_would(dense):
    """Where no cell deviates any more, the chip gives exact integers."""
    inputs = {"x": np.random.default_rng(1).uniform(-1, 1, (20, 40)).astype(np.float32)}
    plain, placed = chip(dense), chip(dense, placement="fault-aware", spare_cols=6)
    assert plain.faults.wrong > 0
    assert (placed.faults.wrong, placed.faults.error) == (0, 0)
    assert placed.faults.wrong_as_mapped == plain.faults.wrong
    assert deviation(dense, inputs, plain) > 0
    assert deviation(dense, inputs, placed) == 0


@pytest.mark.parametrize("converters", [{}, {"column_difference": "analog"}, {"adc_bits": 7}])
def test_choosing_lines_brings_outputs_nearer_to_exact_ones(conv, converters):
    inputs = random_inputs(make_network(), 8)
    gaps = dict.fromkeys(("as-mapped", "fault-aware"), 0.0)
    for seed in range(6):
        for placement in gaps:
            executor = chip(conv, seed, placement=placement, converters=converters)
            gaps[placement] += deviation(conv, inputs, executor)
            assert executor.faults.error <= executor.faults.error_as_mapped
    assert gaps["fault-aware"] < 0.5 * gaps["as-mapped"]


def test_without_stuck_cells_placement_and_spare_columns_change_nothing(conv):
    inputs = random_inputs(make_network(), 4)
    errors = {"stuck_on_rate": 0, "stuck_off_rate": 0, "programming_error": 0.05, "cell_variation": 0.1}
    wanted = chip(conv, **errors).run(inputs)
    assert_same_bits(chip(conv, **errors, placement="fault-aware", spare_cols=3).run(inputs), wanted)
    coarse = {"adc_bits": 6, "adc_gain_error": 0.05, "adc_offset_lsb": 0.2}
    wanted = chip(conv, converters=coarse, **errors).run(inputs)
    assert_same_bits(chip(conv, converters=coarse, **errors, spare_cols=3).run(inputs), wanted)


def test_spare_columns_alone_change_nothing(conv):
    inputs = random_inputs(make_network(), 4)
    assert_same_bits(chip(conv, spare_cols=5).run(inputs), chip(conv).run(inputs))


def test_a_placed_chip_is_the_same_for_every_batch_size_and_each_seed_has_its_own(conv):
    inputs = random_inputs(make_network(), 5)
    wanted = chip(conv, placement="fault-aware", programming_error=0.02).run(inputs)
    again = chip(conv, placement="fault-aware", programming_error=0.02)
    assert_same_bits(again.run(inputs, batch_size=2), wanted)
    other = chip(conv, 4, placement="fault-aware", programming_error=0.02)
    assert deviation(conv, inputs, other) != deviation(conv, inputs, again)


@pytest.mark.parametrize("difference", ["digital", "analog"])
def test_negative_cells_make_up_for_positive_ones_that_are_stuck(dense, difference):
    """Of differential columns, cells in the highest level are made up for where weights are not of the other sign."""
    inputs = {"x": np.random.default_rng(1).uniform(-1, 1, (20, 40)).astype(np.float32)}
    rates, converters = {"stuck_on_rate": 0.03, "stuck_off_rate": 0}, {"column_difference": difference}
    plain = chip(dense, **rates, converters=converters)
    made_up = chip(dense, **rates, converters=converters, fault_compensation="digits")
    assert 0 < made_up.faults.wrong < 0.7 * plain.faults.wrong
    assert made_up.faults.error < 0.1 * made_up.faults.error_as_mapped
    assert deviation(dense, inputs, made_up) < 0.1 * deviation(dense, inputs, plain)
    both = chip(dense, **rates, converters=converters, fault_compensation="digits", placement="fault-aware")
    assert both.faults.wrong == 0
    assert deviation(dense, inputs, both) == 0


def test_compensation_leaves_less_where_lines_are_scarce(conv):
    """In a crossbar that tiles fill, either alone leaves more than both together."""
    left = {}
    for options in ({}, {"placement": "fault-aware"}, {"fault_compensation": "digits"}):
        both = {**options, "fault_compensation": "digits", "placement": "fault-aware"}
        for one in (options, both):
            errors = [chip(conv, seed, **one).faults.error for seed in range(4)]
            left[tuple(sorted(one.items()))] = sum(errors)
    least = left.pop((("fault_compensation", "digits"), ("placement", "fault-aware")))
    assert least < min(left.values())


def test_stored_activations_lie_where_fewest_cells_are_stuck():
    network = matmul_network()
    program = compile_small(network, make_accelerator(24, 40, 2))
    inputs, rates = random_inputs(network, 3), {"stuck_on_rate": 0.05, "stuck_off_rate": 0.05}
    plain, placed = (chip(program, **rates, placement=one) for one in ("as-mapped", "fault-aware"))
    assert plain.faults.wrong > 0
    assert placed.faults.wrong == 0
    assert deviation(program, inputs, placed) == 0 < deviation(program, inputs, plain)

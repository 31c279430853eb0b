"""Programs on chips that are not ideal: one seed is one chip, faults and noise reach outputs, few codes cost bits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerators import make_accelerator, with_array
from bits import assert_same_bits
from chip_networks import make_chain
from chip_programs import quantized_program
from hand_made import HAND_MADE
from random_networks import random_inputs
from small_programs import compile_small, conv_network, grid, linear_network, matmul_network

from mho.array.calibration import RangeMethod, RangeRule
from mho.array.conductances import Conditions
from mho.array.seeds import CrossbarSeed, Purpose
from mho.errors import ConfigError, DataError
from mho.hardware.loading import accelerator_from_json
from mho.program.instructions import WriteDynamicTile
from mho.program.layer_content import collect_layers
from mho.program.lowering import compile_network
from mho.program.program import walk
from mho.simulation import analog_tiles
from mho.simulation.adc_ranges import calibrate_adcs
from mho.simulation.analog import AnalogExecutor
from mho.simulation.analog_tiles import TileWriter
from mho.simulation.executor import Executor

WORST = {
    "on_off_ratio": 10,
    "programming_error": 0.05,
    "cell_variation": 0.1,
    "stuck_on_rate": 0.02,
    "stuck_off_rate": 0.02,
    "drift_exponent": 0.05,
}


@pytest.fixture
def network():
    return conv_network((1, 4, 6, 6), outputs=6)


@pytest.fixture
def inputs(network):
    return random_inputs(network, 7)


@pytest.fixture
def program(network):
    """Tiles smaller than the layers, so that crossbar 0 is written many times."""
    return compile_network(network, make_accelerator(16, 12, 2))


def difference(left, right):
    return max(float(np.abs(left[name] - right[name]).max()) for name in left)


@pytest.mark.parametrize("name", sorted(HAND_MADE))
def test_a_program_written_by_hand_gives_the_numbers_worked_out_by_hand(name):
    made = HAND_MADE[name]()
    np.testing.assert_array_equal(
        AnalogExecutor(made.program, 1).run(made.inputs)["y"], made.expected.astype(np.float32)
    )


def test_a_chip_gives_the_same_bits_for_every_batch_size(program, inputs):
    hardware = with_array(program.accelerator, **WORST)
    first = AnalogExecutor(program, 5, hardware=hardware, conditions=Conditions(100))
    wanted = first.run(inputs)
    assert_same_bits(first.run(inputs, batch_size=1), wanted)
    again = AnalogExecutor(program, 5, hardware=hardware, conditions=Conditions(100))
    assert_same_bits(again.run(inputs, batch_size=3), wanted)


def test_other_seeds_and_conditions_are_other_chips(program, inputs):
    hardware = with_array(program.accelerator, **WORST)
    wanted = AnalogExecutor(program, 5, hardware=hardware).run(inputs)
    assert difference(AnalogExecutor(program, 6, hardware=hardware).run(inputs), wanted) > 0
    later = AnalogExecutor(program, 5, hardware=hardware, conditions=Conditions(1e4))
    assert difference(later.run(inputs), wanted) > 0


def test_small_deviations_move_outputs_a_little(program, inputs):
    exact = Executor(program).run(inputs)
    gaps = [
        difference(AnalogExecutor(program, 1, hardware=with_array(program.accelerator, **values)).run(inputs), exact)
        for values in ({"programming_error": 1e-7, "on_off_ratio": 2}, {"programming_error": 0.2})
    ]
    assert 0 <= gaps[0] < gaps[1]


def test_noise_is_new_with_every_run_and_the_same_for_the_same_seed(program, inputs):
    hardware = with_array(program.accelerator, read_noise=0.1)
    one, other = (AnalogExecutor(program, 5, hardware=hardware) for _ in range(2))
    first, second = one.run(inputs), one.run(inputs)
    assert difference(first, second) > 0
    assert_same_bits(other.run(inputs), first)


def test_writes_of_one_crossbar_have_errors_of_their_own(program):
    """All tiles lie in crossbar 0, one after the other: their cells are off by other amounts, but stuck alike."""
    hardware = with_array(program.accelerator, programming_error=0.05, stuck_on_rate=0.3, on_off_ratio=4)
    executor = AnalogExecutor(program, 5, hardware=hardware)
    written = {}
    writer = executor._writer
    for layer in executor._layers.values():
        for use in layer._content.tiles:
            write = writer._places.write_of(use.write)
            written[id(write)] = write.number
    assert len(written) > 2
    assert sorted(written.values()) == list(range(len(written)))
    assert len({tile.crossbar for layer in executor._layers.values() for tile in layer.tiles}) == 1


def test_matrices_that_a_loop_writes_have_errors_of_their_own():
    """Two groups of the same weights and inputs agree on ideal cells, and differ where each write has errors."""
    network = conv_network((1, 4, 6, 6), outputs=4, groups=2)
    weights = np.array(network.constants["w"])
    weights[2:] = weights[:2]
    program = compile_small(
        replace(network, constants={**network.constants, "w": weights}), make_accelerator(24, 12, 2)
    )
    one = np.random.default_rng(0).uniform(-1, 1, (3, 2, 6, 6)).astype(np.float32)
    inputs = {"x": np.concatenate([one, one], axis=1)}
    for error in (0, 0.1):
        outputs = AnalogExecutor(program, 1, hardware=with_array(program.accelerator, programming_error=error)).run(
            inputs
        )["y"]
        assert (outputs[:, :2] == outputs[:, 2:]).all() == (error == 0)


def test_few_codes_cost_bits_and_enough_cost_none():
    """Layers in tiles of their own: with ideal ADCs compiled for, then read with fewer and fewer codes."""
    network = linear_network(np.random.default_rng(0).integers(-8, 8, (5, 14)), grid(4))
    program = compile_small(network, make_accelerator(16, 24, 2))
    inputs = random_inputs(network, 30)
    exact = Executor(program).run(inputs)
    gaps = []
    for bits in (8, 4, 2):
        hardware = with_array(program.accelerator, {"adc_bits": bits})
        gaps.append(difference(AnalogExecutor(program, 1, hardware=hardware).run(inputs), exact))
    assert gaps[0] == 0
    assert 0 < gaps[1] < gaps[2]


def test_wires_with_resistance_lower_what_columns_carry(program, inputs):
    exact = Executor(program).run(inputs)
    wires = {"lrs_siemens": 1e-4, "row_segment_ohm": 5, "col_segment_ohm": 5}
    small = {**wires, "row_segment_ohm": 1e-6, "col_segment_ohm": 1e-6}
    gaps = [
        difference(AnalogExecutor(program, 1, hardware=with_array(program.accelerator, **values)).run(inputs), exact)
        for values in (small, wires)
    ]
    assert gaps[0] <= gaps[1]
    assert gaps[1] > 0


@pytest.fixture(scope="module")
def product():
    """Two activations that are multiplied, in tiles smaller than they are, and four samples, the first two equal."""
    network = matmul_network()
    program = compile_small(network, make_accelerator(16, 16, 2))
    inputs = {name: np.concatenate([values[:1], values]) for name, values in random_inputs(network, 3).items()}
    return program, inputs


def test_activations_that_are_written_into_cells_are_multiplied_exactly_where_these_are_ideal(product):
    program, inputs = product
    writes = [item for item, _ in walk(program.instructions) if isinstance(item, WriteDynamicTile)]
    assert len(writes) > 1
    assert_same_bits(AnalogExecutor(program, 1).run(inputs, batch_size=3), Executor(program).run(inputs))


@pytest.mark.parametrize(("key", "are_equal"), [("programming_error", False), ("cell_variation", True)])
def test_each_sample_is_written_with_errors_of_its_own_into_the_same_cells(product, key, are_equal):
    """Two equal samples give the same where only the cells differ, and otherwise where each write is off."""
    program, inputs = product
    made = AnalogExecutor(program, 1, hardware=with_array(program.accelerator, **{key: 0.1, "on_off_ratio": 20}))
    whole = made.run(inputs)
    assert difference(whole, Executor(program).run(inputs)) > 0
    for outputs in whole.values():
        assert (outputs[0] == outputs[1]).all() == are_equal
    assert_same_bits(made.run(inputs, batch_size=1), whole)


def test_no_two_writes_of_a_crossbar_have_the_same_number(product):
    program, numbers = product[0], []
    executor = AnalogExecutor(program, 1)
    for tiles in executor.tiles.values():
        for tile in tiles:
            assert tile.operand is not None
            operand = replace(
                tile.operand,
                write_cells=lambda digits, number, old=tile.operand.write_cells: (
                    numbers.append(number) or old(digits, number)
                ),
            )
            for sample in range(3):
                operand.store(np.zeros(program.buffers[operand.write.codes].shape[0], np.int64), sample)
    assert len(set(numbers)) == len(numbers)


def test_operands_have_calibrated_ranges_and_noise_too(product):
    program, inputs = product
    hardware = with_array(program.accelerator, {"adc_bits": 4, "adc_range": "calibrated-columns"}, read_noise=0.1)
    ranges = calibrate_adcs(program, 1, inputs, hardware=hardware).layers
    made = AnalogExecutor(program, 1, hardware=hardware, ranges=ranges)
    assert difference(made.run(inputs), made.run(inputs)) > 0
    enough = with_array(program.accelerator, {"adc_bits": 12, "adc_range": "calibrated-columns"})
    ranges = calibrate_adcs(program, 1, inputs, hardware=enough, rule=RangeRule(RangeMethod.EXTREMES)).layers
    exact = Executor(program).run(inputs)
    assert_same_bits(AnalogExecutor(program, 1, hardware=enough, ranges=ranges).run(inputs), exact)


def test_layers_of_a_chip_lie_in_crossbars_of_their_own():
    chip = make_accelerator(rows=32, cols=16, cell_bits=4, crossbars=60)
    program = quantized_program(make_chain(), chip)[1]
    inputs = np.random.default_rng(1).standard_normal((3, 1, 6, 6)).astype(np.float32)
    executor = AnalogExecutor(program, 1)
    crossbars = {tile.crossbar for layer in executor._layers.values() for tile in layer.tiles}
    assert len(crossbars) > 1
    assert_same_bits(executor.run(inputs), Executor(program).run(inputs))


@pytest.fixture(scope="module")
def copied():
    """A chain of two convolutions with three copies of each layer, some of them without a window."""
    return quantized_program(make_chain(), make_accelerator(rows=32, cols=16, cell_bits=4, crossbars=60), copies=3)[1]


def test_copies_take_windows_in_turn(copied):
    """Copy i of three has the windows i, i + 3, ... of each tile; a copy without windows is left out."""
    single, found = (AnalogExecutor(one, 1).tiles for one in (replace(copied, schedule=None), copied))
    for layer in copied.schedule.layers:
        tiles = iter(found[layer.name])
        for number, whole in enumerate(single[layer.name]):
            for copy in range(min(3, len(whole.inputs))):
                tile = next(tiles)
                assert tile.crossbar == layer.copies[copy][number]
                np.testing.assert_array_equal(tile.inputs, whole.inputs[copy::3])
                np.testing.assert_array_equal(tile.sums, whole.sums[copy::3])
        assert next(tiles, None) is None


def test_copies_have_cells_of_their_own_from_the_seed_and_their_crossbar(copied):
    """What a crossbar gives does not depend on which copy it is."""
    hardware = with_array(
        copied.accelerator, programming_error=0.05, cell_variation=0.1, stuck_on_rate=0.02, on_off_ratio=20
    )
    content, schedule = next(collect_layers(copied)), copied.schedule
    first, *others = schedule.layers

    def answers(copies):
        program = replace(copied, schedule=replace(schedule, layers=(replace(first, copies=copies), *others)))
        writer = TileWriter(program, (content,), hardware, 4, None, None, is_observed=False)
        tiles = list(writer.tiles(content))
        codes = np.random.default_rng(0).integers(0, 16, (50, len(tiles[0].rows)))
        return {tile.crossbar: tile.product.run(codes).tolist() for tile in tiles}

    found = answers(first.copies)
    assert len(found) == len({str(answer) for answer in found.values()}) == 3 * len(first.copies[0])
    assert answers(first.copies[::-1]) == found


def test_copies_are_placed_by_the_stuck_cells_of_their_own_crossbars(copied):
    hardware = with_array(copied.accelerator, stuck_on_rate=0.05, stuck_off_rate=0.05, placement="fault-aware")
    executor = AnalogExecutor(copied, 5, hardware=hardware)
    lines = {name: {tuple(tile.bitlines.tolist()) for tile in tiles} for name, tiles in executor.tiles.items()}
    assert max(map(len, lines.values())) > 1
    assert executor.faults.wrong < executor.faults.wrong_as_mapped
    assert executor.faults.error < 0.5 * executor.faults.error_as_mapped


def test_a_chip_with_copies_gives_the_same_bits_for_every_batch_and_run(copied):
    inputs = np.random.default_rng(1).standard_normal((5, 1, 6, 6)).astype(np.float32)
    hardware = with_array(copied.accelerator, **WORST)
    wanted = AnalogExecutor(copied, 2, hardware=hardware).run(inputs)
    assert_same_bits(AnalogExecutor(copied, 2, hardware=hardware).run(inputs, batch_size=2), wanted)
    assert difference(AnalogExecutor(replace(copied, schedule=None), 2, hardware=hardware).run(inputs), wanted) > 0


def test_two_threads_write_and_read_the_chip_that_one_does(copied, monkeypatch):
    """Copies of a matrix are written by a pool of threads: cells, figures and answers are the same, to the last bit."""
    wires = {"row_segment_ohm": 5, "col_segment_ohm": 5, "lrs_siemens": 1e-4}
    converters = {"adc_bits": 9, "adc_offset_lsb": 0.5}
    hardware = with_array(copied.accelerator, converters, **WORST, **wires, read_noise=0.02, placement="fault-aware")
    inputs = np.random.default_rng(1).standard_normal((2, 1, 6, 6)).astype(np.float32)
    pools, original = [], analog_tiles.ThreadPoolExecutor
    monkeypatch.setattr(analog_tiles, "ThreadPoolExecutor", lambda count: pools.append(count) or original(count))
    made, answers, threads = [], [], torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            made.append(AnalogExecutor(copied, 6, hardware=hardware, conditions=Conditions(100)))
            answers.append(made[-1].run(inputs))
    finally:
        torch.set_num_threads(threads)
    assert set(pools) == {2}
    assert made[0].faults == made[1].faults
    for one, other in zip(*([tile for tiles in chip.tiles.values() for tile in tiles] for chip in made), strict=True):
        assert (one.crossbar, one.bitlines.tolist()) == (other.crossbar, other.bitlines.tolist())
        codes = np.eye(one.product.layout.rows, dtype=np.int64)
        assert (one.product.run(codes, reads(one)) == other.product.run(codes, reads(other))).all()
    assert_same_bits(answers[1], answers[0])


def reads(tile):
    return CrossbarSeed(6, tile.crossbar).stream(Purpose.READS, 99)


@pytest.mark.parametrize("adc_bits", ["ideal", 5])
def test_reads_agree_in_distribution_whatever_the_batch(adc_bits):
    """One chip run 256 times on the same sample, at once, 64 by 64 and one by one: no output differs.

    By mean, deviation and the largest gap of the distributions (Kolmogorov and Smirnov), each with a chance of 10^-5.
    """
    network = linear_network(np.random.default_rng(0).integers(-8, 8, (5, 14)), grid(4))
    program = compile_small(network, make_accelerator(9, 12, 2))
    hardware = with_array(
        program.accelerator, {"adc_bits": adc_bits}, read_noise=0.1, programming_error=0.05, on_off_ratio=8
    )
    inputs = {name: np.repeat(values, 256, axis=0) for name, values in random_inputs(network, 1).items()}
    executor = AnalogExecutor(program, 3, hardware=hardware)
    samples = [executor.run(inputs, batch_size=size)["y"].reshape(256, 5) for size in (256, 64, 1)]
    assert (samples[0].std(axis=0) > 0).all()
    for one, other in ((0, 1), (0, 2), (1, 2)):
        left, right = samples[one], samples[other]
        assert (left != right).any()
        spread = np.sqrt((left.var(axis=0) + right.var(axis=0)) / 256)
        assert (np.abs(left.mean(axis=0) - right.mean(axis=0)) < 4.4 * spread).all()
        assert (np.abs(np.log(left.std(axis=0) / right.std(axis=0))) < 4.4 / np.sqrt(256)).all()
        for output in range(5):
            values = np.unique(np.concatenate([left[:, output], right[:, output]]))
            shares = [np.searchsorted(np.sort(some[:, output]), values, side="right") / 256 for some in (left, right)]
            assert np.abs(shares[0] - shares[1]).max() < 2.47 * np.sqrt(2 / 256)


def test_copies_have_ranges_of_their_own(copied):
    inputs = np.random.default_rng(1).standard_normal((4, 1, 6, 6)).astype(np.float32)
    hardware = with_array(copied.accelerator, {"adc_bits": 5, "adc_range": "calibrated-columns"})
    ranges = calibrate_adcs(copied, 1, inputs, hardware=hardware).layers
    tiles = AnalogExecutor(copied, 1, hardware=hardware, ranges=ranges).tiles
    assert {name: len(found) for name, found in ranges.items()} == {name: len(found) for name, found in tiles.items()}


@pytest.mark.parametrize(("section", "key", "value"), [("crossbar", "rows", 17), ("converters", "dac_bits", 2)])
def test_hardware_of_another_kind_is_refused(program, section, key, value):
    content = program.accelerator.to_json()
    content[section][key] = value
    with pytest.raises(ConfigError, match=f"{section}.{key} is {value}"):
        AnalogExecutor(program, 1, hardware=accelerator_from_json(content, where="test"))


def test_a_batch_of_nothing_is_refused(program, inputs):
    with pytest.raises(DataError, match="batch size 0"):
        AnalogExecutor(program, 1).run(inputs, batch_size=0)

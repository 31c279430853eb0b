"""What tiles are put together, where windows add, and that blocks of windows change nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from accelerators import make_accelerator
from bits import assert_same_bits
from hypothesis import given
from hypothesis import strategies as st
from memory import PeakMemory
from random_networks import random_inputs
from small_programs import conv_network

from mho.hardware.loading import accelerator_from_json
from mho.mapping.layer_mapping import MappingModel
from mho.program.lowering import compile_network
from mho.simulation import analog_windows
from mho.simulation.analog import AnalogExecutor
from mho.simulation.analog_windows import Targets, WindowRun, _SumProduct, gather


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(0, 2))
def test_each_of_several_results_for_one_sum_counts(places, samples):
    found = np.arange(len(places) * samples, dtype=np.float64).reshape(len(places), samples)
    wanted = np.ones((10, samples))
    np.add.at(wanted, np.array(places, dtype=np.int64), found)
    sums = np.ones((10, samples))
    Targets(np.array(places, dtype=np.int64)[None]).add(sums, found)
    np.testing.assert_array_equal(sums, wanted)


def test_windows_are_gathered_beside_each_other():
    codes = torch.arange(12, dtype=torch.uint8).view(6, 2)
    found = gather(codes, torch.tensor([[0, 5], [3, 1]]))
    assert found.tolist() == [[0, 6], [1, 7], [10, 2], [11, 3]]


@pytest.fixture
def program():
    """Three parts of rows and three of columns, all for the same windows."""
    network = conv_network((1, 5, 4, 4), outputs=7)
    return compile_network(network, make_accelerator(16, 12, 2), model=MappingModel.PAPER)


def count_runs(executor):
    return {name: len(layer._runs) for name, layer in executor._layers.items()}


@pytest.mark.parametrize("adc_bits", ["ideal", 12])
def test_all_tiles_are_one_matrix_where_nothing_is_rounded_between(program, adc_bits):
    content = program.accelerator.to_json()
    content["converters"]["adc_bits"] = adc_bits
    executor = AnalogExecutor(program, 1, hardware=accelerator_from_json(content, where="test"))
    assert len(executor.tiles["conv"]) == 9
    assert count_runs(executor) == {"conv": 1 if adc_bits == "ideal" else 9}


def test_tiles_for_other_windows_are_another_matrix():
    """The best mapping computes two positions at once but for the last output, which has a tile to itself."""
    program = compile_network(conv_network((1, 5, 4, 4), outputs=7), make_accelerator(16, 12, 2))
    executor = AnalogExecutor(program, 1)
    windows = {len(tile.inputs) for tile in executor.tiles["conv"]}
    assert len(executor.tiles["conv"]) > len(windows) > 1
    assert count_runs(executor) == {"conv": len(windows)}


def test_groups_of_channels_stay_apart():
    network = conv_network((1, 4, 6, 6), outputs=4, groups=2)
    program = compile_network(network, make_accelerator(64, 64, 2), model=MappingModel.PAPER)
    executor = AnalogExecutor(program, 1)
    assert len(executor.tiles["conv"]) == 2
    assert count_runs(executor) == {"conv": 2}


@pytest.mark.parametrize("adc_bits", ["ideal", 5])
def test_blocks_of_windows_change_nothing(program, adc_bits, monkeypatch):
    content = program.accelerator.to_json()
    content["array"]["programming_error"] = 0.1
    content["converters"]["adc_bits"] = adc_bits
    hardware, inputs = accelerator_from_json(content, where="test"), random_inputs(conv_network((1, 5, 4, 4)), 3)
    wanted = AnalogExecutor(program, 1, hardware=hardware).run(inputs)
    monkeypatch.setattr(analog_windows, "_BLOCK_BYTES", 1)
    assert_same_bits(AnalogExecutor(program, 1, hardware=hardware).run(inputs), wanted)


WIRES = {"lrs_siemens": 1e-4, "row_segment_ohm": 2, "col_segment_ohm": 2}


@pytest.mark.parametrize("array", [{}, {"read_noise": 0.05}, WIRES, {**WIRES, "read_noise": 0.05}], ids=str)
@pytest.mark.parametrize("adc_bits", ["ideal", 8])
def test_memory_of_windows_is_bounded_for_any_batch(adc_bits, array, monkeypatch):
    """Blocks of a sixteenth of the memory, which windows of all samples would take many times over."""
    network = conv_network((1, 3, 24, 24), outputs=4)
    program = compile_network(network, make_accelerator(27, 16, 2), model=MappingModel.PAPER)
    content = program.accelerator.to_json()
    content["array"].update(array)
    content["converters"]["adc_bits"] = adc_bits
    executor = AnalogExecutor(program, 1, hardware=accelerator_from_json(content, where="test"))
    block = analog_windows._BLOCK_BYTES // 16
    monkeypatch.setattr(analog_windows, "_BLOCK_BYTES", block)
    peaks, planned, original = [], [], WindowRun.run

    def run(self, codes, sums, reads):
        for feeds in (False, True):  # made of all codes once, beside blocks
            if isinstance(self._product, _SumProduct) and (self._product._has_noise or not feeds):
                codes.planes(self.tile.codes, self._product._feeds, are_squares=feeds)
        with PeakMemory() as memory:
            original(self, codes, sums, reads)
        peaks.append(memory.peak)
        planned.append(len(self._inputs) * sums.shape[1] * self._product.bytes_per_input)

    executor.run(random_inputs(network, 1))
    monkeypatch.setattr(WindowRun, "run", run)
    for batch in (8, 32):
        executor.run(random_inputs(network, batch), batch_size=batch)
    assert len(peaks) == 2
    assert planned[1] > 8 * block
    assert max(peaks) < 1.75 * block

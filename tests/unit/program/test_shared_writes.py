"""Two dense layers that one write brings: where their tiles lie, who drives what, and who writes."""

import numpy as np
import pytest
from accelerators import make_accelerator
from bits import assert_same_bits
from random_networks import random_inputs
from small_programs import grid

from mho.mapping.layer_mapping import MappingModel
from mho.mapping.network_mapping import NetworkMapping, Placement
from mho.network.graph import Grid, LayerQuantization, Network, Node, TensorInfo
from mho.network.reference import run_quantized
from mho.program.instructions import LoadInput, Mvm, ShiftAdd, WriteTile
from mho.program.lowering import compile_network
from mho.program.program import walk
from mho.program.shared_writes import join_writes
from mho.simulation.executor import Executor
from mho.simulation.interpreter import interpret


def two_layers():
    """4 inputs to 5 outputs, and those to 3."""
    draws, weight = np.random.default_rng(0), Grid(np.float32(0.5), np.int64(0), -7, 7, 4)
    quantization = LayerQuantization(grid(3), weight)
    nodes = (
        Node("first", "linear", ("x", "v"), "h", {}, quantization),
        Node("relu", "relu", ("h",), "r"),
        Node("second", "linear", ("r", "w"), "y", {}, quantization),
    )
    constants = {"v": draws.integers(-7, 8, (5, 4)), "w": draws.integers(-7, 8, (3, 5))}
    shapes = {"x": (1, 4), "h": (1, 5), "r": (1, 5), "y": (1, 3)}
    return Network("two", (TensorInfo("x", (1, 4)),), (TensorInfo("y", (1, 3)),), nodes, constants, shapes)


def items(layer, kind):
    return [item for item, _ in walk(layer.body) if isinstance(item, kind)]


@pytest.fixture
def program():
    allowed = {"window_positions": 1, "input_slices_per_mvm": 1, "encodings": ["differential-columns"]}
    return compile_network(two_layers(), make_accelerator(40, 40, 4, 3, mapping={"allowed": allowed}))


def test_the_first_layer_writes_both_tiles_and_the_second_none(program):
    first, second = program.layers
    own, joined = items(first, WriteTile)
    assert (own.joins, own.corner, own.cells) == (False, (0, 0), "first:cells")
    # 40 rows in units of 3, of which the 4 rows of the first layer take two.
    assert (joined.joins, joined.corner, joined.cells) == (True, (6, 0), "second:cells")
    assert items(second, WriteTile) == []


def test_the_second_drives_its_own_rows_and_counts_its_own_columns(program):
    first, second = program.layers
    row, col = items(first, WriteTile)[1].corner
    assert [(item.first_row, len(item.rows)) for item in items(first, LoadInput)] == [(0, 4)]
    assert [(item.first_row, len(item.rows)) for item in items(second, LoadInput)] == [(row, 5)]
    assert [(item.first_col, len(item.cols)) for item in items(first, ShiftAdd)] == [(0, 10)]
    assert [(item.first_col, len(item.cols)) for item in items(second, ShiftAdd)] == [(col, 6)]
    assert len(items(first, Mvm)) == len(items(second, Mvm)) == 1


def test_the_program_gives_the_bits_of_the_reference(program):
    inputs = random_inputs(two_layers(), 5)
    expected = run_quantized(two_layers(), inputs)
    execution = interpret(program, inputs)
    assert execution.writes == {"first": 1, "second": 0}
    assert_same_bits(execution.outputs, expected)
    assert_same_bits(Executor(program).run(inputs), expected)


def test_layers_by_themselves_stay_as_they_are():
    program = compile_network(two_layers(), make_accelerator(40, 40), model=MappingModel.PAPER)
    alone = NetworkMapping((), (Placement(0), Placement(1)))
    assert join_writes(program.layers, alone) == program.layers

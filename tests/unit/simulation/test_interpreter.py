"""The interpreter against numbers worked out by hand."""

import numpy as np
import pytest
from accelerators import make_accelerator
from small_programs import change_instructions, compile_small, conv_network, grid, linear_network, matmul_network

from mho.errors import DataError, ProgramError
from mho.hardware.spec import PAPER_ENCODINGS
from mho.program.instructions import LoadInput, WriteTile
from mho.simulation.interpreter import interpret


@pytest.mark.parametrize("encoding", PAPER_ENCODINGS)
def test_a_dense_layer_by_hand(encoding):
    weights = np.array([[1, -2, 3], [-8, 7, 0]])
    network = linear_network(weights, grid(3, signed=True, scale=0.5), bias=np.array([0.25, -1.0]))
    program = compile_small(network, make_accelerator(rows=2, cols=3, encoding=encoding))
    x = np.array([[0.5, -1.0, 1.0], [9.0, -9.0, 0.2]], np.float32)
    # On the grid of 1/2 and -4..3 the inputs are 1, -2, 2 and 3, -4, 0; a unit of the sum is worth 1/4.
    expected = np.array([[11, -22], [11, -52]]) * 0.25 + np.array([0.25, -1.0])
    np.testing.assert_array_equal(interpret(program, {"x": x}).outputs["y"], expected.astype(np.float32))


def test_writes_and_mvms_are_those_of_one_sample():
    program = compile_small(linear_network(np.ones((2, 3), np.int64), grid(3)), make_accelerator(rows=2, cols=3))
    for samples in (1, 4):
        execution = interpret(program, np.zeros((samples, 3)))
        # 3 rows in 2 tiles; 2 outputs in 2 slices and 2 signs, 8 columns in 3 tiles; 3 input slices.
        assert execution.writes == {"fc": 6}
        assert execution.mvms == {"fc": 18}


def test_a_product_of_activations_by_hand():
    program = compile_small(matmul_network(streamed=grid(3, scale=1.0), stored=grid(4, signed=True, scale=1.0)))
    a = np.arange(24).reshape(1, 2, 3, 4) % 8
    b = np.arange(40).reshape(1, 2, 4, 5) % 16 - 8
    outputs = interpret(program, {"a": a, "b": b}).outputs
    np.testing.assert_array_equal(outputs["y"], (a @ b).astype(np.float32))


def test_a_crossbar_that_is_read_too_early_is_refused():
    program = compile_small(linear_network(np.ones((2, 3), np.int64), grid(3)))
    with pytest.raises(ProgramError, match="layer fc"):
        interpret(change_instructions(program, LoadInput, lambda _: None), np.zeros((1, 3)))
    with pytest.raises(ProgramError, match="used before it is written"):
        interpret(change_instructions(program, WriteTile, lambda _: None), np.zeros((1, 3)))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "missing inputs: x"),
        ({"z": np.zeros((1, 2, 4, 5))}, "unknown input 'z'"),
        ({"x": np.zeros((1, 3, 4, 5))}, "shape"),
        ({"x": np.zeros((0, 2, 4, 5))}, "no samples"),
        ({"x": np.full((1, 2, 4, 5), np.nan)}, "NaN"),
        ({"x": np.array([["a"]])}, "type"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs, message):
    with pytest.raises(DataError, match=message):
        interpret(compile_small(conv_network()), inputs)


def test_inputs_of_different_length_are_refused():
    inputs = {"a": np.zeros((2, 2, 3, 4)), "b": np.zeros((1, 2, 4, 5))}
    with pytest.raises(DataError, match="a: 2, b: 1"):
        interpret(compile_small(matmul_network()), inputs)


def test_one_array_needs_one_input():
    with pytest.raises(DataError, match="one array"):
        interpret(compile_small(matmul_network()), np.zeros((1, 2, 3, 4)))

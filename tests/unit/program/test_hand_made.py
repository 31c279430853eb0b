"""Programs written by hand, one for each thing that a mapping may do: both engines give what they must."""

import numpy as np
import pytest
from bits import assert_same_bits
from hand_made import HAND_MADE, joined, partial_reads

from mho.program.container import read_program, write_program
from mho.program.verify import prove_program, verify_program
from mho.simulation.executor import Executor
from mho.simulation.interpreter import interpret
from mho.simulation.timing import time_program


@pytest.mark.parametrize("name", HAND_MADE)
def test_a_program_written_by_hand_gives_the_numbers_worked_out_by_hand(name):
    made = HAND_MADE[name]()
    verify_program(made.program)
    execution = interpret(made.program, made.inputs)
    np.testing.assert_array_equal(execution.outputs["y"], made.expected.astype(np.float32))
    assert_same_bits(Executor(made.program).run(made.inputs), execution.outputs)
    timing = time_program(made.program)
    assert execution.writes == {layer.name: layer.writes for layer in timing.layers}
    assert execution.mvms == {layer.name: layer.mvms for layer in timing.layers}


@pytest.mark.parametrize("name", HAND_MADE)
def test_a_program_written_by_hand_survives_its_file(name, tmp_path):
    made = HAND_MADE[name]()
    write_program(made.program, tmp_path / "p.mho")
    loaded = read_program(tmp_path / "p.mho")
    assert loaded.instructions == made.program.instructions
    assert_same_bits(interpret(loaded, made.inputs).outputs, interpret(made.program, made.inputs).outputs)


@pytest.mark.parametrize(
    ("name", "matrix"),
    [
        ("windows", [[[2, 3]]]),
        ("packed", [[[1 - 2]], [[2 - 2]], [[3 - 2]]]),
        ("side_by_side", [[[3]]]),
        ("partial_reads", [[[3, -2, 1]]]),
        ("twos_complement", None),
        ("digital_product", None),
    ],
)
def test_the_proof_finds_the_matrix(name, matrix):
    (product,) = prove_program(HAND_MADE[name]().program)
    if matrix is None:
        assert product.matrix is None
        assert product.stored_addend == 0
    else:
        np.testing.assert_array_equal(product.matrix, matrix)


def test_layers_that_join_are_written_once():
    first, second = time_program(joined().program).layers
    assert (first.writes, first.mvms) == (1, 1)
    assert (second.writes, second.mvms, second.write_ps) == (0, 2, 0)


def test_a_read_of_some_rows_is_an_mvm_of_its_own():
    (layer,) = time_program(partial_reads().program).layers
    assert (layer.writes, layer.mvms) == (1, 2)

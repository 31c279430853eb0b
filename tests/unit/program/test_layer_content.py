"""Which tile is read with which drives: a loop is read once, so its instructions must mean the same in all turns."""

from dataclasses import replace

import numpy as np
import pytest
from bits import assert_same_bits
from hand_made import HAND_MADE, SLICES, ZERO, Bench, make_program
from small_programs import change_instructions

from mho.errors import ProgramError
from mho.program.geometry import LinearGeometry
from mho.program.instructions import (
    Affine,
    ClearAccumulators,
    Dequantize,
    Layer,
    LoadInput,
    Loop,
    Mvm,
    QuantizeInput,
    ShiftAdd,
    WriteDynamicTile,
    WriteTile,
)
from mho.program.layer_content import collect_layers
from mho.program.verify import verify_program
from mho.simulation.executor import Executor
from mho.simulation.interpreter import interpret
from mho.simulation.timing import time_program

MANY = Affine(0, (("p", 2),))
"""The address of the codes (and sums) of position p of a layer of two inputs and two outputs."""


@pytest.fixture
def bench():
    """Three positions, weights [[1, 3], [2, 0]]; what a body may be made of."""
    return Bench("fc", LinearGeometry(3, 2, 2))


def parts(bench, codes=MANY, sums=MANY, shift=ZERO):
    """Return a write, a load, an MVM and what adds up."""
    write = bench.write([[1, 2], [3, 0]])
    return write, *bench.read(bench.rows([0, 1]), bench.cols([0, 1]), codes, sums, shift=shift)


def program_of(bench, *body):
    layer = bench.layer(body, source="x", target="y")
    return make_program([bench], [layer], {"x": (3, 2), "fc:codes": 6, "fc:sums": 6, "y": (3, 2)})


def positions(*body):
    return Loop("p", 3, body)


def outputs(program):
    """Both engines' outputs, which must be the same."""
    x = np.array([[[1, 2], [3, 0], [2, 3]]])
    found = interpret(program, x).outputs
    assert_same_bits(Executor(program).run(x), found)
    return found["y"].tolist()


EXPECTED = [[[7, 2], [3, 6], [11, 4]]]


def test_a_tile_is_written_once_for_all_turns_or_in_each(bench):
    write, load, mvm, add = parts(bench)
    once, each = (
        program_of(bench, write, positions(load, mvm, add)),
        program_of(bench, positions(write, load, mvm, add)),
    )
    assert outputs(once) == outputs(each) == EXPECTED
    assert [time_program(program).writes for program in (once, each)] == [1, 3]


def test_loops_of_one_turn_change_nothing(bench):
    write, load, mvm, add = parts(bench)
    inner = Loop("z", 1, (load, Loop("w", 1, (mvm, add))))
    shifted = replace(load, address=Affine(0, (("p", 2), ("z", 5))))
    assert outputs(program_of(bench, Loop("v", 1, (write, positions(inner))))) == EXPECTED
    assert outputs(program_of(bench, write, positions(Loop("z", 1, (shifted, mvm, add))))) == EXPECTED


def test_a_read_may_be_repeated_without_being_added(bench):
    write, load, mvm, add = parts(bench)
    program = program_of(bench, write, positions(load, mvm, mvm, load, mvm, add))
    assert outputs(program) == EXPECTED
    assert time_program(program).mvms == 9


def bodies():
    """What is said of bodies in which an instruction finds something else in some turn than where it stands."""
    write, load, mvm, add = parts(Bench("fc", LinearGeometry(3, 2, 2)))
    other, fixed, all_turns = (
        replace(write, cells="fc:cells.other"),
        replace(load, address=ZERO),
        positions(load, mvm, add),
    )
    cells, drives, counts = (f"{kind} of crossbar 0" for kind in ("cells", "drives", "counts"))
    unwritten, unread = "before it is written and driven", "before it is driven and read"
    over = "joins a write of crossbar 0 that is over"
    inner = Layer("inner", LinearGeometry(1, 1, 1), ())
    clear = ClearAccumulators("fc:sums")
    quantize = QuantizeInput("x", "fc:codes", 0, 1.0, 0, 0, 3, False, 0, ((0, 0), (0, 0)))
    turns, joined, all_turns = positions, joining(other), positions(load, mvm, add)
    return {
        "another tile from the second turn on": (f"{cells} change", write, turns(load, mvm, add, other)),
        "another tile from the second turn of an inner loop on":
            (f"{cells} change", write, turns(Loop("z", 1, (load, mvm, add, other)))),
        "a tile of another loop": (f"{cells} are those", turns(write), all_turns),
        "another tile in a loop that is over": (f"{cells} are those", write, turns(other), all_turns),
        "a load of another loop": (f"{drives} are those", write, turns(load), turns(mvm, add)),
        "a load outside of the loop of its address": ("codes of another", write, turns(load), fixed, mvm, turns(add)),
        "an MVM of another loop": (f"{counts} are those", write, turns(load, mvm), turns(add)),
        "another load from the second turn on":
            (f"{counts} change", write, load_at(load, 0), mvm, turns(add, load, mvm)),
        "drives that change after the MVM": (unread, write, turns(load, mvm, fixed, add)),
        "a load of the turn before": (f"{drives} change", write, fixed, turns(mvm, add, load)),
        "counts of the turn before": (f"{counts} change", write, fixed, mvm, turns(add, load, mvm)),
        "a tile that is written between load and MVM": (unwritten, write, turns(load, other, mvm, add)),
        "a tile that is written between MVM and sum": (f"{cells} change", write, turns(load, mvm, other, add)),
        "no load": (unwritten, write, turns(mvm, add)),
        "no MVM": (unread, write, turns(load, add)),
        "no tile": ("no tile was written", all_turns),
        "a block that joins after reads": (over, write, all_turns, joined),
        "a block that joins in another loop": (over, write, turns(joined, load, mvm, add)),
        "a block that joins in a loop of one turn": (over, write, Loop("z", 1, (joined,)), all_turns),
        "a block that joins between load and MVM": (unwritten, write, turns(load, joined, mvm, add)),
        "sums that are cleared in a loop": ("ClearAccumulators out of place", write, turns(clear, load, mvm, add)),
        "sums that are cleared late": ("ClearAccumulators out of place", write, all_turns, clear),
        "inputs that are quantized after they drive": ("QuantizeInput out of place", write, all_turns, quantize),
        "a layer in the layer": ("Layer out of place", write, all_turns, inner),
    }  # fmt: skip


def load_at(load, address):
    return replace(load, address=Affine(address))


def joining(write):
    return replace(write, corner=(4, 4), joins=True)


@pytest.mark.parametrize("name", bodies())
def test_what_would_mean_another_thing_in_another_turn_is_refused(bench, name):
    parts(bench)
    bench.write([[0, 1], [1, 1]], ".other")
    message, *body = bodies()[name]
    with pytest.raises(ProgramError, match=message):
        verify_program(program_of(bench, *body))


def test_the_same_tile_may_be_written_again_in_an_inner_loop(bench):
    write, load, mvm, add = parts(bench, shift=SLICES)
    steps = Loop("s", 1, (write, load, mvm, add))
    assert outputs(program_of(bench, write, positions(steps))) == EXPECTED


def test_a_stored_operand_of_the_layer_before_is_not_taken_for_this_layer_s():
    """Two products of one shape: the second must not read what was written of the first's codes."""
    made = HAND_MADE["twos_complement"]()
    (layer,) = made.program.layers
    second = replace(layer, name="second", body=(*layer.body[:-1], replace(layer.body[-1], target="z")))
    buffers = {**made.program.buffers, "z": made.program.buffers["y"]}
    program = replace(made.program, outputs=("z",), buffers=buffers, instructions=(layer, second))
    verify_program(program)

    def without_write(item):
        return replace(item, body=tuple(one for one in item.body if not isinstance(one, WriteDynamicTile)))

    with pytest.raises(ProgramError, match="used before it is written"):
        verify_program(change_instructions(program, Layer, without_write, only=1))


@pytest.mark.parametrize("kind", [WriteDynamicTile, LoadInput])
def test_codes_are_not_used_before_this_layer_quantizes_them(kind):
    """The buffers hold the codes of the layer before: drives and cells made of them would pass for this layer's."""
    made = HAND_MADE["twos_complement"]()
    (layer,) = made.program.layers
    quantize, clear, stored, write, loop, end = layer.body
    early = (write, quantize, clear, stored, loop) if kind is WriteDynamicTile else (loop.body[0],)
    if kind is LoadInput:
        load, *reads = loop.body
        early = (replace(write), load_at(load, 0), quantize, clear, stored, Loop("x", 2, (*reads,)))
    second = replace(layer, name="second", body=(*early, replace(end, target="z")))
    buffers = {**made.program.buffers, "z": made.program.buffers["y"]}
    program = replace(made.program, outputs=("z",), buffers=buffers, instructions=(layer, second))
    with pytest.raises(ProgramError, match="QuantizeInput out of place"):
        verify_program(program)


def test_weights_stay_for_later_layers_and_drives_do_not():
    made = HAND_MADE["joined"]()
    verify_program(made.program)
    no_load = change_instructions(made.program, LoadInput, lambda _: None, only=1)
    with pytest.raises(ProgramError):
        verify_program(no_load)
    *_, second = collect_layers(made.program)
    assert [use.write.cells for use in second.tiles] == ["second:cells"]


@pytest.mark.parametrize("kind", [WriteTile, Mvm, LoadInput, ShiftAdd, ClearAccumulators, QuantizeInput, Dequantize])
def test_outside_of_layers_there_are_only_digital_operations(kind):
    made = HAND_MADE["side_by_side"]()
    (layer,) = made.program.layers
    item = next(item for item in layer.body if isinstance(item, kind))
    for instructions in ((item, layer), (layer, item)):
        with pytest.raises(ProgramError, match=f"{kind.__name__} outside of a layer"):
            verify_program(replace(made.program, instructions=instructions))


def test_a_layer_in_a_loop_is_refused():
    made = HAND_MADE["side_by_side"]()
    with pytest.raises(ProgramError, match="Loop outside of a layer"):
        verify_program(replace(made.program, instructions=(Loop("z", 1, made.program.instructions),)))

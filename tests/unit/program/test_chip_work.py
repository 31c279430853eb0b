"""A schedule that does not fit its program is refused, in words; and caught by the interpreter where it is not."""

from dataclasses import replace

import numpy as np
import pytest
from accelerators import make_accelerator
from chip_networks import make_attention, make_chain
from chip_programs import quantized_program
from small_programs import change_constant, change_instructions, compile_small, matmul_network

from mho.errors import ProgramError
from mho.mapping.layer_mapping import MappingModel
from mho.program.chip_work import derive_chip_work
from mho.program.instructions import Affine, LoadInput, Loop, Mvm, Span, Window, WriteTile
from mho.program.schedule import StoredWait, Wait
from mho.program.verify import verify_program
from mho.program.window_proof import find_window_sizes
from mho.simulation.executor import Executor
from mho.simulation.interpreter import interpret

CHIP = make_accelerator(rows=32, cols=16, cell_bits=4, crossbars=60)


@pytest.fixture(scope="module")
def chain():
    return quantized_program(make_chain(), CHIP, copies=2, model=MappingModel.PAPER)[1]


@pytest.fixture(scope="module")
def attention():
    return quantized_program(make_attention(), CHIP)[1]


def inputs_of(program):
    shape = program.buffers[program.inputs[0]].shape
    return np.random.default_rng(1).standard_normal((2, *shape)).astype(np.float32)


def reschedule(program, name, **changes):
    """Change what the schedule says of one layer."""
    layers = [replace(layer, **changes) if layer.name == name else layer for layer in program.schedule.layers]
    return replace(program, schedule=replace(program.schedule, layers=tuple(layers)))


def test_waits_that_are_longer_than_needed_only_take_time(chain):
    late = change_constant(chain, "second:waits:first", lambda windows: np.full_like(windows, windows.max()))
    verify_program(late)
    graph = derive_chip_work(late, find_window_sizes(late)).graph
    assert set(graph["second"].needs[0].windows.tolist()) == {graph["first"].windows}
    inputs = inputs_of(chain)
    outputs = interpret(chain, inputs).outputs
    assert all(np.array_equal(values, outputs[name]) for name, values in interpret(late, inputs).outputs.items())


@pytest.mark.parametrize("window", [0, 7, 15])
def test_a_wait_that_is_too_short_is_refused_and_caught_in_the_act(chain, window):
    def forget(windows):
        windows[window] = 0
        return windows

    early = change_constant(chain, "second:waits:first", forget)
    with pytest.raises(ProgramError, match=f"window {window} does not wait for all that it reads of first"):
        verify_program(early)
    if window == 0:  # later windows of a copy come after its first in any case
        with pytest.raises(ProgramError, match=r"layer second: window 0 reads codes of .* at 0 ps"):
            interpret(early, inputs_of(early))


def test_a_wait_that_is_short_of_one_window_is_caught_where_nothing_else_delays_the_read():
    _, program = quantized_program(make_chain(), CHIP)
    early = change_constant(program, "second:waits:first", lambda windows: windows - 1)
    with pytest.raises(ProgramError, match="are not finished"):
        interpret(early, inputs_of(early))


def test_a_missing_wait_is_refused_and_caught(chain):
    early = reschedule(chain, "second", waits=())
    with pytest.raises(ProgramError, match="does not wait for all that it reads of first"):
        verify_program(early)
    with pytest.raises(ProgramError, match="are not finished"):
        interpret(early, inputs_of(early))


def test_a_stored_operand_that_does_not_wait_is_refused_and_caught(attention):
    layer = next(layer for layer in attention.schedule.layers if layer.stored_waits)
    (wait,) = layer.stored_waits
    early = reschedule(attention, layer.name, stored_waits=(StoredWait(wait.producer, wait.windows - 1),))
    with pytest.raises(ProgramError, match="its stored operand does not wait"):
        verify_program(early)
    with pytest.raises(ProgramError, match="the operand of copy 0 reads codes"):
        interpret(early, inputs_of(early))
    with pytest.raises(ProgramError, match="waits for other layers than it takes"):
        verify_program(reschedule(attention, layer.name, stored_waits=()))


@pytest.mark.parametrize("copies", [1, 2])
def test_operands_that_are_written_in_no_time_are_written_all_the_same(copies):
    quick = make_accelerator(rows=32, cols=16, cell_bits=4, crossbars=60, crossbar={"write_latency_us": 0})
    program = quantized_program(make_attention(), quick, copies)[1]
    inputs = inputs_of(program)
    outputs = Executor(program).run({program.inputs[0]: inputs})
    assert all(np.array_equal(values, outputs[name]) for name, values in interpret(program, inputs).outputs.items())


@pytest.mark.parametrize(
    ("copies", "message"),
    [
        (((50,), (51,)), "the first copy lies in crossbars 50"),
        (((0,), (60,)), "crossbar 60"),
        (((0,), (-1,)), "crossbar -1"),
        (((0, 50),), "the first copy lies in crossbars 0, 50"),
    ],
)
def test_crossbars_that_are_not_there_are_refused(chain, copies, message):
    assert chain.schedule["first"].copies[0] == (0,)
    with pytest.raises(ProgramError, match=message):
        verify_program(reschedule(chain, "first", copies=copies))


@pytest.mark.parametrize("windows", [np.zeros(3, np.int32), np.zeros(16, np.float32), np.full(16, -1), np.full(16, 37)])
def test_waits_that_say_nothing_are_refused(chain, windows):
    with pytest.raises(ProgramError, match="schedule of layer second"):
        verify_program(change_constant(chain, "second:waits:first", lambda _: windows))


def test_every_layer_is_scheduled_once_in_order(chain):
    first, second = chain.schedule.layers
    for layers in ((first,), (second, first)):
        with pytest.raises(ProgramError, match="other layers than the program's"):
            verify_program(replace(chain, schedule=replace(chain.schedule, layers=layers)))


def test_a_layer_waits_only_for_layers_before_it(chain):
    first, second = chain.schedule.layers
    swapped = replace(first, waits=(Wait("second", "first:waits:second"),))
    constants = {**chain.constants, "first:waits:second": np.ones(36, np.int32)}
    with pytest.raises(ProgramError, match="schedule of layer first"):
        verify_program(replace(chain, constants=constants, schedule=replace(chain.schedule, layers=(swapped, second))))


def test_a_program_of_one_crossbar_has_no_work_on_a_chip():
    with pytest.raises(ProgramError, match="no schedule"):
        derive_chip_work(compile_small(matmul_network()), {})


def change_first_layer(program, change):
    """Change the body of the first layer."""
    first = program.layers[0]
    changed = replace(first, body=change(first.body))
    return replace(program, instructions=tuple(changed if item is first else item for item in program.instructions))


def without_windows(body):
    opened = []
    for item in body:
        if isinstance(item, Window):
            opened += without_windows(item.body)
        else:
            opened.append(replace(item, body=without_windows(item.body)) if isinstance(item, Loop) else item)
    return tuple(opened)


def turn_round(body):
    """Run through rows of windows in the order of columns."""
    (place, outer), *_ = ((place, item) for place, item in enumerate(body) if isinstance(item, Loop))
    (inner,) = outer.body
    swapped = replace(inner, body=(replace(outer, body=inner.body),))
    return (*body[:place], swapped, *body[place + 1 :])


def write_in_window(body):
    write = next(item for item in body if isinstance(item, WriteTile))
    return tuple(_change_window(item, lambda window: Window((write, *window.body))) for item in body)


def write_in_loop(body):
    return tuple(Loop("z", 1, (item,)) if isinstance(item, WriteTile) else item for item in body)


def write_after_window(body):
    (write,) = (item for item in body if isinstance(item, WriteTile))
    return (*body[:-1], replace(write, crossbar=55), body[-1])


def load_before_window(body):
    load = _first_load(body)
    return (*body[:-2], load, *body[-2:])


def _first_load(body):
    for item in body:
        if isinstance(item, LoadInput):
            return replace(item, address=Affine(item.address.base), shift=Affine(item.shift.base))
        if isinstance(item, Loop | Window) and (found := _first_load(item.body)):
            return found
    return None


def two_windows(body):
    return tuple(_change_window(item, lambda window: Window((window,))) for item in body)


def _change_window(item, change):
    if isinstance(item, Window):
        return change(item)
    return (
        replace(item, body=tuple(_change_window(one, change) for one in item.body)) if isinstance(item, Loop) else item
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_windows, "which are read in windows"),
        (turn_round, "windows are not in the order of their positions"),
        (write_in_window, "written in the layer's window"),
        (write_in_loop, "written in a loop"),
        (write_after_window, "or after it"),
        (two_windows, "beside the layer's window"),
        (load_before_window, "beside the layer's window"),
    ],
)
def test_windows_are_what_schedules_take_them_for(chain, change, message):
    with pytest.raises(ProgramError, match=message):
        verify_program(change_first_layer(chain, change))


def test_every_tile_has_a_crossbar_of_its_own(chain):
    shared = change_instructions(chain, WriteTile, lambda item: replace(item, crossbar=0))
    with pytest.raises(ProgramError, match="layer"):
        verify_program(shared)


def test_a_layer_reads_its_own_crossbars(chain):
    """The second layer's window reads what the first left in a crossbar, and counts nothing of it."""
    second = chain.layers[1]
    own = (replace(_first_load(second.body), crossbar=0, rows=Span(0, 1), first_row=0), Mvm(0))
    body = tuple(_change_window(item, lambda window: Window((*own, *window.body))) for item in second.body)
    changed = tuple(replace(item, body=body) if item is second else item for item in chain.instructions)
    with pytest.raises(ProgramError, match="crossbar 0 is driven or read"):
        verify_program(replace(chain, instructions=changed))

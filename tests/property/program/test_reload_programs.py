"""Programs whose tiles are reloaded into few crossbars: integers and times are those of network and schedule."""

from __future__ import annotations

from bits import assert_same_bits
from examples import RELAXED, examples
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_networks import choosers, random_inputs
from reload_programs import random_reload

from mho.errors import MappingError
from mho.network.reference import run_quantized
from mho.program.reload_work import derive_reload_work
from mho.scheduling.given_reloads import time_reloads
from mho.simulation.analog import AnalogExecutor
from mho.simulation.executor import Executor
from mho.simulation.interpreter import interpret


def draw(chooser, *, most=40):
    try:
        return random_reload(chooser, most=most)
    except MappingError:
        assume(False)


@settings(max_examples=examples(20), **RELAXED)
@given(choosers(), st.integers(1, 4))
def test_a_program_of_few_crossbars_is_exact_and_takes_the_time_of_its_schedule(chooser, samples):
    network, schedule, program = draw(chooser)
    inputs = random_inputs(network, samples)
    expected = run_quantized(network, inputs)
    assert_same_bits(Executor(program).run(inputs, batch_size=2), expected)
    assert_same_bits(AnalogExecutor(program, 1).run(inputs, batch_size=2), expected)
    check_interpreter(schedule, program, inputs, expected)
    check_times(schedule, program)


def check_interpreter(schedule, program, inputs, expected):
    execution = interpret(program, inputs)
    assert_same_bits(execution.outputs, expected)
    assert execution.mvms == {name: mapping.mvms for name, mapping in schedule.mappings.items()}
    assert sum(execution.writes.values()) == schedule.writes + sum(schedule.plan.staying)


def check_times(schedule, program):
    work = derive_reload_work(program)
    timing = time_reloads(work.tiles, work.plan, work.reloads)
    assert timing.interval_ps == schedule.latency_ps
    assert sum(work.plan.staying) == sum(schedule.plan.staying)

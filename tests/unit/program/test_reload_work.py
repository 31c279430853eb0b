"""Schedules with reloads: what is refused, whatever made it; and what a program says of itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from accelerators import make_accelerator
from bits import assert_same_bits
from small_programs import change_constant, conv_network

import mho
from mho.errors import ProgramError
from mho.network.reference import run_quantized
from mho.program.container import read_program, write_program
from mho.program.disassembly import disassemble
from mho.program.verify import verify_program
from mho.scheduling.regime import Regime
from mho.simulation.interpreter import interpret

HARDWARE = make_accelerator(rows=8, cols=8, crossbars=2, memory={"bytes_per_us": 4}, endurance={"cell_writes": 10**6})


@pytest.fixture(scope="module")
def network():
    return conv_network()


@pytest.fixture(scope="module")
def program(network):
    return mho.compile(network, HARDWARE, batch=2)


def with_reloads(program, change):
    return change_constant(program, program.schedule.layers[0].crossbars, change)


def test_few_crossbars_make_a_program_that_is_exact_in_the_order_of_its_reloads(network, program):
    assert program.regime is Regime.TIME_MULTIPLEXED
    assert program.schedule.batch == 2
    inputs = np.random.default_rng(3).standard_normal((5, *network.inputs[0].shape)).astype(np.float32)
    assert_same_bits(interpret(program, inputs).outputs, run_quantized(network, inputs))


def test_the_program_takes_what_its_schedule_says(network, program):
    schedule = mho.schedule(network, HARDWARE, batch=2)
    timing = mho.timing(program)
    assert (timing.latency_ps, timing.writes) == (schedule.latency_ps, schedule.writes)
    assert (timing.cell_writes_per_input, timing.lifetime_inputs) == (
        schedule.cell_writes_per_input,
        schedule.lifetime_inputs,
    )


def test_a_file_carries_the_reloads(program, tmp_path):
    write_program(program, tmp_path / "p.mho")
    again = read_program(tmp_path / "p.mho")
    assert again.schedule == program.schedule
    assert "tile 0 in x" in disassemble(again)


def test_a_crossbar_that_instructions_do_not_name_is_refused(program):
    with pytest.raises(ProgramError, match="as its instructions say"):
        verify_program(
            with_reloads(
                program, lambda crossbars: np.roll(crossbars, 1, axis=1) if np.ptp(crossbars) else crossbars + 1
            )
        )


def test_a_crossbar_that_is_none_is_refused(program):
    with pytest.raises(ProgramError, match="which crossbars take its tiles"):
        verify_program(with_reloads(program, lambda crossbars: crossbars + 3))


def test_reloads_that_are_too_few_are_refused(program):
    with pytest.raises(ProgramError, match="which crossbars take its tiles"):
        verify_program(with_reloads(program, lambda crossbars: crossbars[:, :-1]))


def test_copies_of_fewer_tiles_are_refused(program):
    (layer,) = program.schedule.layers
    fewer = replace(program.schedule, layers=(replace(layer, copies=layer.copies[:-1]),))
    with pytest.raises(ProgramError, match="copies of"):
        verify_program(replace(program, schedule=fewer))


def test_crossbars_that_stay_and_are_not_there_are_refused(program):
    with pytest.raises(ProgramError, match=r"hold a tile for good|crossbars"):
        verify_program(replace(program, schedule=replace(program.schedule, staying=program.schedule.staying + 1)))


def test_next_crossbars_are_each_one_once(program):
    with pytest.raises(ProgramError, match="each crossbar once"):
        replace(program.schedule, next_crossbars=(0,) * (program.schedule.rotating + 1))


def test_another_batch_is_an_error(program):
    with pytest.raises(ProgramError, match="batch of 3"):
        mho.timing(program, batch=3)

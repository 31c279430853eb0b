"""Programs for chips: integers and times are what they were, whatever options, copies and places a schedule has."""

import json
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from bits import assert_same_bits
from chip_programs import random_chip_network, random_schedule
from examples import RELAXED, examples
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mutations import mutate, numbers
from random_networks import SeededChooser, choosers, random_inputs

from mho.errors import MappingError, MhoError
from mho.network.reference import run_quantized
from mho.program.chip_work import derive_chip_work
from mho.program.codec import decode_schedule, encode_schedule
from mho.program.container import read_program, write_program
from mho.program.lowering import compile_schedule
from mho.program.verify import verify_program
from mho.program.window_proof import find_window_sizes
from mho.simulation.analog import AnalogExecutor
from mho.simulation.chip_timing import simulate_chip
from mho.simulation.executor import Executor
from mho.simulation.interpreter import interpret
from mho.simulation.timing import time_on_chip

TIME_KEYS = ("windows", "window_ps", "digital_ps", "write_ps")
LAYER_KEYS = ("name", "crossbars", "unit", *TIME_KEYS, "stored_needs", "sum_bytes", "tile_sum_bytes")
NEED_KEYS = ("windows", "forgotten", "bytes")


def draw_program(chooser, *, most=40):
    network = random_chip_network(chooser)
    try:
        schedule = random_schedule(chooser, network, most=most)
    except MappingError:
        assume(False)
    return network, schedule, compile_schedule(network, schedule)


@settings(max_examples=examples(120), **RELAXED)
@given(choosers(), st.integers(1, 3))
def test_a_program_for_a_chip_is_exact_and_does_the_work_of_its_schedule(chooser, samples):
    network, schedule, program = draw_program(chooser)
    check_bits(network, schedule, program, samples)
    check_work(schedule, program)
    check_file(program)


def check_bits(network, schedule, program, samples):
    """Schedule order, executor and ideal arrays give the bits of the reference; copies are written and read in turn."""
    inputs = random_inputs(network, samples)
    expected, execution = run_quantized(network, inputs), interpret(program, inputs)
    assert_same_bits(execution.outputs, expected)
    assert_same_bits(Executor(program).run(inputs, batch_size=2), expected)
    assert_same_bits(AnalogExecutor(program, 1).run(inputs, batch_size=2), expected)
    for layer in schedule.graph.layers:
        copies, stored = schedule.copies[layer.name], layer.mapping.layer.is_stored_dynamically
        written = min(copies, layer.windows) if stored else copies
        assert execution.writes[layer.name] == written * layer.crossbars
        assert execution.mvms[layer.name] == layer.mapping.mvms


def check_work(schedule, program):
    """The work that is derived from a program is that of its schedule, and so are its times."""
    work = derive_chip_work(program, find_window_sizes(program))
    assert work.plan == schedule.plan
    for mine, theirs in zip(work.graph.layers, schedule.graph.layers, strict=True):
        assert {key: getattr(mine, key) for key in LAYER_KEYS} == {key: getattr(theirs, key) for key in LAYER_KEYS}
        assert [need.producer for need in mine.needs] == [need.producer for need in theirs.needs]
        for need, other in zip(mine.needs, theirs.needs, strict=True):
            assert all(np.array_equal(getattr(need, key), getattr(other, key)) for key in NEED_KEYS)
        for sizes, others in zip(mine.stored_bytes, theirs.stored_bytes, strict=True):
            assert np.array_equal(sizes, others)
    simulated = simulate_chip(schedule.graph, schedule.plan, schedule.accelerator, batch=2)
    assert time_on_chip(program, batch=2).batch == simulated


def check_file(program):
    """A file holds the schedule, and is written again with the same bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.mho"
        write_program(program, path)
        found = read_program(path)
        assert found.schedule == program.schedule
        write_program(found, Path(folder) / "again.mho")
        assert path.read_bytes() == (Path(folder) / "again.mho").read_bytes()


@cache
def small_program(seed):
    """One of a few programs, each of which is damaged in many ways."""
    chooser = SeededChooser(seed)
    while True:
        network = random_chip_network(chooser)
        try:
            schedule = random_schedule(chooser, network, most=24)
        except MappingError:
            continue
        return compile_schedule(network, schedule), random_inputs(network, 2)


def damage(program, chooser):
    """Change instructions and constants, or a number or a name of the schedule."""
    if chooser.integer(0, 2):
        return mutate(program, chooser)
    content = json.loads(json.dumps(encode_schedule(program.schedule)))
    layer = chooser.choice(content["layers"])
    if chooser.integer(0, 3):
        container, key = chooser.choice(numbers(layer["copies"]) or [(layer, "core")])
        container[key] += chooser.choice((-2, -1, 1, 2))
    elif chooser.integer(0, 2):
        kind = chooser.choice(("copies", "waits", "stored_waits"))
        if layer[kind]:
            layer[kind].pop(chooser.integer(0, len(layer[kind]) - 1))
    else:
        layers = content["layers"]
        layers[0], layers[-1] = layers[-1], layers[0]
    return replace(program, schedule=decode_schedule(content, "damaged"))


@settings(max_examples=examples(150), **RELAXED)
@given(st.integers(0, 15), choosers())
def test_engines_agree_on_every_damaged_program_that_passes(seed, chooser):
    program, inputs = small_program(seed)
    try:
        damaged = damage(program, chooser)
        verify_program(damaged)
    except MhoError:
        return
    assert_same_bits(Executor(damaged).run(inputs), interpret(damaged, inputs).outputs)

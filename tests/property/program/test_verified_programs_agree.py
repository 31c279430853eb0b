"""Whatever passes verification runs, and both engines agree on it: also programs that no compiler made."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
from accelerators import make_accelerator
from bits import assert_same_bits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_networks import SeededChooser, random_inputs, random_network

from mho.accelerator.spec import PAPER_ENCODINGS
from mho.errors import MhoError
from mho.program.codec import decode_instructions, encode_instructions
from mho.program.lowering import compile_network
from mho.program.verify import verify_program
from mho.simulation.executor import Executor
from mho.simulation.interpreter import interpret


def places(value: Any) -> list[tuple[Any, Any]]:
    """Return (container, key) of every number and list in a JSON value."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    found = []
    for key in keys:
        if isinstance(value[key], int | float) and not isinstance(value[key], bool):
            found.append((value, key))
        elif isinstance(value[key], list | dict):
            found += [(value, key)] if isinstance(value[key], list) and key == "body" else []
            found += places(value[key])
    return found


@st.composite
def mutations(draw: Any) -> tuple[int, int, float, int]:
    """Where to change (a fraction of all places), how, by how much."""
    return draw(st.tuples(st.integers(0, 5), st.integers(-3, 3), st.floats(0, 1, exclude_max=True), st.integers(0, 40)))


def mutate(program, mutation):
    kind, amount, fraction, element = mutation
    if kind == 0:
        names = list(program.constants)
        name = names[int(fraction * len(names))]
        array = np.array(program.constants[name])
        array.reshape(-1)[element % array.size] += array.dtype.type(amount if array.dtype.kind != "u" else abs(amount))
        return replace(program, constants={**program.constants, name: array})
    content = copy.deepcopy(encode_instructions(program.instructions))
    found = places(content)
    container, key = found[int(fraction * len(found))]
    if isinstance(container[key], list):
        body = container[key]
        first, second = element % len(body), abs(amount) % len(body)
        body[first], body[second] = body[second], body[first]
    else:
        container[key] += amount
    return replace(program, instructions=decode_instructions(content, "mutated"))


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 40), st.sampled_from(PAPER_ENCODINGS), mutations())
def test_engines_agree_on_every_mutation_that_passes(seed, encoding, mutation):
    network = random_network(SeededChooser(seed), max_layers=1)
    program = compile_network(network, make_accelerator(5, 7, 2, 2, encoding=encoding))
    try:
        mutated = mutate(program, mutation)
        verify_program(mutated)
    except MhoError:
        return
    inputs = random_inputs(network, 2)
    expected = interpret(mutated, inputs).outputs
    try:
        executor = Executor(mutated)
    except MhoError:
        return
    assert_same_bits(executor.run(inputs), expected)

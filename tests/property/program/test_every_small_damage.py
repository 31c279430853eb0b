"""Every small damage to programs written by hand: what passes verification runs alike on both engines, and all else is
refused in words."""

import copy
import itertools
import marshal
from dataclasses import replace

import numpy as np
import pytest
from bits import assert_same_bits
from hand_made import HAND_MADE
from mutations import bodies, numbers

from mho.errors import MhoError
from mho.program.codec import decode_instructions, encode_instructions
from mho.program.verify import verify_program
from mho.simulation.executor import Executor
from mho.simulation.interpreter import interpret
from mho.simulation.timing import time_program

AMOUNTS = (-3, -2, -1, 1, 2, 3, 100)
TOGETHER = ((1, 1), (-1, -1), (1, -1), (-1, 1), (2, 2), (2, 1), (1, 2), (2, -2), (-2, 2))


def copier(program):
    """Return a function that gives the instructions as JSON values, new ones with each call."""
    packed = marshal.dumps(encode_instructions(program.instructions))
    return lambda: marshal.loads(packed)


def moves(program):
    """Move every instruction to every place, and put a copy of it there."""
    fresh = copier(program)
    sizes = [len(body) for body in bodies(fresh())]
    places = [(body, place) for body, size in enumerate(sizes) for place in range(size)]
    targets = [(body, place) for body, size in enumerate(sizes) for place in range(size + 1)]
    for (body, place), (target, other), is_copied in itertools.product(places, targets, (False, True)):
        content = fresh()
        found = list(bodies(content))
        item = copy.deepcopy(found[body][place]) if is_copied else found[body].pop(place)
        if not any(inner is found[target] for inner in bodies(item.get("body", []))):
            found[target].insert(other, item)
            yield content


def loops(program):
    """Put loops around every run of instructions; cut loops in two; open them; leave instructions out."""
    fresh = copier(program)
    for number, body in enumerate(bodies(fresh())):
        for first, last in itertools.combinations(range(len(body) + 1), 2):
            for variable, count in itertools.product("zxs", (1, 2, 3)):
                content = fresh()
                inner = list(bodies(content))[number]
                inner[first:last] = [{"kind": "Loop", "variable": variable, "count": count, "body": inner[first:last]}]
                yield content
        for place, item in enumerate(body):
            parts = [[]]
            if item["kind"] == "Loop":
                halves = [(item["body"][:cut], item["body"][cut:]) for cut in range(1, len(item["body"]))]
                parts += [item["body"], *([{**item, "body": one} for one in half] for half in halves)]
            for part in parts:
                content = fresh()
                list(bodies(content))[number][place : place + 1] = part
                yield content


def single_numbers(program):
    """Change every number, and every flag."""
    content = copier(program)()
    for container, key in numbers(content, flags=True):
        before = container[key]
        changed = [not before] if isinstance(before, bool) else [0, *(before + amount for amount in AMOUNTS)]
        for container[key] in changed:
            yield content
        container[key] = before


def pairs_of_numbers(program):
    """Change every two numbers."""
    content = copier(program)()
    for (first, key), (second, other) in itertools.combinations(numbers(content), 2):
        before, after = first[key], second[other]
        for one, two in TOGETHER:
            first[key], second[other] = before + one, after + two
            yield content
        first[key], second[other] = before, after


def elements(program, count):
    """Change every `count` elements of constants."""
    places = [(name, place) for name, array in program.constants.items() for place in range(array.size)]
    amounts = TOGETHER if count == 2 else [(amount,) for amount in AMOUNTS]
    for chosen in itertools.combinations(places, count):
        for changes in amounts:
            names = {name for name, _ in chosen}
            constants = {**program.constants, **{name: np.array(program.constants[name]) for name in names}}
            for (name, place), amount in zip(chosen, changes, strict=True):
                constants[name].reshape(-1)[place] += np.array(amount).astype(constants[name].dtype)
            yield replace(program, constants=constants)


def decoded(program, changed):
    """The programs of changed instructions; what is no program at all is left out."""
    for content in changed:
        try:
            yield replace(program, instructions=decode_instructions(content, "damaged"))
        except MhoError:
            continue


def check(programs, made):
    """Return how many pass, all of which both engines run alike, and how many are refused."""
    generator = np.random.default_rng(0)
    inputs = {name: generator.integers(-5, 17, (8, *array.shape[1:])) for name, array in made.inputs.items()}
    passed = refused = 0
    for program in programs:
        try:
            verify_program(program)
        except MhoError:
            refused += 1
            continue
        passed += 1
        execution, layers = interpret(program, inputs), time_program(program).layers
        assert execution.writes == {layer.name: layer.writes for layer in layers}
        assert execution.mvms == {layer.name: layer.mvms for layer in layers}
        assert_same_bits(Executor(program).run(inputs), execution.outputs)
    return passed, refused


@pytest.mark.parametrize("name", HAND_MADE)
def test_engines_agree_wherever_instructions_are_moved_or_enclosed(name):
    made = HAND_MADE[name]()
    passed, refused = check(decoded(made.program, itertools.chain(moves(made.program), loops(made.program))), made)
    assert passed > 10  # instructions that stay where they are, loops of one turn, parts that do not need each other
    assert refused > 100


@pytest.mark.parametrize("name", HAND_MADE)
def test_engines_agree_on_every_other_number(name):
    made = HAND_MADE[name]()
    _, refused = check(decoded(made.program, single_numbers(made.program)), made)
    assert refused > 100
    passed, _ = check(elements(made.program, 1), made)
    assert passed > 10  # weights, corrections and multipliers are free


@pytest.mark.slow
@pytest.mark.parametrize("name", HAND_MADE)
def test_engines_agree_on_every_two_other_numbers(name):
    made = HAND_MADE[name]()
    check(decoded(made.program, pairs_of_numbers(made.program)), made)
    check(elements(made.program, 2), made)

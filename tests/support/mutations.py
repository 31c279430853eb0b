"""Random damage to programs, as an attacker or a wrong compiler would do it: numbers, names, constants, structure."""

from __future__ import annotations

import copy
import marshal
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from random_networks import Chooser

from mho.errors import ProgramError
from mho.program.codec import decode_instructions, encode_instructions
from mho.program.program import Program

Place = tuple[Any, Any]
"""A container of a JSON value and a key of it."""


def mutate(program: Program, chooser: Chooser) -> Program:
    """Return the program with one to three things changed. Raises `ProgramError` where nothing of it is left."""
    for _ in range(chooser.choice((1, 1, 1, 2, 3))):
        if chooser.integer(0, 3) == 0:
            program = _change_constant(program, chooser)
        elif not any(item.body for item in program.layers):
            raise ProgramError("no layer is left")
        else:
            content = marshal.loads(marshal.dumps(encode_instructions(program.instructions)))
            chooser.choice(_CHANGES)(content, program, chooser)
            program = replace(program, instructions=decode_instructions(content, "mutated"))
    return program


def _change_constant(program: Program, chooser: Chooser) -> Program:
    names = sorted(program.constants)
    name = chooser.choice(names)
    array = np.array(program.constants[name])
    flat = array.reshape(-1)
    place, other = chooser.integer(0, array.size - 1), chooser.integer(0, array.size - 1)
    amount = chooser.choice((1, 1, 2, 3, -1, -1, -2, 16))
    kind = chooser.integer(0, 6)
    if kind == 0:
        flat[place], flat[other] = flat[other], flat[place]
    elif kind == 1:
        flat[place] = flat[other]
    elif kind == 2:
        array = np.roll(array, amount, axis=-1)
    elif kind == 3:
        array = np.ascontiguousarray(array[..., ::-1])
    elif kind == 4:
        alike = [one for one in names if program.constants[one].shape == array.shape]
        array = np.array(program.constants[chooser.choice(alike)])
    elif kind == 5:
        array += np.array(amount).astype(array.dtype)
    else:
        flat[place] += np.array(amount).astype(array.dtype)
    return replace(program, constants={**program.constants, name: array})


def _change_number(content: list[Any], _program: Program, chooser: Chooser) -> None:
    container, key = chooser.choice(numbers(content))
    container[key] += chooser.choice((1, 1, -1, -1, 2, -2, 3, 4, 8, -container[key]))


def _change_two_numbers(content: list[Any], _program: Program, chooser: Chooser) -> None:
    """Change two numbers by as much, as if they belonged together: an address and its counterpart."""
    found = [place for place in numbers(content) if place[1] == 0 or isinstance(place[1], str)]
    amount = chooser.choice((1, -1, 2, -2, 3, 4, 6))
    for _ in range(2):
        container, key = chooser.choice(found)
        container[key] += amount


def _change_flag(content: list[Any], _program: Program, chooser: Chooser) -> None:
    flags = [place for place in _places(content) if isinstance(place[0][place[1]], bool)]
    container, key = chooser.choice(flags)
    container[key] = not container[key]


def _change_name(content: list[Any], program: Program, chooser: Chooser) -> None:
    """Let an instruction use another constant or buffer of the same rank and kind, or none."""
    known = {**program.buffers, **program.constants}
    names = [place for place in _places(content) if isinstance(place[0][place[1]], str) and place[0][place[1]] in known]
    container, key = chooser.choice(names)
    own = known[container[key]]
    alike = [name for name, value in known.items() if type(value) is type(own) and len(value.shape) == len(own.shape)]
    container[key] = chooser.choice((*alike, ""))


def _rename_variable(content: list[Any], _program: Program, chooser: Chooser) -> None:
    if loops := [item for body in bodies(content) for item in body if item["kind"] == "Loop"]:
        chooser.choice(loops)["variable"] = chooser.choice(("g", "b", "y", "x", "s", "z"))


def _swap(content: list[Any], _program: Program, chooser: Chooser) -> None:
    body = chooser.choice(list(bodies(content)))
    first, second = chooser.integer(0, len(body) - 1), chooser.integer(0, len(body) - 1)
    body[first], body[second] = body[second], body[first]


def _drop(content: list[Any], _program: Program, chooser: Chooser) -> None:
    body = chooser.choice(list(bodies(content)))
    del body[chooser.integer(0, len(body) - 1)]


def _repeat(content: list[Any], _program: Program, chooser: Chooser) -> None:
    """Put a copy of an instruction into the same or another body."""
    found = list(bodies(content))
    item = chooser.choice(chooser.choice(found))
    target = chooser.choice(found)
    target.insert(chooser.integer(0, len(target)), copy.deepcopy(item))


def _move(content: list[Any], _program: Program, chooser: Chooser) -> None:
    source = chooser.choice(list(bodies(content)))
    item = source.pop(chooser.integer(0, len(source) - 1))
    target = chooser.choice([content, *bodies(content)])
    target.insert(chooser.integer(0, len(target)), item)


def _enclose(content: list[Any], _program: Program, chooser: Chooser) -> None:
    """Put a loop around some instructions."""
    body = chooser.choice(list(bodies(content)))
    start = chooser.integer(0, len(body) - 1)
    stop = chooser.integer(start + 1, len(body))
    variable, count = chooser.choice(("z", "z", "s", "x", "g")), chooser.integer(1, 3)
    body[start:stop] = [{"kind": "Loop", "variable": variable, "count": count, "body": body[start:stop]}]


def _open(content: list[Any], _program: Program, chooser: Chooser) -> None:
    """Take a loop away and leave its body."""
    if loops := [(body, item) for body in bodies(content) for item in body if item["kind"] == "Loop"]:
        body, item = chooser.choice(loops)
        place = body.index(item)
        body[place : place + 1] = item["body"]


def _split(content: list[Any], _program: Program, chooser: Chooser) -> None:
    """Cut a loop in two: its first instructions in all turns, then its last in all turns."""
    loops = [(body, item) for body in bodies(content) for item in body if item["kind"] == "Loop"]
    if loops := [(body, item) for body, item in loops if len(item["body"]) > 1]:
        body, item = chooser.choice(loops)
        cut, place = chooser.integer(1, len(item["body"]) - 1), body.index(item)
        body[place : place + 1] = [{**item, "body": item["body"][:cut]}, {**item, "body": item["body"][cut:]}]


def _turn(content: list[Any], _program: Program, chooser: Chooser) -> None:
    """Nest two loops the other way round."""
    loops = [item for body in bodies(content) for item in body if item["kind"] == "Loop"]
    if loops := [item for item in loops if len(item["body"]) == 1 and item["body"][0]["kind"] == "Loop"]:
        outer = chooser.choice(loops)
        inner = outer["body"][0]
        for key in ("variable", "count"):
            outer[key], inner[key] = inner[key], outer[key]


def _use_crossbar(content: list[Any], _program: Program, chooser: Chooser) -> None:
    """Let some instructions that follow each other act on another crossbar."""
    body = chooser.choice(list(bodies(content)))
    start = chooser.integer(0, len(body) - 1)
    for container, key in _places(body[start : chooser.integer(start + 1, len(body))]):
        if key == "crossbar":
            container[key] = 1 - container[key]


def _shift_windows(content: list[Any], program: Program, chooser: Chooser) -> None:
    """Move windows by whole positions or groups, both where they read and where they add."""
    layers = [item for item in content if item["kind"] == "Layer" and item["body"]]
    layers = [item for item in layers if item["body"][-1]["kind"] == "Dequantize"]
    if not layers:
        return
    layer = chooser.choice(layers)
    geometry = next(item.geometry for item in program.layers if item.name == layer["name"])
    layout = geometry.layout(
        has_sums=layer["body"][-1]["layout"]["has_sums"], margins=tuple(layer["body"][-1]["layout"]["margins"])
    )
    strides, (height, width) = geometry.code_strides, geometry.pixel_steps
    codes = (strides.group, strides.image, height * strides.row, width * strides.column)
    steps = list(zip(codes, (layout.strides[1], *layout.position_strides), strict=True))
    (code, total), by = chooser.choice(steps), chooser.choice((1, 1, -1, 2))
    body = chooser.choice(list(bodies(layer["body"])))
    for item in [one for inner in bodies(body) for one in inner]:
        if item["kind"] in ("LoadInput", "ShiftAdd"):
            item["address"][0] += by * (code if item["kind"] == "LoadInput" else total)


_CHANGES: tuple[Callable[[list[Any], Program, Chooser], None], ...] = (
    *(_change_number,) * 5,
    *(_change_two_numbers,) * 3,
    _change_flag,
    *(_change_name,) * 2,
    _rename_variable,
    _swap,
    _drop,
    _repeat,
    *(_move,) * 2,
    _enclose,
    _open,
    _split,
    _turn,
    *(_use_crossbar,) * 2,
    *(_shift_windows,) * 2,
)


def _places(value: Any) -> Iterator[Place]:
    """Yield every place of a JSON value."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


def numbers(content: list[Any], *, flags: bool = False) -> list[Place]:
    """Return every place that holds a number, truth values among them if `flags`."""
    values = [(place, place[0][place[1]]) for place in _places(content)]
    return [
        place for place, value in values if isinstance(value, int | float) and (flags or not isinstance(value, bool))
    ]


def bodies(content: list[Any]) -> Iterator[list[Any]]:
    """Yield every body that holds something, the program's own first."""
    if content:
        yield content
    for item in content:
        if "body" in item:
            yield from bodies(item["body"])

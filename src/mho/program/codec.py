"""Instructions as JSON values and back, driven by the fields of the dataclasses: no code runs on reading.

An instruction becomes an object of its fields with its class under "kind"; an `Affine` becomes [base, {variable:
stride}] and a `Span` [start, stop]. A schedule becomes an object of its fields. A field that may be None is left out
where it is. Reading checks every key and type.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

from mho.errors import ProgramError
from mho.program.geometry import AccumulatorLayout, ConvGeometry, LinearGeometry, MatmulGeometry
from mho.program.instructions import INSTRUCTIONS, Affine, Instruction, Span
from mho.program.reloads import LayerReloads, ProgramReloads
from mho.program.schedule import LayerSchedule, Schedule, StoredWait, Wait

_GEOMETRIES = (ConvGeometry, LinearGeometry, MatmulGeometry)
_PLAIN = (AccumulatorLayout, Schedule, LayerSchedule, Wait, StoredWait, ProgramReloads, LayerReloads)
"""Written without their kind, which follows from their place."""

_SCALARS = frozenset((int, float, str, bool))

_KINDS: Mapping[str, type] = {kind.__name__: kind for kind in (*INSTRUCTIONS, *_GEOMETRIES)}


def encode_instructions(body: tuple[Instruction, ...]) -> list[Any]:
    """Return the JSON value of a tuple of instructions."""
    return [_encode(item) for item in body]


def decode_instructions(value: Any, where: str) -> tuple[Instruction, ...]:
    """Read what `encode_instructions` made. Raises `ProgramError` that names the instruction."""
    return _decode_body(value, where)


def encode_schedule(schedule: Schedule | ProgramReloads | None) -> Any:
    """Return the JSON value of a schedule, or of none."""
    return None if schedule is None else _encode(schedule)


def decode_schedule(value: Any, where: str) -> Schedule | ProgramReloads | None:
    """Read what `encode_schedule` made. Raises `ProgramError` that names the place."""
    if value is None:
        return None
    has_reloads = isinstance(value, dict) and "rotating" in value
    schedule = _decode_fields(value, ProgramReloads if has_reloads else Schedule, where)
    assert isinstance(schedule, Schedule | ProgramReloads)
    return schedule


def _encode(value: Any) -> Any:
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is Affine:
        return [value.base, dict(value.strides)]
    if kind is Span:
        return [value.start, value.stop]
    if kind is tuple:
        return [_encode(item) for item in value]
    if dataclasses.is_dataclass(kind):
        encoded: dict[str, Any] = {} if kind in _PLAIN else {"kind": kind.__name__}
        for name in _field_names(kind):
            if (item := getattr(value, name)) is not None:
                encoded[name] = _encode(item)
        return encoded
    if isinstance(value, Mapping):
        return {key: _encode(item) for key, item in value.items()}
    return value


@cache
def _field_names(kind: type) -> tuple[str, ...]:
    return tuple(item.name for item in dataclasses.fields(kind))


@cache
def _may_be_none(kind: type) -> frozenset[str]:
    return frozenset(item.name for item in dataclasses.fields(kind) if item.default is None)


@cache
def _decoders(kind: type) -> dict[str, Callable[[Any, str], Any]]:
    hints = get_type_hints(kind)
    return {name: _decoder(hints[name]) for name in _field_names(kind)}


def _decoder(hint: Any) -> Callable[[Any, str], Any]:
    if hint in (int, float, str, bool):
        return lambda value, where: _plain(value, hint, where)
    if hint == int | None:
        return _decoder(int)
    if hint is Affine:
        return _decode_affine
    if hint is Span:
        return _decode_span
    if hint in _PLAIN:
        return lambda value, where: _decode_fields(value, hint, where)
    if get_origin(hint) is tuple and get_args(hint)[0] == Instruction:
        return _decode_body
    if get_origin(hint) is tuple:
        return _tuple_decoder(get_args(hint))
    if get_origin(hint) is Mapping:
        return _decode_attributes
    return lambda value, where: _decode_kind(value, where, _GEOMETRIES)


def _tuple_decoder(items: tuple[Any, ...]) -> Callable[[Any, str], Any]:
    if len(items) == 2 and items[1] is Ellipsis:
        decode_item = _decoder(items[0])
        return lambda value, where: tuple(decode_item(item, where) for item in _list(value, where))
    decoders = [_decoder(item) for item in items]

    def decode(value: Any, where: str) -> Any:
        values = _list(value, where, len(decoders))
        return tuple(decode_item(item, where) for decode_item, item in zip(decoders, values, strict=True))

    return decode


def _decode_body(value: Any, where: str) -> tuple[Instruction, ...]:
    return tuple(
        _decode_kind(item, f"{where}[{index}]", INSTRUCTIONS) for index, item in enumerate(_list(value, where))
    )


def _decode_kind(value: Any, where: str, allowed: tuple[type, ...]) -> Any:
    kind = _KINDS.get(value["kind"]) if isinstance(value, dict) and isinstance(value.get("kind"), str) else None
    if kind not in allowed:
        names = ", ".join(item.__name__ for item in allowed)
        raise ProgramError("unknown kind of instruction or geometry", where=where, expected=f"one of {names}")
    return _decode_fields({key: item for key, item in value.items() if key != "kind"}, kind, where)


def _decode_fields(value: Any, kind: type, where: str) -> Any:
    decoders = _decoders(kind)
    needed = decoders.keys() - _may_be_none(kind)
    if not isinstance(value, dict) or not needed <= value.keys() <= decoders.keys():
        raise ProgramError(f"wrong fields of {kind.__name__}", where=where, expected=", ".join(decoders))
    return kind(**{key: decoders[key](item, f"{where}.{key}") for key, item in value.items()})


def _plain(value: Any, kind: type, where: str) -> Any:
    if type(value) is not kind:
        raise ProgramError(f"{value!r} is no {kind.__name__}", where=where)
    return value


def _list(value: Any, where: str, length: int | None = None) -> list[Any]:
    if not isinstance(value, list) or (length is not None and len(value) != length):
        raise ProgramError("not a list of the right length", where=where)
    return value


def _decode_affine(value: Any, where: str) -> Affine:
    base, strides = _list(value, where, 2)
    if not isinstance(strides, dict):
        raise ProgramError("not an address", where=where, expected="[base, {variable: stride}]")
    pairs = tuple((variable, _plain(stride, int, where)) for variable, stride in strides.items())
    return Affine(_plain(base, int, where), pairs)


def _decode_span(value: Any, where: str) -> Span:
    start, stop = _list(value, where, 2)
    return Span(_plain(start, int, where), _plain(stop, int, where))


def _decode_attributes(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ProgramError("attributes are not an object", where=where)
    return {key: _decode_attribute(item, f"{where}.{key}") for key, item in value.items()}


def _decode_attribute(value: Any, where: str) -> Any:
    items = value if isinstance(value, list) else [value]
    kinds = (int, float) if isinstance(value, list) else (int, float, bool, str)
    if any(type(item) not in kinds for item in items):
        raise ProgramError(f"{value!r} is no attribute", where=where, expected="numbers, a text or a truth value")
    return tuple(value) if isinstance(value, list) else value

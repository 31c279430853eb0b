"""Typed access to the attributes of a node. No torch here."""

from __future__ import annotations

from collections.abc import Mapping

Attributes = Mapping[str, int | float | bool | str | tuple[int, ...] | tuple[float, ...]]
Shape = tuple[int, ...]


def get_int(attributes: Attributes, key: str) -> int:
    """Return a whole number. Raises `KeyError` or `TypeError`."""
    value = attributes[key]
    if not isinstance(value, int):
        raise TypeError(f"attribute {key} is {value!r}, not a whole number")
    return int(value)


def get_float(attributes: Attributes, key: str) -> float:
    """Return a number. Raises `KeyError` or `TypeError`."""
    value = attributes[key]
    if not isinstance(value, int | float):
        raise TypeError(f"attribute {key} is {value!r}, not a number")
    return float(value)


def get_ints(attributes: Attributes, key: str) -> tuple[int, ...]:
    """Return a tuple of whole numbers. Raises `KeyError` or `TypeError`."""
    value = attributes[key]
    if not isinstance(value, tuple) or not all(isinstance(item, int) for item in value):
        raise TypeError(f"attribute {key} is {value!r}, not whole numbers")
    return tuple(int(item) for item in value)


def get_floats(attributes: Attributes, key: str) -> tuple[float, ...]:
    """Return a tuple of numbers. Raises `KeyError` or `TypeError`."""
    value = attributes[key]
    if not isinstance(value, tuple):
        raise TypeError(f"attribute {key} is {value!r}, not numbers")
    return tuple(float(item) for item in value)


def get_text(attributes: Attributes, key: str) -> str:
    """Return a text. Raises `KeyError` or `TypeError`."""
    value = attributes[key]
    if not isinstance(value, str):
        raise TypeError(f"attribute {key} is {value!r}, not a text")
    return value

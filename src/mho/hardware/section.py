"""What the sections of a description are made of: frozen models and exact numbers.

Numbers are decimals with as many digits as their unit has a smallest step for: times in whole picoseconds, energies in
whole attojoules. So what is written is what is meant, and sums are exact integers.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from mho.frozen_model import FrozenModel


class Section(FrozenModel, use_attribute_docstrings=False):
    """A table of a description."""


def to_steps(value: Decimal, digits: int) -> int:
    """Return `value` in units of its last digit; exact where it has at most `digits` decimals."""
    return int(value.scaleb(digits))


def _to_exact_number(value: Any) -> Decimal:
    """Take whole numbers, decimals and floats (by their shortest text, so that 1.4 is 1.4); refuse the rest."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError(f"is {value!r}, not a number")
    is_fraction = isinstance(value, float) and not value.is_integer()
    number = Decimal(repr(value)) if is_fraction else Decimal(value)
    if not number.is_finite():
        raise ValueError(f"is {value}, not a finite number")
    return number


class _Decimals:
    """A check that a number has no more decimals than its unit has steps for."""

    def __init__(self, digits: int, unit: str) -> None:
        self._digits, self._unit = digits, unit

    def __call__(self, value: Decimal) -> Decimal:
        _, digits, exponent = value.as_tuple()
        excess = -self._digits - int(exponent)
        if excess > 0 and any(digits[-excess:]):
            raise ValueError(f"is {value}, not a whole number of {self._unit}")
        return value


def from_zero(maximum: int) -> tuple[Any, ...]:
    """Return what limits a number to 0 .. maximum, for use in `Annotated`."""
    limits = {"type": "number", "minimum": 0, "maximum": maximum}
    return (Field(ge=0, le=maximum), WithJsonSchema(limits))


def above(minimum: int, maximum: int) -> tuple[Any, ...]:
    """Return what limits a number to more than `minimum` and at most `maximum`, for use in `Annotated`."""
    limits = {"type": "number", "exclusiveMinimum": minimum, "maximum": maximum}
    return (Field(gt=minimum, le=maximum), WithJsonSchema(limits))


def above_zero(maximum: int) -> tuple[Any, ...]:
    """Return what limits a number to more than 0 and at most `maximum`, for use in `Annotated`."""
    return above(0, maximum)


def within(limit: int) -> tuple[Any, ...]:
    """Return what limits a number to -limit .. limit, for use in `Annotated`."""
    return (Field(ge=-limit, le=limit), WithJsonSchema({"type": "number", "minimum": -limit, "maximum": limit}))


_NUMBER = (
    WithJsonSchema({"type": "number"}),
    BeforeValidator(_to_exact_number),
    PlainSerializer(float, return_type=float, when_used="json"),
)
# Largest value and smallest step of a number are at most fifteen digits apart: as JSON numbers they are exact.

Microseconds = Annotated[Decimal, *_NUMBER, AfterValidator(_Decimals(6, "picoseconds (at most six decimals)"))]
"""A time, us, in whole picoseconds."""

Nanoseconds = Annotated[Decimal, *_NUMBER, AfterValidator(_Decimals(3, "picoseconds (at most three decimals)"))]
"""A time, ns, in whole picoseconds."""

Picojoules = Annotated[Decimal, *_NUMBER, AfterValidator(_Decimals(6, "attojoules (at most six decimals)"))]
"""An energy, pJ, in whole attojoules."""

Microwatts = Annotated[Decimal, *_NUMBER, AfterValidator(_Decimals(6, "picowatts (at most six decimals)"))]
"""A power, uW, in whole picowatts."""

Volts = Annotated[Decimal, *_NUMBER, AfterValidator(_Decimals(3, "millivolts (at most three decimals)"))]
"""A voltage, V, in whole millivolts."""

SquareMicrometres = Annotated[
    Decimal, *_NUMBER, AfterValidator(_Decimals(6, "square nanometres (at most six decimals)"))
]
"""An area, um2, in whole square nanometres."""

Ratio = Annotated[Decimal, *_NUMBER, AfterValidator(_Decimals(9, "billionths (at most nine decimals)"))]
"""A number without a unit, in whole billionths."""

Siemens = Annotated[Decimal, *_NUMBER, AfterValidator(_Decimals(12, "picosiemens (at most twelve decimals)"))]
"""A conductance, S, in whole picosiemens."""

Ohms = Annotated[Decimal, *_NUMBER, AfterValidator(_Decimals(6, "micro-ohms (at most six decimals)"))]
"""A resistance, ohm, in whole micro-ohms."""

Seconds = Annotated[Decimal, *_NUMBER, AfterValidator(_Decimals(9, "nanoseconds (at most nine decimals)"))]
"""A time, s, in whole nanoseconds."""

Kelvins = Annotated[Decimal, *_NUMBER, AfterValidator(_Decimals(3, "millikelvins (at most three decimals)"))]
"""An absolute temperature, K, in whole millikelvins."""

ElectronVolts = Annotated[Decimal, *_NUMBER, AfterValidator(_Decimals(6, "micro-electronvolts (at most six decimals)"))]
"""An energy, eV, in whole micro-electronvolts."""

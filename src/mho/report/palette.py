"""Colours of cells, distinguishable also for people who do not see all colours."""

from __future__ import annotations

from collections.abc import Sequence

ZERO, FREE, CORRECTION = "#e9ecef", "#ffffff", "#4b4f58"
"""Cells that are zero for all weights, cells that nothing uses, cells that hold ones."""

NEIGHBOUR = ("#f6f1e4", "#ddd0a9")
"""Cells of other layers in the same crossbar: zero for all weights, and those that hold something."""

_FEW = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c6d31", "#6a51a3")
"""The colours of Okabe and Ito without black and yellow, and two more that keep their distance."""

_MANY = ("#440154", "#414487", "#2a788e", "#22a884", "#7ad151", "#e6d821")
"""Viridis, for ordered things that are too many for colours of their own."""

_LIGHTEST = 0.5
"""How far the least significant digit is mixed with white."""
_DARKEN = 0.28
"""How far the negative part is mixed with black."""


def hues(count: int) -> tuple[str, ...]:
    """Return `count` colours in order."""
    if count <= len(_FEW):
        return _FEW[:count]
    return tuple(_ramp(_MANY, number / (count - 1)) for number in range(count))


def shades(hue: str, digits: int) -> tuple[str, ...]:
    """Return the shades of a colour for digits, the least significant (and lightest) first."""
    return tuple(
        mix(hue, "#ffffff", _LIGHTEST * (1 - number / (digits - 1)) if digits > 1 else 0.0) for number in range(digits)
    )


def darker(colour: str) -> str:
    """Return the shade of what is subtracted."""
    return mix(colour, "#000000", _DARKEN)


def mix(colour: str, other: str, share: float) -> str:
    """Return `colour` with a share (0..1) of another."""
    pairs = zip(_parts(colour), _parts(other), strict=True)
    return "#" + "".join(f"{round(own + (its - own) * share):02x}" for own, its in pairs)


def ink_on(colour: str) -> str:
    """Return the colour of text that reads well on another: black or white."""
    red, green, blue = _parts(colour)
    return "#1b1f24" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "#ffffff"


def ramp(share: float) -> str:
    """Return the colour of a share (0..1) in Viridis."""
    return _ramp(_MANY, share)


def _ramp(stops: Sequence[str], share: float) -> str:
    place = share * (len(stops) - 1)
    first = min(int(place), len(stops) - 2)
    return mix(stops[first], stops[first + 1], place - first)


def _parts(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)

"""The axes of charts: from values to pixels, and the ticks between."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_PAD = 0.05
"""Share of the range that is free beyond the outermost points."""
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_SUPERSCRIPTS = str.maketrans("-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")


@dataclass(frozen=True)
class Scale:
    """One axis.

    Attributes:
        kind: `linear`, `log` or `category`.
        low, high: the ends of the axis: values, their decimal logarithms, or -0.5 and the number of categories - 0.5.
        start, end: the same in pixels.
        categories: their names, in order.
        ticks: pairs of a value, as `place` takes it, and its text.
    """

    kind: str
    low: float
    high: float
    start: float
    end: float
    categories: tuple[str, ...] = ()
    ticks: tuple[tuple[Any, str], ...] = ()

    def place(self, value: Any) -> float:
        """Return the pixel of a value, or of the middle of a category."""
        if self.kind == "category":
            number = self.categories.index(str(value)) if isinstance(value, str) else float(value)
        else:
            number = math.log10(value) if self.kind == "log" else float(value)
        return self.start + (self.end - self.start) * (number - self.low) / (self.high - self.low)

    @property
    def step(self) -> float:
        """Pixels between categories."""
        return abs(self.end - self.start) / max(1, len(self.categories))


def make_scale(
    axis: dict[str, Any], values: Sequence[Any], start: float, end: float, *, from_zero: bool = False, every: float = 60
) -> Scale:
    """Return the scale of an axis.

    Args:
        axis: as Plotly describes it; of its keys type, range, rangemode, dtick, ticksuffix, tickvals, ticktext,
            categoryarray and autorange act.
        values: all that is drawn along it.
        start, end: pixels of its ends.
        from_zero: True where it must begin at 0.
        every: pixels between ticks, at least.
    """
    kind = axis.get("type", "linear")
    if kind == "category":
        names = tuple(axis.get("categoryarray") or dict.fromkeys(map(str, values)))
        if axis.get("autorange") == "reversed":
            start, end = end, start
        return Scale(kind, -0.5, len(names) - 0.5, start, end, names, tuple((name, name) for name in names))
    if "tickvals" in axis:  # of numbered columns
        ticks = tuple(zip(axis["tickvals"], axis["ticktext"], strict=True))
        return Scale("category", -0.5, len(ticks) - 0.5, start, end, tuple(text for _, text in ticks), ticks)
    numbers = [float(value) for value in values if value is not None and (kind != "log" or value > 0)]
    low, high = (min(numbers), max(numbers)) if numbers else (0.0, 1.0)
    if kind == "log":
        low, high = math.log10(low or 1.0), math.log10(high or 1.0)
    if "range" in axis:
        low, high = axis["range"]
    else:
        pad = _PAD * (high - low) or _PAD * abs(high) or 0.5
        from_zero = from_zero or axis.get("rangemode") == "tozero"
        low, high = (0.0 if from_zero and kind == "linear" else low - pad), high + pad
    most = max(2, int(abs(end - start) / every))
    found = _log_ticks(low, high, most) if kind == "log" else _linear_ticks(low, high, most, axis)
    return Scale(kind, low, high, start, end, (), tuple(found))


def _linear_ticks(low: float, high: float, most: int, axis: dict[str, Any]) -> list[tuple[Any, str]]:
    rough = (high - low) / most
    unit = 10.0 ** math.floor(math.log10(rough))
    step = axis.get("dtick") or next(unit * one for one in _STEPS if unit * one >= rough * (1 - 1e-9))
    digits = next(count for count in range(12) if abs(round(step, count) - step) < 1e-9 * step)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [(k * step, f"{k * step:.{digits}f}{axis.get('ticksuffix', '')}") for k in range(first, last + 1)]


def _log_ticks(low: float, high: float, most: int) -> list[tuple[Any, str]]:
    first, last = math.ceil(low - 1e-9), math.floor(high + 1e-9)
    every = max(1, math.ceil((last - first + 1) / most))
    ticks: list[tuple[Any, str]] = [
        (10.0**power, f"10{str(power).translate(_SUPERSCRIPTS)}") for power in range(first, last + 1, every)
    ]
    if len(ticks) > 1:
        return ticks
    finer = (digit * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for digit in (1, 2, 5))
    return [(value, f"{value:g}") for value in finer if low <= math.log10(value) <= high]

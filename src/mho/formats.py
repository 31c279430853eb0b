"""Numbers as text: units that fit, shares, sizes, durations, counts with their nouns.

For terminals and messages in ASCII with four digits; for pages with three digits, ``µ`` and narrow spaces before units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

PS_PER_US, PS_PER_MS = 10**6, 10**9
AJ_PER_PJ, AJ_PER_UJ, AJ_PER_MJ = 10**6, 10**12, 10**15
TIMES = "\u00d7"
NARROW_SPACE = "\u202f"

_TIMES_US = ((1e-3, "ps", 1e6), (1.0, "ns", 1e3), (1e3, "us", 1.0), (1e6, "ms", 1e-3), (0.0, "s", 1e-6))
_ENERGIES_PJ = ((1e3, "pJ", 1.0), (1e6, "nJ", 1e-3), (1e9, "uJ", 1e-6), (0.0, "mJ", 1e-9))
"""Limit below which a unit is taken (the last one has none), the unit, and what values are multiplied by."""


def format_time(microseconds: float, *, page: bool = False) -> str:
    """Return a time with the unit that keeps it between 1 and 1000: ``12.40 us``, on a page ``12.4 µs``."""
    return "0" if microseconds == 0 else _with_unit(microseconds, _TIMES_US, page)


def format_latency(microseconds: float) -> str:
    """Return a time of a network, ms from one on (``1922.4 ms``), below as `format_time`."""
    return f"{microseconds / 1e3:.1f} ms" if microseconds >= 1e3 else format_time(microseconds)


def format_milliseconds(milliseconds: float) -> str:
    """Return the number of a column of ms: three decimals, below 0.01 three significant digits (``0.000827``)."""
    decimals = 3 if milliseconds >= 0.01 or milliseconds <= 0 else 2 - math.floor(math.log10(milliseconds))
    return f"{milliseconds:,.{decimals}f}"


def format_energy(picojoules: float, *, page: bool = False) -> str:
    """Return an energy with the unit that keeps it between 1 and 1000."""
    return _with_unit(picojoules, _ENERGIES_PJ, page)


NO_WRITES = "no writes"
_FEWEST_WRITES = 1e15
"""Cost in writes below which there are none, but a latency alone."""


def format_cost(cost: float, unit: str) -> str:
    """Return a cost of a policy in the unit that suits it, for a page.

    Args:
        cost: in `unit`.
        unit: "ps", "aJ", "aJ ps" (an energy times a time), "crossbars" or "writes" (of a cell an input, each 1e18, and
            the latency in ps).
    """
    if unit == "ps":
        return format_time(cost * 1e-6, page=True)
    if unit == "aJ":
        return format_energy(cost * 1e-6, page=True)
    if unit == "crossbars":
        return f"{cost:,.0f} crossbars"
    if unit == "writes":
        return f"{_significant(cost / 1e18, page=True)} writes" if cost >= _FEWEST_WRITES else NO_WRITES
    return f"{_significant(cost * 1e-18, page=True)}{NARROW_SPACE}µJ µs"


def format_rate(microseconds: float) -> str:
    """Return how many inputs a second there are where one takes so long: ``1,250 inputs a second``."""
    rate = 1e6 / microseconds if microseconds else 0.0
    return f"{rate:,.0f} inputs a second" if rate >= 100 else f"{rate:.3g} inputs a second"


def format_share(share: float, digits: int = 1) -> str:
    """Return a fraction in percent: ``12.5 %``."""
    return f"{100 * share:.{digits}f} %"


def format_percent(share: float, digits: int = 2) -> str:
    """Return a fraction in percent for a page: ``98.40 %``."""
    return f"{100 * share:.{digits}f}{NARROW_SPACE}%"


def format_count(number: int) -> str:
    """Return a whole number with commas between groups of three digits: ``16,128``."""
    return f"{number:,}"


def format_bytes(size: int, *, page: bool = False) -> str:
    """Return a size with its unit: ``312 KiB``."""
    space = NARROW_SPACE if page else " "
    for unit, shift in (("B", 0), ("KiB", 10), ("MiB", 20), ("GiB", 30)):
        if size >> shift < 1024 or unit == "GiB":
            break
    value = size / (1 << shift)
    if page and unit != "B":
        return f"{_significant(value, page=True)}{space}{unit}"
    return f"{value:,.{int(unit == 'GiB')}f}{space}{unit}"


def format_seconds(seconds: float) -> str:
    """Return a duration: ``4.2 s``, ``58 s``, ``3 min 05 s``, ``1 h 02 min``."""
    if seconds < 59.5:
        return f"{seconds:.1f}{NARROW_SPACE}s" if seconds < 9.95 else f"{seconds:.0f}{NARROW_SPACE}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{NARROW_SPACE}min {rest:02d}{NARROW_SPACE}s"
    return f"{minutes // 60}{NARROW_SPACE}h {minutes % 60:02d}{NARROW_SPACE}min"


def plural(number: int, noun: str, many: str = "") -> str:
    """Return a number and its noun, which takes an s or becomes `many`: ``1 crossbar``, ``1,024 crossbars``."""
    return f"{number:,} {noun if number == 1 else many or noun + 's'}"


def join_first(texts: Sequence[str], most: int = 8) -> str:
    """Return the first of several texts, and how many more there are: ``a, b, and 3 more``."""
    more = f", and {len(texts) - most:,} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def _with_unit(value: float, units: Sequence[tuple[float, str, float]], page: bool) -> str:
    unit, factor = next((unit, factor) for limit, unit, factor in units if value < limit or not limit)
    text = _significant(value * factor, page=page)
    return f"{text}{NARROW_SPACE}{unit.replace('u', 'µ')}" if page else f"{text} {unit}"


def _significant(number: float, *, page: bool) -> str:
    digits = (0 if number >= 100 else 1 if number >= 10 else 2) + (not page)
    return f"{number:.{digits}f}"

"""The marks of charts as SVG: points, lines, bars, bands and coloured cells, each with what it says when pointed at."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any
from xml.sax.saxutils import escape

from mho.report.chart_scales import Scale
from mho.report.palette import ink_on, ramp

Trace = dict[str, Any]
_DASHES = {"dash": "7 4", "dot": "2 3", "dashdot": "7 3 2 3"}
_GROUP = 0.75
"""Share of a category's room that its bars take."""
_BOTTOM_GAP = 1.0
_LETTER = 7.0
"""Width of a digit, about."""


def plain_text(text: str) -> str:
    """Return a text that may have Plotly's line breaks and bold parts as plain lines."""
    return re.sub(r"</?b>", "", text).replace("<br>", "\n")


def number(value: float) -> str:
    """Return a coordinate."""
    return f"{value:.1f}".removesuffix(".0")


def mark(shape: str, says: str | None) -> str:
    """Return a shape that says something when pointed at."""
    if not says:
        return shape
    return f'<g class="mark"><title>{escape(plain_text(says))}</title>{shape}</g>'


def draw_trace(trace: Trace, x: Scale, y: Scale, place: tuple[int, int]) -> Iterator[str]:
    """Yield the marks of a trace; `place` is its number among the bars or points beside each other, and how many.

    Raises:
        ValueError: a kind of trace that is not drawn.
    """
    if trace["type"] == "bar":
        yield from _bars(trace, x, y, place)
    elif trace["type"] == "heatmap":
        yield from _cells(trace, x, y)
    elif trace["type"] == "scatter":
        yield from _scatter(trace, x, y, place)
    else:
        raise ValueError(f"traces of type {trace['type']} are not drawn")


def list_tips(trace: Trace, count: int) -> Sequence[Any]:
    """Return what each point of a trace says; None where it says nothing."""
    if trace.get("hoverinfo") == "skip":
        return [None] * count
    tips: Sequence[Any] = trace["hovertext"]
    return tips


def _bars(trace: Trace, x: Scale, y: Scale, place: tuple[int, int]) -> Iterator[str]:
    nth, count = place
    width = x.step * _GROUP / count
    bottom = y.place(max(0.0, y.low))
    for name, value, tip in zip(trace["x"], trace["y"], list_tips(trace, len(trace["x"])), strict=True):
        if value is None:
            continue
        left, top = x.place(name) + width * (nth - count / 2), y.place(value)
        shape = (
            f'<rect x="{number(left)}" y="{number(top)}" width="{number(max(1.0, width - _BOTTOM_GAP))}" '
            f'height="{number(max(0.0, bottom - top))}" fill="{trace["marker"]["color"]}"/>'
        )
        yield mark(shape, tip)


def _cells(trace: Trace, x: Scale, y: Scale) -> Iterator[str]:
    """Draw cells: the second colour of a scale of two ever more opaque, or the colours of a named scale."""
    width, height = x.step - 1, y.step - 1
    low, high = trace["zmin"], trace["zmax"]
    tips = list_tips(trace, len(trace["y"]))
    for name, row, says in zip(trace["y"], trace["z"], tips, strict=True):
        for column, value, tip in zip(trace["x"], row, says, strict=True):
            if value is None:
                continue
            left, top = x.place(column) - width / 2, y.place(name) - height / 2
            share = min(1.0, max(0.0, (value - low) / ((high - low) or 1.0)))
            fill, ink = _paint_cell(trace["colorscale"], share)
            box = f'width="{number(width)}" height="{number(height)}" {fill}/>'
            shape = f'<rect x="{number(left)}" y="{number(top)}" {box}'
            text = f"{value:g}" if isinstance(value, int) else f"{value:.1f}"
            if "texttemplate" in trace and width > _LETTER * len(text):
                middle = f'x="{number(left + width / 2)}" y="{number(top + height / 2 + 4)}"'
                shape += f'<text {middle} class="cell"{ink} text-anchor="middle">{text}</text>'
            yield mark(shape, tip)


def _paint_cell(colours: Any, share: float) -> tuple[str, str]:
    """Return the attributes of a cell and of the text on it."""
    if isinstance(colours, str):
        return f'fill="{ramp(share)}"', f' style="fill: {ink_on(ramp(share))}"'
    return f'fill="{colours[1][1]}" opacity="{0.7 * share:.2f}"', ""


def _scatter(trace: Trace, x: Scale, y: Scale, place: tuple[int, int]) -> Iterator[str]:
    nth, count = place
    aside = x.step * _GROUP / count * (nth - (count - 1) / 2) if x.kind == "category" else 0.0
    known = [(k, a, b) for k, (a, b) in enumerate(zip(trace["x"], trace["y"], strict=True)) if b is not None]
    points = [(k, x.place(a) + aside, y.place(b)) for k, a, b in known]
    opacity = trace.get("opacity", trace.get("marker", {}).get("opacity", 1))
    yield f'<g opacity="{opacity:.2f}">'
    if "lines" in trace["mode"] and points:
        yield _path(trace, [(across, down) for _, across, down in points])
    if "error_y" in trace:
        yield from _error_bars(trace, y, points)
    if "markers" in trace["mode"]:
        tips = list_tips(trace, len(trace["x"]))
        for k, across, down in points:
            yield mark(draw_symbol(trace["marker"], across, down), tips[k])
    yield "</g>"


def _path(trace: Trace, points: Sequence[tuple[float, float]]) -> str:
    line = trace["line"]
    if trace.get("fill") == "toself":
        corners = " ".join(f"{number(a)},{number(b)}" for a, b in points)
        return f'<polygon points="{corners}" fill="{trace["fillcolor"]}"/>'
    path = f"M{number(points[0][0])} {number(points[0][1])}"
    for across, down in points[1:]:
        steps = (
            f"H{number(across)}V{number(down)}" if line.get("shape") == "hv" else f"L{number(across)} {number(down)}"
        )
        path += steps
    dash = f' stroke-dasharray="{_DASHES[line["dash"]]}"' if line.get("dash", "solid") != "solid" else ""
    return f'<path d="{path}" fill="none" stroke="{line["color"]}" stroke-width="{line["width"]}"{dash}/>'


def _error_bars(trace: Trace, y: Scale, points: Sequence[tuple[int, float, float]]) -> Iterator[str]:
    bars, colour = trace["error_y"], trace["error_y"]["color"]
    for k, across, down in points:
        if not bars["array"][k] and not bars["arrayminus"][k]:
            continue
        value = trace["y"][k]
        top, bottom = y.place(value + bars["array"][k]), y.place(value - bars["arrayminus"][k])
        if math.isfinite(down):
            ends = "".join(f"M{number(across - 4)} {number(end)}h8" for end in (top, bottom))
            path = f"M{number(across)} {number(top)}V{number(bottom)}{ends}"
            yield f'<path d="{path}" stroke="{colour}" stroke-width="1.4" fill="none"/>'


def draw_symbol(marker: dict[str, Any], x: float, y: float) -> str:
    """Return the shape of a point, which is `size` pixels wide: a symbol that ends in -open is hollow."""
    symbol: str = marker.get("symbol", "circle")
    r, colour = marker["size"] / 2, marker["color"]
    paint = f'fill="{colour}" stroke="var(--card)" stroke-width="1"'
    if symbol.endswith("-open"):
        paint = f'fill="var(--card)" stroke="{colour}" stroke-width="1.5"'
    name = symbol.removesuffix("-open")
    if name == "circle":
        return f'<circle cx="{number(x)}" cy="{number(y)}" r="{number(r)}" {paint}/>'
    shapes: dict[str, list[tuple[float, float]]] = {
        "diamond": [(0, -1), (1, 0), (0, 1), (-1, 0)],
        "triangle-down": [(-1, -0.8), (1, -0.8), (0, 1)],
        "star": [
            (radius * math.sin(k * math.pi / 5), -radius * math.cos(k * math.pi / 5))
            for k, radius in enumerate([1.15, 0.48] * 5)
        ],
    }
    points = " ".join(f"{number(x + r * a)},{number(y + r * b)}" for a, b in shapes[name])
    return f'<polygon points="{points}" {paint}/>'

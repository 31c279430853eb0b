"""Charts of pages as SVG: what `mho.report.figures` and its like describe in Plotly's words, without any script.

Of Plotly's description this draws what those modules use: points, lines, bars and coloured cells over linear,
logarithmic and category axes. Colours are the page's style variables, so charts follow light, dark and print by
themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from mho.report.chart_marks import draw_symbol, draw_trace, number
from mho.report.chart_parts import Figure
from mho.report.chart_scales import Scale, make_scale
from mho.report.drawing import fit_text, text_width

WIDE, SLIM = 1080, 330
"""Widths in pixels of the two drawings of a chart: the page shows the one for which it has room."""
_TICK, _TITLE, _LEGEND_ROW, _SWATCH = 11.5, 13.0, 22.0, 20.0
_RIGHT, _GAP, _MOST_NAME_PX = 14.0, 6.0, 150.0
_LEAST_STEP = 17.0
"""Pixels of a category, at least: charts of more layers are wider than their place, which scrolls."""
_MOST_MARKS = 500
"""Charts of more marks are drawn once, so that pages stay small."""
_TURNED = 0.71
"""Height of a slanted name, of its length."""


@dataclass(frozen=True)
class Chart:
    """A chart for a page.

    Attributes:
        alt: what it shows, for who cannot see it.
        wide: text of an SVG element.
        slim: the same for narrow pages; empty where there is so much on it that it scrolls there.
    """

    alt: str
    wide: str
    slim: str

    @classmethod
    def of(cls, figure: Figure) -> Chart:
        """Draw a figure."""
        wide = draw_chart(figure, WIDE)
        axes = [axis for name, axis in figure["layout"].items() if name.startswith("xaxis")]
        columns = sum(_count_columns(axis, figure["data"]) for axis in axes)
        is_full = len(axes) > 1 or columns * _LEAST_STEP > SLIM - 70 or wide.count("<title>") > _MOST_MARKS
        return cls(figure["layout"]["meta"]["alt"], wide, "" if is_full else draw_chart(figure, SLIM))


@dataclass(frozen=True)
class _Frame:
    """Where the inside of the axes lies, in pixels."""

    left: float
    right: float
    top: float
    bottom: float


def draw_chart(figure: Figure, width: float) -> str:
    """Return a figure as an SVG element of a width in pixels, or wider where many categories need it."""
    traces, layout = figure["data"], figure["layout"]
    xs = {name: axis for name, axis in layout.items() if name.startswith("xaxis")}
    names = _category_names(layout["yaxis"], [value for trace in traces for value in trace["y"]])
    left = 52.0 if not names else min(_MOST_NAME_PX, max(text_width(name, _TICK) for name in names)) + 14
    left += 18.0 if layout["yaxis"]["title"]["text"] else 0.0
    columns = sum(_count_columns(axis, traces) for axis in xs.values())
    width = max(width, left + _RIGHT + _LEAST_STEP * columns)
    legend = list(_legend(traces, layout, left, width))
    rows = 1 + max((row for row, _ in legend), default=-1)
    top = (
        _GAP + _LEGEND_ROW * rows + (16.0 if any("yref" in one and one["y"] == 1.0 for one in _notes(layout)) else 0.0)
    )
    inside = layout["height"] - layout["margin"]["b"] - layout["margin"]["t"] - _LEGEND_ROW
    bottom = top + max(90.0, inside)
    frame = _Frame(left, width - _RIGHT, top, bottom)
    y_values = [value for trace in traces for value in _spread(trace)]
    y = make_scale(
        layout["yaxis"], y_values, bottom, top, from_zero=any(trace["type"] == "bar" for trace in traces), every=44
    )
    parts = list(_draw_y_axis(y, layout["yaxis"], frame))
    below = 0.0
    for name, axis in xs.items():
        own = [trace for trace in traces if trace.get("xaxis", "x") == name.replace("axis", "")]
        start, end = (frame.left + (frame.right - frame.left) * share for share in axis.get("domain", (0.0, 1.0)))
        x = make_scale(axis, [value for trace in own for value in trace["x"]], start, end, every=70)
        room, drawn = _draw_x_axis(x, axis, frame)
        below = max(below, room)
        parts += drawn
        parts += _draw_traces(own, x, y, layout)
        parts += _draw_limits(layout, x, y, frame) if len(xs) == 1 else _draw_headings(layout, frame)
    height = bottom + below + _GAP
    alt = quoteattr(layout["meta"]["alt"])
    return "\n".join(
        [
            f'<svg viewBox="0 0 {number(width)} {number(height)}" width="{number(width)}" height="{number(height)}" '
            f'role="img" aria-label={alt} tabindex="0">',
            *(text for _, text in legend),
            *parts,
            "</svg>",
        ]
    )


def _notes(layout: dict[str, Any]) -> list[dict[str, Any]]:
    notes: list[dict[str, Any]] = layout.get("annotations", [])
    return notes


def _category_names(axis: dict[str, Any], values: list[Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(str, values))) if axis.get("type") == "category" else ()


def _count_columns(axis: dict[str, Any], traces: list[dict[str, Any]]) -> int:
    """Return how many categories an axis has; 0 for one of numbers."""
    if "tickvals" in axis:
        return len(axis["tickvals"])
    return len(_category_names(axis, [value for trace in traces for value in trace["x"]]))


def _spread(trace: dict[str, Any]) -> Iterator[Any]:
    """Yield all that a trace shows along the y axis, the ends of its error bars too."""
    yield from trace["y"]
    if "error_y" in trace:
        ends = (("array", 1), ("arrayminus", -1))
        for key, sign in ends:
            errors = zip(trace["y"], trace["error_y"][key], strict=True)
            yield from (value + sign * error for value, error in errors if value is not None)


def _draw_traces(traces: list[dict[str, Any]], x: Scale, y: Scale, layout: dict[str, Any]) -> Iterator[str]:
    is_beside = layout.get("scattermode") == "group"
    beside = [k for k, trace in enumerate(traces) if trace["type"] == "bar" or is_beside]
    for k, trace in enumerate(traces):
        yield from draw_trace(trace, x, y, (beside.index(k), len(beside)) if k in beside else (0, 1))


def _draw_y_axis(y: Scale, axis: dict[str, Any], frame: _Frame) -> Iterator[str]:
    for value, text in y.ticks:
        at = y.place(value)
        if y.kind != "category":
            yield _line(frame.left, at, frame.right, at)
        shown = fit_text(text, _TICK, _MOST_NAME_PX)
        yield _text(frame.left - 7, at + 4, shown, "tick", anchor="end")
    if title := axis["title"]["text"]:
        middle = (frame.top + frame.bottom) / 2
        turn = f' transform="rotate(-90 13 {number(middle)})"'
        yield _text(13, middle, title, "title", anchor="middle", more=turn)


def _draw_x_axis(x: Scale, axis: dict[str, Any], frame: _Frame) -> tuple[float, list[str]]:
    """Return how high what stands below the axis is, and the texts of its parts."""
    parts = [_line(x.start, frame.bottom, x.end, frame.bottom)]
    longest = max((text_width(line, _TICK) for _, text in x.ticks for line in text.split("<br>")), default=0)
    is_slanted = bool(axis.get("tickangle")) or (x.kind == "category" and longest > x.step)
    height = 0.0
    for value, text in x.ticks:
        at = x.place(value)
        if x.kind != "category":
            parts.append(_line(at, frame.top, at, frame.bottom))
        if is_slanted:
            shown = fit_text(text.replace("<br>", " "), _TICK, _MOST_NAME_PX)
            turn = f' transform="rotate(-45 {number(at + 4)} {number(frame.bottom + 12)})"'
            parts.append(_text(at + 4, frame.bottom + 12, shown, "tick", anchor="end", more=turn))
            height = max(height, 18 + _TURNED * text_width(shown, _TICK))
            continue
        for row, line in enumerate(text.split("<br>")):
            parts.append(_text(at, frame.bottom + 16 + 14 * row, line, "tick", anchor="middle"))
            height = max(height, 20.0 + 14 * row)
    if title := axis["title"]["text"]:
        height += 20.0
        parts.append(_text((x.start + x.end) / 2, frame.bottom + height - 3, title, "title", anchor="middle"))
    return height, parts


def _draw_limits(layout: dict[str, Any], x: Scale, y: Scale, frame: _Frame) -> Iterator[str]:
    """Draw lines across all of the chart, and what they are."""
    for shape, note in zip(layout.get("shapes", []), _notes(layout), strict=True):
        if shape.get("yref") == "paper":
            at = x.place(shape["x0"])
            yield _line(at, frame.top, at, frame.bottom, "limit")
            yield _text(at + 4, frame.bottom - 5, note["text"], "tick")
        else:
            at = y.place(shape["y0"])
            yield _line(frame.left, at, frame.right, at, "limit")
            yield _text(frame.right, at + (13 if note["yanchor"] == "top" else -4), note["text"], "tick", anchor="end")


def _draw_headings(layout: dict[str, Any], frame: _Frame) -> Iterator[str]:
    for note in _notes(layout):
        at = frame.left + (frame.right - frame.left) * note["x"]
        yield _text(at, frame.top - 5, note["text"], "title", anchor="middle")


def _legend(
    traces: list[dict[str, Any]], layout: dict[str, Any], left: float, width: float
) -> Iterator[tuple[int, str]]:
    """Yield row and text of the entries, where there are several; they flow into as many rows as they need."""
    shown = [trace for trace in traces if trace.get("name") and trace.get("showlegend", True)]
    if len(shown) < 2 and not layout.get("showlegend"):
        return
    x, row = left, 0
    for trace in shown:
        need = _SWATCH + text_width(trace["name"], _TITLE) + 14
        if x > left and x + need > width:
            x, row = left, row + 1
        middle = _GAP + _LEGEND_ROW * row + 8
        yield row, _swatch(trace, x, middle) + _text(x + _SWATCH, middle + 4, trace["name"], "title")
        x += need


def _swatch(trace: dict[str, Any], x: float, y: float) -> str:
    if trace["type"] == "bar":
        colour = trace["marker"]["color"]
        return f'<rect x="{number(x)}" y="{number(y - 5)}" width="11" height="11" fill="{colour}"/>'
    parts = f'<g opacity="{trace.get("opacity", 1):.2f}">'
    if trace.get("fill"):
        colour = trace["fillcolor"]
        return parts + f'<rect x="{number(x)}" y="{number(y - 5)}" width="14" height="10" fill="{colour}"/></g>'
    if "lines" in trace["mode"]:
        own = {**trace, "x": [0, 1], "y": [0, 0], "mode": "lines", "name": ""}
        flat = Scale("linear", 0, 1, x, x + 16)
        parts += "".join(draw_trace(own, flat, Scale("linear", -1, 1, y - 1, y + 1), (0, 1)))
    if "markers" in trace["mode"]:
        marker = trace["marker"]
        parts += draw_symbol({**marker, "size": min(marker["size"], 13)}, x + 8, y)
    return parts + "</g>"


def _line(x: float, y: float, to_x: float, to_y: float, kind: str = "grid") -> str:
    return f'<line x1="{number(x)}" y1="{number(y)}" x2="{number(to_x)}" y2="{number(to_y)}" class="{kind}"/>'


def _text(x: float, y: float, text: str, kind: str, *, anchor: str = "start", more: str = "") -> str:
    side = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{number(x)}" y="{number(y)}" class="{kind}"{side}{more}>{escape(text)}</text>'

"""The charts of a study as one small drawing, for files: accuracy over each swept parameter, with bands.

Values stand at equal distances, whatever they are, so that nothing and powers of ten fit into one chart.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from mho.formats import format_share
from mho.report.drawing import INK, MUTED, PAPER, Box, Drawing, Label, Line, Shape, flow, stack
from mho.report.drawing_files import save_drawing
from mho.report.palette import hues, mix
from mho.report.study_document import StudyPoint, StudyResult, SweptParameter, Value
from mho.report.study_figures import MAX_LINES, list_charts
from mho.report.study_text import format_value

_WIDTH, _HEIGHT = 250.0, 150.0
"""Of the plain inside of one chart's axes."""
_LEFT, _TOP, _BOTTOM = 30.0, 24.0, 22.0
_LEGEND_ROW = 14.0
_DOT, _BAR, _DODGE = 5.0, 8.0, 9.0
_GAP = 18.0
_LETTER = 6.2
"""Width of a letter of the caption, about."""
_PAGE_WIDTH = 900.0


def draw_chart(result: StudyResult) -> Drawing:
    """Return the charts of a study beside each other: means as dots, bands as bars, the worst chip as a thin line.

    The dashed line is the accuracy of exact integers. Of a grid, a chart shows two parameters, the second as lines; one
    with more than eight values shows eight of them.
    """
    charts = [_draw_panel(result, title, across, lines) for title, across, lines in list_charts(result)]
    samples = f"{result.samples.count} samples, {len(result.seeds)} chip{'s' if len(result.seeds) > 1 else ''} a point"
    caption = (
        f"{result.program.name}: right answers, %; {samples}; dashed: exact, {format_share(result.exact_accuracy, 2)}"
    )
    head = Drawing(_LETTER * len(caption), 16, (Label(0, 12, caption, size=12, fill=INK),))
    body = stack([head, flow(charts, _GAP, _PAGE_WIDTH)], 8)
    frame = Box(0, 0, body.width + 2 * _GAP, body.height + 2 * _GAP, fill=PAPER)
    return Drawing(frame.width, frame.height, (frame, *body.moved(_GAP, _GAP)))


def write_chart(result: StudyResult, path: Path) -> None:
    """Draw a study into an .svg or .png file. Raises as `mho.report.drawing_files.save_drawing`."""
    save_drawing(draw_chart(result), path, title=f"Study {result.name}")


def _draw_panel(
    result: StudyResult, title: str, across: SweptParameter, lines: Mapping[str, Sequence[StudyPoint]]
) -> Drawing:
    shown = dict(list(lines.items())[:MAX_LINES])
    bottom = _TOP + _HEIGHT
    shapes: list[Shape] = [Label(_LEFT, 12, title, size=11, is_bold=True)]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        shapes.append(Line(_LEFT, _height(share), _LEFT + _WIDTH, _height(share)))
        shapes.append(Label(_LEFT - 5, _height(share) + 4, f"{100 * share:.0f}", size=10, fill=MUTED, anchor="end"))
    exact = _height(result.exact_accuracy)
    shapes += [Line(_LEFT + x, exact, _LEFT + x + 4, exact, MUTED) for x in range(0, int(_WIDTH) - 3, 8)]
    for number, value in enumerate(_order(across)):
        place = _place(number, across)
        shapes.append(Label(place, bottom + 14, format_value(value), size=10, fill=MUTED, anchor="middle"))
    colours = hues(len(shown))
    for number, (points, colour) in enumerate(zip(shown.values(), colours, strict=True)):
        dodge = _DODGE * (number - (len(shown) - 1) / 2) if len(result.seeds) > 1 else 0.0
        shapes += _draw_line(across, points, colour, dodge)
    legend = [name for name in shown if name]
    for number, name in enumerate(legend):
        y = bottom + _BOTTOM + _LEGEND_ROW * number
        shapes.append(Box(_LEFT, y, 10, 4, fill=colours[number]))
        shapes.append(Label(_LEFT + 16, y + 6, name, size=10))
    return Drawing(_LEFT + _WIDTH, bottom + _BOTTOM + _LEGEND_ROW * len(legend), tuple(shapes))


def _draw_line(across: SweptParameter, points: Sequence[StudyPoint], colour: str, dodge: float) -> list[Shape]:
    found = {point.values[across.key]: point for point in points}
    places = [(_place(number, across) + dodge, found[value]) for number, value in enumerate(_order(across))]
    shapes: list[Shape] = []
    for x, point in places:
        if point.low is not None and point.high is not None:
            top, bottom = _height(point.high), _height(point.low)
            shapes.append(Box(x - _BAR / 2, top, _BAR, max(1.0, bottom - top), fill=mix(colour, PAPER, 0.7)))
            shapes.append(Line(x, _height(point.mean), x, _height(point.worst), colour))
    for (x, point), (to_x, after) in itertools.pairwise(places):
        shapes.append(Line(x, _height(point.mean), to_x, _height(after.mean), colour, 1.5))
    shapes += [Box(x - _DOT / 2, _height(point.mean) - _DOT / 2, _DOT, _DOT, fill=colour) for x, point in places]
    return shapes


def _order(across: SweptParameter) -> tuple[Value, ...]:
    """Return values from left to right: rising, where all are numbers."""
    if across.scale == "category":
        return across.values
    return tuple(sorted(value for value in across.values if isinstance(value, int | float)))


def _place(number: int, across: SweptParameter) -> float:
    return _LEFT + _WIDTH * (number + 0.5) / len(across.values)


def _height(share: float) -> float:
    return _TOP + _HEIGHT * (1 - share)

"""Drawings as SVG: plain vector shapes, no styles, no scripts, nothing from elsewhere."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from xml.sax.saxutils import escape

import numpy as np

from mho.report.drawing import PAPER, Box, Drawing, Label, Line, Mosaic
from mho.report.equal_spans import find_equal_spans

_FONTS = "DejaVu Sans, Verdana, Segoe UI, Helvetica, Arial, sans-serif"
_NAMESPACE = ' xmlns="http://www.w3.org/2000/svg"'
_SHARED_RUNS = 6
"""Rows of a mosaic with more runs of colour than this are drawn once and used again."""


def to_svg(drawing: Drawing, *, title: str, prefix: str = "m", is_file: bool = True) -> str:
    """Return the text of an SVG file, or of an element to stand in a page.

    Args:
        drawing: what to draw.
        title: what a reader that cannot show it says.
        prefix: begins the names of elements that are used again: must differ for drawings on one page.
        is_file: False for an element inside of a page.
    """
    width, height = _number(drawing.width), _number(drawing.height)
    parts = [
        f'<svg{_NAMESPACE if is_file else ""} viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="{_FONTS}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="{PAPER}"/>',
    ]
    for number, shape in enumerate(drawing.shapes):
        parts += _write(shape, f"{prefix}{number}")
    return "\n".join([*parts, "</svg>"]) + "\n"


def _write(shape: Box | Line | Label | Mosaic, name: str) -> Iterator[str]:
    if isinstance(shape, Box):
        outline = f' stroke="{shape.stroke}" stroke-width="{_number(shape.thickness)}"' if shape.stroke else ""
        yield (
            f'<rect x="{_number(shape.x)}" y="{_number(shape.y)}" width="{_number(shape.width)}" '
            f'height="{_number(shape.height)}" fill="{shape.fill or "none"}"{outline}/>'
        )
    elif isinstance(shape, Line):
        yield (
            f'<line x1="{_number(shape.x)}" y1="{_number(shape.y)}" x2="{_number(shape.to_x)}" '
            f'y2="{_number(shape.to_y)}" stroke="{shape.stroke}" stroke-width="{_number(shape.thickness)}"/>'
        )
    elif isinstance(shape, Label):
        yield _label(shape)
    else:
        yield from _mosaic(shape, name)


def _label(label: Label) -> str:
    anchor = f' text-anchor="{label.anchor}"' if label.anchor != "start" else ""
    weight = ' font-weight="bold"' if label.is_bold else ""
    x, y = _number(label.x), _number(label.y)
    turn = f' transform="rotate(-90 {x} {y})"' if label.is_rotated else ""
    return (
        f'<text x="{x}" y="{y}" font-size="{_number(label.size)}" fill="{label.fill}"{anchor}{weight}{turn}>'
        f"{escape(label.text)}</text>"
    )


def _mosaic(mosaic: Mosaic, name: str) -> Iterator[str]:
    """Write runs of equal cells as rectangles: rows that are equal and follow each other together, others by name."""
    rows, cols = mosaic.cells.shape
    scale = f"{_number(mosaic.width / cols)} {_number(mosaic.height / rows)}"
    place = f"translate({_number(mosaic.x)} {_number(mosaic.y)}) scale({scale})"
    bands = _bands(mosaic)
    runs = {pattern: _runs(mosaic, start) for pattern, start, _ in reversed(bands)}
    times = Counter(pattern for pattern, _, _ in bands)
    shared = {pattern for pattern in runs if times[pattern] > 1 and len(runs[pattern]) > _SHARED_RUNS}
    yield f'<g transform="{place}" shape-rendering="crispEdges">'
    if shared:
        yield "<defs>"
        for pattern in sorted(shared):
            paths: defaultdict[int, str] = defaultdict(str)
            for colour, start, stop in runs[pattern]:
                paths[colour] += _rectangle(start, 0, stop - start, 1)
            yield f'<g id="{name}-{pattern}">{_paths(mosaic, paths)}</g>'
        yield "</defs>"
    single: defaultdict[int, str] = defaultdict(str)
    for pattern, top, bottom in bands:
        if pattern in shared:
            size = f" scale(1 {bottom - top})" if bottom - top > 1 else ""
            yield f'<use href="#{name}-{pattern}" transform="translate(0 {top}){size}"/>'
            continue
        for colour, start, stop in runs[pattern]:
            single[colour] += _rectangle(start, top, stop - start, bottom - top)
    yield _paths(mosaic, single) + "</g>"


def _bands(mosaic: Mosaic) -> list[tuple[int, int, int]]:
    """Return pattern, first row and row after the last of all rows that are equal and follow each other."""
    _, pattern = np.unique(mosaic.cells, axis=0, return_inverse=True)
    pattern = pattern.reshape(-1)
    return [(int(pattern[first]), first, last) for first, last in find_equal_spans(pattern)]


def _runs(mosaic: Mosaic, row: int) -> list[tuple[int, int, int]]:
    """Return colour, first column and column after the last of the runs of a row that have a colour."""
    line = mosaic.cells[row]
    return [(int(line[first]), first, last) for first, last in find_equal_spans(line) if line[first] >= 0]


def _rectangle(x: int, y: int, width: int, height: int) -> str:
    return f"M{x} {y}h{width}v{height}h-{width}z"


def _paths(mosaic: Mosaic, paths: dict[int, str]) -> str:
    return "".join(f'<path fill="{mosaic.colours[colour]}" d="{paths[colour]}"/>' for colour in sorted(paths))


def _number(value: float) -> str:
    return f"{round(float(value), 3):g}"

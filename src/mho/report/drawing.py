"""Drawings as values: boxes, lines, labels and mosaics at places, which `svg` and `png` turn into files.

Lengths are pixels of the page, y grows downwards, colours are ``#rrggbb``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Anchor = Literal["start", "middle", "end"]

INK, MUTED, FAINT, PAPER = "#1b1f24", "#5c6570", "#d5dae0", "#ffffff"
"""Colours of text, secondary text, thin lines and the page."""

_WIDE, _NARROW = set("mwMW@%\u2014"), set("iljtfrI.,:;'|!()[]/ \u00b7")


@dataclass(frozen=True)
class Box:
    """A rectangle with or without an outline."""

    x: float
    y: float
    width: float
    height: float
    fill: str | None = None
    stroke: str | None = None
    thickness: float = 1.0

    def moved(self, dx: float, dy: float) -> Box:
        """Return the box elsewhere."""
        return replace(self, x=self.x + dx, y=self.y + dy)


@dataclass(frozen=True)
class Line:
    """A straight line."""

    x: float
    y: float
    to_x: float
    to_y: float
    stroke: str = FAINT
    thickness: float = 1.0

    def moved(self, dx: float, dy: float) -> Line:
        """Return the line elsewhere."""
        return replace(self, x=self.x + dx, y=self.y + dy, to_x=self.to_x + dx, to_y=self.to_y + dy)


@dataclass(frozen=True)
class Label:
    """A line of text.

    Attributes:
        x, y: where its baseline starts, has its middle or ends, as `anchor` says.
        is_rotated: reads upwards, turned about (x, y).
    """

    x: float
    y: float
    text: str
    size: float = 11.0
    fill: str = INK
    anchor: Anchor = "start"
    is_bold: bool = False
    is_rotated: bool = False

    def moved(self, dx: float, dy: float) -> Label:
        """Return the label elsewhere."""
        return replace(self, x=self.x + dx, y=self.y + dy)


@dataclass(frozen=True, eq=False)
class Mosaic:
    """A grid of coloured cells of one size.

    Attributes:
        x, y, width, height: the place of the whole grid.
        cells: int [rows, cols], which of `colours` each cell has; -1 for none.
        colours: the colours.
    """

    x: float
    y: float
    width: float
    height: float
    cells: NDArray[np.integer]
    colours: tuple[str, ...]

    def moved(self, dx: float, dy: float) -> Mosaic:
        """Return the mosaic elsewhere."""
        return replace(self, x=self.x + dx, y=self.y + dy)


Shape = Box | Line | Label | Mosaic


@dataclass(frozen=True, eq=False)
class Drawing:
    """Shapes on a page of some size, the first at the bottom."""

    width: float
    height: float
    shapes: tuple[Shape, ...]

    def moved(self, dx: float, dy: float) -> tuple[Shape, ...]:
        """Return the shapes elsewhere."""
        return tuple(shape.moved(dx, dy) for shape in self.shapes)


def stack(drawings: Iterable[Drawing], gap: float) -> Drawing:
    """Put drawings below each other, `gap` apart."""
    shapes: list[Shape] = []
    width = y = 0.0
    for drawing in drawings:
        y += gap if shapes else 0.0
        shapes += drawing.moved(0, y)
        y += drawing.height
        width = max(width, drawing.width)
    return Drawing(width, y, tuple(shapes))


def flow(drawings: Iterable[Drawing], gap: float, width: float, *, below: float | None = None) -> Drawing:
    """Put drawings beside each other, `gap` apart, in as many lines (`below` apart) as a page of `width` needs."""
    lines: list[list[Drawing]] = [[]]
    used = 0.0
    for drawing in drawings:
        if lines[-1] and used + drawing.width > width:
            lines.append([])
            used = 0.0
        lines[-1].append(drawing)
        used += drawing.width + gap
    return stack((_beside(line, gap) for line in lines), gap if below is None else below)


def _beside(drawings: list[Drawing], gap: float) -> Drawing:
    shapes: list[Shape] = []
    x = 0.0
    for drawing in drawings:
        shapes += drawing.moved(x, 0)
        x += drawing.width + gap
    return Drawing(max(x - gap, 0), max((drawing.height for drawing in drawings), default=0), tuple(shapes))


def text_width(text: str, size: float, *, is_bold: bool = False) -> float:
    """Return about how wide a line of text is, rather too much than too little, for the fonts that are named."""
    ems = sum(0.98 if letter in _WIDE else 0.4 if letter in _NARROW else 0.655 for letter in text)
    return ems * size * (1.1 if is_bold else 1.0)


def wrap_text(text: str, size: float, width: float, *, is_bold: bool = False) -> list[str]:
    """Return the lines into which a text is broken, between words, so that each fits `width` as far as words do."""
    lines: list[str] = []
    for word in text.split(" "):
        if lines and text_width(f"{lines[-1]} {word}", size, is_bold=is_bold) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def fit_text(text: str, size: float, width: float) -> str:
    """Return a text that fits `width`, cut with an ellipsis where it must be."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "\u2026", size) > width:
        text = text[:-1]
    return text.rstrip() + "\u2026" if text else ""

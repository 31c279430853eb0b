"""Drawings as PNG, painted with Pillow."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from mho.report.drawing import PAPER, Box, Drawing, Label, Line, Mosaic

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

_SCALE = 2
"""Pixels of the file for a pixel of the drawing."""

_FONT_FILES = {
    False: ("DejaVuSans.ttf", "Verdana.ttf", "LiberationSans-Regular.ttf", "NotoSans-Regular.ttf", "Arial.ttf"),
    True: ("DejaVuSans-Bold.ttf", "Verdana_Bold.ttf", "LiberationSans-Bold.ttf", "NotoSans-Bold.ttf", "Arial_Bold.ttf"),
}
"""Fonts in the order in which they are looked for, by boldness; without any, Pillow's own is taken."""

_PLAIN = str.maketrans({"\u00d7": "x", "\u2013": "-", "\u2212": "-", "\u2014": "-", "\u00b5": "u", "\u2265": ">="})
"""Letters that Pillow's own font lacks."""


def to_png(drawing: Drawing) -> bytes:
    """Return the content of a PNG file, twice as fine as the drawing."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (_pixels(drawing.width), _pixels(drawing.height)), PAPER)
    painter = ImageDraw.Draw(image)
    for shape in drawing.shapes:
        if isinstance(shape, Box):
            _paint_box(painter, shape)
        elif isinstance(shape, Line):
            ends = [value * _SCALE for value in (shape.x, shape.y, shape.to_x, shape.to_y)]
            painter.line(ends, fill=shape.stroke, width=max(1, _pixels(shape.thickness)))
        elif isinstance(shape, Label):
            _paint_label(image, painter, shape)
        else:
            _paint_mosaic(image, shape)
    content = io.BytesIO()
    image.save(content, "PNG", optimize=True)
    return content.getvalue()


def _pixels(length: float) -> int:
    return round(length * _SCALE)


def _paint_box(painter: ImageDraw, box: Box) -> None:
    left, top = _pixels(box.x), _pixels(box.y)
    right, bottom = _pixels(box.x + box.width) - 1, _pixels(box.y + box.height) - 1
    if right < left or bottom < top:
        return
    thickness = max(1, _pixels(box.thickness)) if box.stroke else 0
    grown = thickness // 2  # outlines lie half outside, as in SVG
    place = (left - grown, top - grown, right + grown, bottom + grown)
    painter.rectangle(place, fill=box.fill, outline=box.stroke, width=thickness)


def _paint_label(image: Picture, painter: ImageDraw, label: Label) -> None:
    from PIL import Image, ImageDraw

    font, is_complete = _find_font(label.is_bold, _pixels(label.size))
    text = label.text if is_complete else label.text.translate(_PLAIN)
    anchor = {"start": "ls", "middle": "ms", "end": "rs"}[label.anchor]
    x, y = _pixels(label.x), _pixels(label.y)
    if not label.is_rotated:
        painter.text((x, y), text, font=font, fill=label.fill, anchor=anchor)
        return
    left, top, right, bottom = map(round, font.getbbox(text, anchor=anchor))
    mask = Image.new("L", (max(1, right - left), max(1, bottom - top)), 0)
    ImageDraw.Draw(mask).text((-left, -top), text, font=font, fill=255, anchor=anchor)
    turned = mask.rotate(90, expand=True)
    image.paste(Image.new("RGB", turned.size, label.fill), (x + top, y - right), turned)


def _paint_mosaic(image: Picture, mosaic: Mosaic) -> None:
    from PIL import Image

    size = max(1, _pixels(mosaic.width)), max(1, _pixels(mosaic.height))
    rows, cols = mosaic.cells.shape
    columns = np.arange(size[0]) * cols // size[0]
    lines = np.arange(size[1]) * rows // size[1]
    colours = np.array([[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in mosaic.colours], np.uint8)
    cells = mosaic.cells[np.ix_(lines, columns)]
    mask = Image.fromarray(np.where(cells >= 0, 255, 0).astype(np.uint8))
    image.paste(Image.fromarray(colours[np.maximum(cells, 0)]), (_pixels(mosaic.x), _pixels(mosaic.y)), mask)


@lru_cache(maxsize=64)
def _find_font(is_bold: bool, size: int) -> tuple[FreeTypeFont, bool]:
    """Return a font and whether it has all letters."""
    from PIL import ImageFont

    for name in _FONT_FILES[is_bold]:
        try:
            return ImageFont.truetype(name, size), True
        except OSError:
            continue
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow comes with FreeType"
    return font, False

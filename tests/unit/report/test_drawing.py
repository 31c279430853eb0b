import io
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from mho.report.drawing import Box, Drawing, Label, Line, Mosaic, fit_text, flow, stack, text_width, wrap_text
from mho.report.equal_spans import find_equal_spans
from mho.report.palette import hues, ink_on, mix, shades
from mho.report.png import to_png
from mho.report.svg import to_svg

COLOURS = ("#ff0000", "#00ff00", "#0000ff")
SVG = "{http://www.w3.org/2000/svg}"


def image_of(drawing):
    return np.asarray(Image.open(io.BytesIO(to_png(drawing))).convert("RGB"))


def hexed(pixel):
    return "#" + "".join(f"{int(part):02x}" for part in pixel)


def painted(mosaic, text):
    """Paint what the paths of an SVG file say, cell by cell, following elements that are used again."""
    root = ElementTree.fromstring(text)
    named = {element.get("id"): element for element in root.iter() if element.get("id")}
    cells = np.full(mosaic.cells.shape, -1)
    (group,) = (element for element in root if element.tag == f"{SVG}g")

    def paint(path, top, stretch):
        colour = mosaic.colours.index(path.get("fill"))
        for x, y, width, height in re.findall(r"M(\d+) (\d+)h(\d+)v(\d+)h-\d+z", path.get("d")):
            first = top + int(y) * stretch
            place = slice(first, first + int(height) * stretch), slice(int(x), int(x) + int(width))
            assert (cells[place] == -1).all(), "no cell is painted twice"
            cells[place] = colour

    for element in group:
        if element.tag == f"{SVG}path":
            paint(element, 0, 1)
        elif element.tag == f"{SVG}use":
            top = int(re.search(r"translate\(0 (\d+)\)", element.get("transform"))[1])
            stretch = re.search(r"scale\(1 (\d+)\)", element.get("transform"))
            for path in named[element.get("href")[1:]]:
                paint(path, top, int(stretch[1]) if stretch else 1)
    return cells


@given(arrays(np.int64, st.tuples(st.integers(1, 12), st.integers(1, 20)), elements=st.integers(-1, 2)), st.booleans())
def test_the_rectangles_of_a_mosaic_are_its_cells(cells, is_repeated):
    cells = np.tile(cells, (3, 1)) if is_repeated else cells
    mosaic = Mosaic(5, 7, 40, 60, cells, COLOURS)
    np.testing.assert_array_equal(painted(mosaic, to_svg(Drawing(80, 80, (mosaic,)), title="x")), cells)


def test_equal_rows_of_many_runs_are_written_once():
    stripes = np.tile(np.arange(64) % 2, (64, 1))
    stripes[::2] += 1
    text = to_svg(Drawing(64, 64, (Mosaic(0, 0, 64, 64, stripes, COLOURS),)), title="x")
    assert len(text) < 8000
    assert text.count("<use") == 64


@given(arrays(np.int64, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(-1, 2)))
def test_the_pixels_of_a_mosaic_are_its_cells(cells):
    rows, cols = cells.shape
    image = image_of(Drawing(cols + 2, rows + 2, (Mosaic(1, 1, cols, rows, cells, COLOURS),)))
    for (row, col), number in np.ndenumerate(cells):
        expected = "#ffffff" if number < 0 else COLOURS[number]
        assert hexed(image[2 + 2 * row, 2 + 2 * col]) == expected


def test_boxes_and_lines_lie_where_they_are_placed_in_both_files():
    drawing = Drawing(20, 10, (Box(2, 3, 4, 5, "#ff0000"), Line(10, 5, 18, 5, "#0000ff", 2)))
    image = image_of(drawing)
    assert image.shape == (20, 40, 3)
    assert hexed(image[6, 4]) == hexed(image[15, 11]) == "#ff0000"
    assert hexed(image[5, 4]) == hexed(image[6, 12]) == "#ffffff"
    assert hexed(image[10, 30]) == "#0000ff"
    text = to_svg(drawing, title="x")
    assert '<rect x="2" y="3" width="4" height="5" fill="#ff0000"/>' in text
    assert '<line x1="10" y1="5" x2="18" y2="5" stroke="#0000ff" stroke-width="2"/>' in text


def test_text_is_escaped():
    text = to_svg(Drawing(9, 9, (Label(1, 1, "<b> & 'c'"),)), title="</title><script>")
    assert "<b>" not in text
    assert "<script>" not in text
    assert ElementTree.fromstring(text).findtext(f"{SVG}text") == "<b> & 'c'"


@pytest.mark.parametrize("anchor", ["start", "middle", "end"])
@pytest.mark.parametrize("is_rotated", [False, True])
def test_labels_are_painted_at_their_anchor(anchor, is_rotated):
    label = Label(50, 50, "mmmm", 12, "#ff0000", anchor, is_rotated=is_rotated)
    dark = np.argwhere(image_of(Drawing(100, 100, (label,)))[..., 1] < 128) / 2
    along = 100 - dark[:, 0] if is_rotated else dark[:, 1]
    low, high = {"start": (50, 97), "middle": (25, 75), "end": (3, 50)}[anchor]
    assert low - 2 <= along.min() < along.max() <= high + 2
    across = dark[:, 1] if is_rotated else dark[:, 0]
    assert 35 < across.min() < across.max() <= 51


def test_moving_a_drawing_moves_every_shape():
    shapes = (Box(1, 2, 3, 4), Line(1, 2, 3, 4), Label(1, 2, "x"), Mosaic(1, 2, 3, 4, np.zeros((1, 1), int), COLOURS))
    moved = Drawing(9, 9, shapes).moved(10, 20)
    assert [(shape.x, shape.y) for shape in moved] == [(11, 22)] * 4
    assert (moved[1].to_x, moved[1].to_y) == (13, 24)


def test_drawings_are_put_below_and_beside_each_other():
    one = Drawing(30, 10, (Box(0, 0, 30, 10),))
    stacked = stack([one, one, one], gap=5)
    assert (stacked.width, stacked.height) == (30, 40)
    assert [shape.y for shape in stacked.shapes] == [0, 15, 30]
    flowing = flow([one, one, one], gap=5, width=70, below=7)
    assert [(shape.x, shape.y) for shape in flowing.shapes] == [(0, 0), (35, 0), (0, 17)]
    assert (flowing.width, flowing.height) == (65, 27)


def test_text_fits_or_is_cut_or_wrapped():
    assert fit_text("short", 10, 200) == "short"
    cut = fit_text("a very long name of a layer", 10, 60)
    assert cut.endswith("\u2026")
    assert text_width(cut, 10) <= 60
    lines = wrap_text("some words that need several lines", 10, 80)
    assert " ".join(lines) == "some words that need several lines"
    assert len(lines) > 1
    assert all(text_width(line, 10) <= 80 for line in lines)


@pytest.mark.parametrize("count", [1, 2, 8, 9, 40, 200])
def test_hues_are_all_different(count):
    assert len(set(hues(count))) == count


def test_shades_grow_towards_the_colour_itself():
    assert shades("#0072b2", 1) == ("#0072b2",)
    light, middle, full = (int(shade[1:3], 16) for shade in shades("#0072b2", 3))
    assert light > middle > full == 0
    assert mix("#000000", "#ffffff", 0.5) == "#808080"
    assert ink_on("#ffffff") != ink_on("#000000")


@given(arrays(np.int64, st.integers(1, 30), elements=st.integers(0, 2)))
def test_runs_are_equal_neighbours(keys):
    runs = find_equal_spans(keys)
    assert [number for first, last in runs for number in range(first, last)] == list(range(len(keys)))
    assert all(len(set(keys[first:last])) == 1 for first, last in runs)
    assert all(keys[first] != keys[first - 1] for first, _ in runs[1:])
    assert find_equal_spans(np.stack([keys, keys * 0], axis=1)) == runs


def test_without_fonts_on_the_machine_text_is_painted_in_letters_that_there_are(monkeypatch):
    import mho.report.png as png

    monkeypatch.setattr(png, "_FONT_FILES", {False: (), True: ("no such font.ttf",)})
    png._find_font.cache_clear()
    try:
        shown, plain = (image_of(Drawing(60, 20, (Label(2, 14, text, 12),))) for text in ("2\u00d73 \u2212", "2x3 -"))
        bold = image_of(Drawing(60, 20, (Label(2, 14, "2x3", 12, is_bold=True),)))
    finally:
        png._find_font.cache_clear()
    assert (plain < 128).any()
    assert (bold < 128).any()
    np.testing.assert_array_equal(shown, plain)

"""The drawing of a study: every value, mean, band and worst chip has its place."""

from __future__ import annotations

import pytest
from study_results import EXACT, make_result, point

from mho.errors import ConfigError, InputFileError
from mho.report.drawing import Box, Label, Line
from mho.report.palette import hues
from mho.report.study_drawing import draw_chart, write_chart

NOISE, BITS, RANGE = "array.read_noise", "converters.adc_bits", "converters.adc_range"


@pytest.fixture
def result():
    return make_result(
        [(NOISE, [0.1, 0.001], "log"), (BITS, [4, "ideal"], "category")],
        [
            point({NOISE: 0.1}, [60, 70, 80], NOISE),
            point({NOISE: 0.001}, [97, 97, 97], NOISE),
            point({BITS: 4}, [90, 91, 89], BITS),
            point({BITS: "ideal"}, [97, 98, 97], BITS),
        ],
    )


@pytest.fixture
def grid():
    """Three numbers of bits along the axis, two ranges as lines; one chip a point."""
    ranges = ["full-scale", "calibrated-layer"]
    points = [point({BITS: bits, RANGE: name}, [bits * 10]) for bits in (4, 6, 8) for name in ranges]
    return make_result([(BITS, [4, 6, 8], "linear"), (RANGE, ranges, "category")], points, seeds=1, design="grid")


def find(drawing, kind):
    return [shape for shape in drawing.shapes if isinstance(shape, kind)]


def dots(drawing, colour):
    return [box for box in find(drawing, Box) if box.fill == colour and box.width == box.height]


def test_each_sweep_has_a_chart_whose_values_rise(result):
    drawing = draw_chart(result)
    texts = {label.text: label for label in find(drawing, Label)}
    assert {NOISE, BITS, "0.001", "0.1", "4", "ideal"} <= set(texts)
    assert texts["0.001"].x < texts["0.1"].x < texts["4"].x < texts["ideal"].x
    assert any(f"exact, {100 * EXACT:.2f} %" in text for text in texts)


def test_dots_stand_at_means_bars_at_bands_lines_at_the_worst_chip(result):
    drawing = draw_chart(result)
    (colour,) = hues(1)
    texts = {label.text: label for label in find(drawing, Label) if label.anchor == "end"}
    top, bottom = (texts[text].y - 4 for text in ("100", "0"))

    def height(share):
        return bottom + share * (top - bottom)

    middles = [box.y + box.height / 2 for box in dots(drawing, colour)]
    assert middles == pytest.approx([height(share) for share in (0.97, 0.70, 0.90, 0.97 + 1 / 300)])
    noisy = result.points[0]
    bars = [(box.y, box.y + box.height) for box in find(drawing, Box) if box.width == 8 and box.height > 50]
    assert bars[0] == pytest.approx((height(noisy.high), height(noisy.low)))
    ends = [(line.y, line.to_y) for line in find(drawing, Line) if line.stroke == colour and line.x == line.to_x]
    assert any(line == pytest.approx((height(0.7), height(0.6))) for line in ends)


def test_a_grid_has_a_line_for_each_value_of_its_second_parameter(grid):
    drawing = draw_chart(grid)
    texts = [label.text for label in find(drawing, Label)]
    assert "adc_range = full-scale" in texts
    assert [len(dots(drawing, colour)) for colour in hues(2)] == [3, 3]
    assert not [box for box in find(drawing, Box) if box.width == 8], "one chip has no band"


def test_everything_lies_on_the_page(result, grid):
    for drawing in map(draw_chart, (result, grid)):
        places = [(shape.x, shape.y) for shape in drawing.shapes]
        assert all(0 <= x <= drawing.width and 0 <= y <= drawing.height for x, y in places)


@pytest.mark.parametrize(("name", "start"), [("x.svg", b"<svg"), ("x.png", b"\x89PNG")])
def test_files_are_what_their_names_say(result, tmp_path, name, start):
    write_chart(result, tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)


def test_other_files_are_refused(result, tmp_path):
    with pytest.raises(ConfigError, match=r"\.pdf"):
        write_chart(result, tmp_path / "x.pdf")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputFileError):
        write_chart(result, tmp_path / "file" / "x.svg")

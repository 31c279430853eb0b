"""Charts as SVG: every value stands where its axis has it, and says what it is."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET

import pytest

from mho.report.chart_parts import base_layout, show_layers
from mho.report.chart_scales import make_scale
from mho.report.chart_svg import SLIM, WIDE, draw_chart
from mho.report.figures import build_figures


def points(y, **changes):
    trace = {
        "type": "scatter", "mode": "markers", "name": "points", "x": list(range(len(y))), "y": y,
        "marker": {"color": "red", "size": 8}, "hovertext": [f"<b>{k}</b><br>a < b" for k in range(len(y))],
    }  # fmt: skip
    return {**trace, **changes}


def draw(*traces, width=WIDE, **axes):
    layout = base_layout("across", "up", height=300, alt='what "it" shows')
    for name, changes in axes.items():
        layout[name] |= changes
    return ET.fromstring(draw_chart({"data": list(traces), "layout": layout}, width))


def circles(svg):
    return [(float(one.get("cx")), float(one.get("cy"))) for one in svg.iter("circle")]


def texts(svg):
    return [one.text for one in svg.iter("text")]


def test_equal_differences_are_equal_distances():
    (ax, ay), (bx, by), (cx, cy) = circles(draw(points([1, 2, 3])))
    assert bx - ax == pytest.approx(cx - bx, abs=0.2)
    assert ay - by == pytest.approx(by - cy, abs=0.2)
    assert ax < bx
    assert ay > by


def test_on_a_logarithmic_axis_equal_ratios_are_equal_distances():
    svg = draw(points([0.001, 0.01, 0.1]), yaxis={"type": "log"})
    (_, a), (_, b), (_, c) = circles(svg)
    assert a - b == pytest.approx(b - c, abs=0.2)
    assert {"10⁻³", "10⁻²", "10⁻¹"} <= set(texts(svg))


@pytest.mark.parametrize("values", [[1.0], [0.2, 0.25], [3, 1e6], [-1e-3, 1e-3], [0, 0]])
def test_ticks_stand_at_their_values_within_the_axis(values):
    scale = make_scale({}, values, 100, 500)
    assert 2 <= len(scale.ticks) <= 8
    for value, text in scale.ticks:
        assert float(text) == pytest.approx(value, abs=1e-9 + 1e-6 * abs(value))
        assert 100 <= scale.place(value) <= 500


def test_marks_say_plain_lines_and_missing_values_are_left_out():
    svg = draw(points([1, None, 2]))
    assert [title.text for title in svg.iter("title")] == ["0\na < b", "2\na < b"]
    assert svg.get("role") == "img"
    assert svg.get("aria-label") == 'what "it" shows'


def test_bars_begin_at_zero_and_are_as_high_as_their_values():
    bars = {"type": "bar", "x": ["a", "b"], "y": [2, 4], "marker": {"color": "red"}, "hovertext": ["two", None]}
    svg = draw(bars, xaxis={"type": "category"})
    low, high = (float(one.get("height")) for one in svg.iter("rect"))
    assert high == pytest.approx(2 * low, abs=0.2)
    assert len(list(svg.iter("title"))) == 1


def test_cells_have_their_places_values_and_words():
    heat = {
        "type": "heatmap", "x": ["p", "q"], "y": ["a"], "z": [[0, 8]], "zmin": 0, "zmax": 8, "hovertext": [["0", "8"]],
        "colorscale": [[0.0, "white"], [1.0, "blue"]], "texttemplate": "%{z}",
    }  # fmt: skip
    svg = draw(heat, xaxis={"type": "category"}, yaxis={"type": "category"})
    opacities = [float(one.get("opacity")) for one in svg.iter("rect")]
    assert opacities[0] == 0 < opacities[1]
    assert {"0", "8", "p", "q", "a"} <= set(texts(svg))


def test_many_layers_make_a_chart_wider_than_a_narrow_page_so_that_it_scrolls():
    names = [f"layer{k}" for k in range(60)]
    layout = base_layout("", "bits", height=300, alt="")
    show_layers(layout, names)
    bars = {"type": "bar", "x": names, "y": [4] * 60, "marker": {"color": "red"}, "hovertext": names}
    svg = ET.fromstring(draw_chart({"data": [bars], "layout": layout}, SLIM))
    lefts = sorted(float(one.get("x")) for one in svg.iter("rect"))
    assert float(svg.get("width")) > 1000
    assert all(after - before > 10 for before, after in itertools.pairwise(lefts))


def test_all_charts_of_a_run_stay_within_their_drawings(result):
    for name, figure in build_figures(result).items():
        for width in (WIDE, SLIM):
            text = draw_chart(figure, width)
            svg = ET.fromstring(text)
            size = float(svg.get("width")), float(svg.get("height"))
            assert "nan" not in text, name
            for x, y in circles(svg):
                assert 0 <= x <= size[0], name
                assert 0 <= y <= size[1], name
            assert not re.search(r"#[0-9a-f]{6}", text), f"{name}: colours follow light and dark"


def test_another_kind_of_trace_is_refused():
    with pytest.raises(ValueError, match="pie"):
        draw({**points([1]), "type": "pie"})

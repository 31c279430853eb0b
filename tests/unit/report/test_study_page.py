"""The page and charts of a study: they show every point, and need nothing else."""

from __future__ import annotations

import re

import pytest
from study_results import make_result, point

from mho.report.study_figures import MAX_PANELS, draw_study
from mho.report.study_page import render_study
from mho.report.study_text import describe_chips, write_text


@pytest.fixture
def result():
    noise, bits = "array.read_noise", "converters.adc_bits"
    return make_result(
        [(noise, [0.1, 0.001], "log"), (bits, [4, "ideal"], "category")],
        [
            point({noise: 0.1}, [60, 70, 80], noise),
            point({noise: 0.001}, [97, 97, 97], noise),
            point({bits: 4}, [90, 91, 89], bits),
            point({bits: "ideal"}, [97, 98, 97], bits),
        ],
    )


def grid(*sizes, seeds=2):
    import itertools

    keys = [f"array.p{number}" for number in range(len(sizes))]
    sweeps = [(key, list(range(size)), "linear") for key, size in zip(keys, sizes, strict=True)]
    points = [
        point(dict(zip(keys, values, strict=True)), [50 + sum(values)] * seeds)
        for values in itertools.product(*map(range, sizes))
    ]
    return make_result(sweeps, points, seeds=seeds, design="grid")


def trace(panel, name):
    return next(one for one in panel.figure["data"] if one.get("name") == name)


def test_a_sweep_has_a_line_a_band_and_the_exact_accuracy(result):
    noise, _ = draw_study(result)
    assert trace(noise, "mean")["x"] == [0.001, 0.1]  # along the axis, whatever the order of the study
    assert trace(noise, "mean")["y"] == [97.0, 70.0]
    low, high = (100 * end for end in (result.points[0].low, result.points[0].high))
    assert trace(noise, "band")["x"] == [0.001, 0.1, 0.1, 0.001]
    assert trace(noise, "band")["y"] == pytest.approx([97, high, low, 97], abs=1e-3)
    assert trace(noise, "worst chip")["y"] == [97.0, 60.0]
    (line,) = noise.figure["layout"]["shapes"]
    assert line["y0"] == line["y1"] == 97.5
    assert noise.figure["layout"]["xaxis"]["type"] == "log"


def test_words_are_categories_in_the_order_of_the_study(result):
    _, bits = draw_study(result)
    assert trace(bits, "mean")["x"] == ["4", "ideal"]
    assert bits.figure["layout"]["xaxis"]["type"] == "category"


def test_one_chip_has_no_band():
    key = "array.read_noise"
    (panel,) = draw_study(make_result([(key, [0], "linear")], [point({key: 0}, [90], key)], seeds=1))
    assert [one["name"] for one in panel.figure["data"]] == ["mean"]


def test_a_grid_has_a_line_for_each_value_of_the_smaller_parameter():
    (panel,) = draw_study(grid(3, 5))
    assert panel.title == "array.p1 and array.p0"
    lines = [one for one in panel.figure["data"] if one["mode"] == "lines+markers"]
    assert [(one["name"], one["y"]) for one in lines] == [
        (f"p0 = {row}", [50.0 + row + column for column in range(5)]) for row in range(3)
    ]


def test_a_grid_of_many_lines_is_a_map_of_colours():
    (panel,) = draw_study(grid(9, 10))
    (heat,) = panel.figure["data"]
    assert heat["type"] == "heatmap"
    assert heat["z"][3][7] == 60.0
    assert (heat["zmin"], heat["zmax"]) == (50.0, 97.5)
    assert (len(heat["z"]), len(heat["z"][0])) == (9, 10)


def test_other_parameters_of_a_grid_have_charts_of_their_own():
    panels = draw_study(grid(2, 3, 2))
    assert [panel.note for panel in panels] == ["array.p2 = 0", "array.p2 = 1"]
    assert trace(panels[1], "p0 = 1")["y"] == [52.0, 53.0, 54.0]
    assert len(draw_study(grid(5, 5, 5, 5))) == MAX_PANELS


def test_the_page_needs_nothing_else_and_escapes_names(result):
    page = render_study(result)
    assert "&lt;study&gt; &amp; more" in page
    assert "<study>" not in page
    assert "Content-Security-Policy" in page
    outside = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert re.findall(r"""(?:src|href)\s*=\s*"[^#]|url\(|@import""", outside) == []
    assert re.findall(r'id="chart-([^"]+)"', page) == ["sweep-0", "sweep-1"]


def test_the_page_has_every_point(result):
    rows = re.findall(r"<tr><td>([^<]*)</td><td>([^<]*)</td><td>", render_study(result))
    shown = [(value, mean.replace("\u202f", " ")) for value, mean in rows]
    assert shown == [("0.1", "70.00 %"), ("0.001", "97.00 %"), ("4", "90.00 %"), ("ideal", "97.33 %")]


def test_the_page_of_one_chip_and_of_a_cut_grid():
    assert "there is no band" in render_study(grid(2, 2, seeds=1))
    assert "1 more combination is not drawn" in render_study(grid(5, 5, 5, 5))
    assert "not drawn" not in render_study(grid(2, 2, 2))


def test_seeds_are_reported_shortly():
    assert describe_chips([7]) == "1 chip (seed 7)"
    assert describe_chips([2, 3, 4]) == "3 chips (seeds 2..4)"
    assert describe_chips([2, 4, 3]) == "3 chips (seeds 2, 4, 3)"
    assert describe_chips([9, 7, 5, 3, 1, 0, 2]) == "7 chips (seeds 9, 7, 5, 3, 1, ...)"


def test_the_base_is_reported_once(result):
    based = result.model_copy(update={"base": {"array.on_off_ratio": 9, "array.levels": (0, 0.5, 1)}})
    shown = "array.on_off_ratio = 9, array.levels = 0/0.5/1"
    assert shown in write_text(based)
    assert render_study(based).count(shown) == 1

"""The page of a run, and its parts on the whole chip, sampled chips, mappings and zero slices."""

from __future__ import annotations

import json
import re

import pytest
from chip_schedules import make_schedule
from mapped_networks import make_map
from reload_schedules import make_reload

from mho.errors import ConfigError, InputFileError
from mho.formats import TIMES
from mho.report.chart_svg import Chart
from mho.report.drawing_files import draw_slowest
from mho.report.figures import accuracy_against_cost, build_figures, count_hidden
from mho.report.map_document import MapDocument
from mho.report.page import flatten, render_page
from mho.report.page_sections import sections_of
from mho.report.result import RunResult, read_result
from mho.report.result_figures import ChipAccuracies, ChipFigures, ZeroSliceFigures
from mho.report.result_text import describe_accuracy, describe_speed
from mho.report.schedule_document import AreaFigures
from mho.report.timeline import TimelineView
from mho.scheduling.regime import Regime


@pytest.fixture
def page(result) -> str:
    return render_page(result)


def section(page: str, name: str) -> str:
    """The content of the section of that id."""
    return re.search(rf'<section id="{name}".*?</h2>(.*?)</section>', page, re.S)[1]


def rows_of(text: str) -> list[list[str]]:
    """The cells of each row of its tables, with their headers."""
    rows = re.findall(r"<tr>(.*?)</tr>", text, re.S)
    return [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in rows]


def test_the_page_asks_the_network_for_nothing(page):
    assert not re.search(r"""(src|href)\s*=\s*"[^#]|@import|url\(|fetch\(|https?://""", page)
    assert "default-src 'none'" in page


def test_the_page_shows_sentence_and_key_figures(page, result):
    assert "A sentence with &lt;brackets&gt; &amp; an ampersand." in page
    for text in (
        "97.80\u202f%",
        "98.20\u202f%",
        "98.40\u202f%",
        "2.22\u00d7",
        "9.00\u202fms",
        "20.0\u202fms",
        "1 of 2",
    ):
        assert text in page, text
    for layer in result.layers:
        assert layer.name in page


def test_the_page_tells_the_price_of_an_ideal_adc(page, result):
    seen = "ideal ADC (needs 12 bits); time of conversions: 0.01 us a bit"
    shown = seen.replace(" us", "\u202fµs")
    assert shown not in page
    assert f"{shown}." in render_page(result.model_copy(update={"conversion": seen}))


def test_every_chart_of_the_page_has_its_place_labelled_axes_and_words_for_who_cannot_see_it(page, result):
    for name, figure in build_figures(result).items():
        place = page[page.index(f'id="chart-{name}"') :]
        count = 1 + bool(Chart.of(figure).slim)
        assert place.count("<svg", 0, place.index("</div></div>")) == count, "for wide and for narrow pages"
        assert f'role="img" aria-label="{figure["layout"]["meta"]["alt"]}"' in place
        assert figure["layout"]["yaxis"]["title"]["text"]


def test_the_table_of_contents_names_every_section_and_every_heading_has_an_id(page, result):
    links = re.findall(r'<li><a href="#(\w+)">(.*?)</a></li>', page)
    headings = re.findall(r'<section id="(\w+)"[^>]*>\s*<h2 id="[^"]+">(.*?)</h2>', page)
    assert links == headings == [(one.name, one.title) for one in sections_of(result)]
    assert not re.search(r"<h[23]>", page)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert not re.search(r"<th(?!ead)(?![^>]*scope=)", page)


def test_names_in_charts_cannot_become_elements(result):
    layers = tuple(layer.model_copy(update={"name": "</script><b>"}) for layer in result.layers)
    page = render_page(result.model_copy(update={"layers": layers}))
    assert "</script><b>" not in page


def test_failed_and_hopeless_policies_are_counted_and_not_drawn(result):
    drawn = sum(len(trace["x"]) for trace in accuracy_against_cost(result.search)["data"] if trace["mode"] == "markers")
    assert count_hidden(result.search) >= 1
    assert drawn + count_hidden(result.search) == len(result.search.evaluations)


def test_a_result_reads_back_from_its_json(tmp_path, result):
    path = tmp_path / "result.json"
    path.write_text(result.model_dump_json())
    assert read_result(path) == result
    path.write_text("{")
    with pytest.raises(InputFileError, match="not JSON"):
        read_result(path)
    path.write_text(json.dumps({**json.loads(result.model_dump_json()), "sead": 3}))
    with pytest.raises(ConfigError, match="did you mean 'seed'"):
        read_result(path)


def test_the_sentence_tells_speed_and_accuracy(result: RunResult):
    found, *others = (result.candidate(name) for name in ("found", "reference", "float"))
    text = describe_speed(found, others[0], network="resnet8", chip="chip").replace("\u202f", " ")
    assert "answers 2.22\u00d7 as fast on chip as at uniform 8/8 (9.00 ms instead of 20.0 ms an inference)" in text
    text = describe_accuracy(result).replace("\u202f", " ")
    assert "integer-reference accuracy on the test samples of digits is 97.80 %, 0.40 points below uniform" in text
    assert "uniform 8/8 (98.20 %) and 0.60 points below float32 (98.40 %)." in text
    assert text.endswith("Chips of pelke2026-4bit compute these integers exactly.")
    unsampled = describe_accuracy(result.model_copy(update={"unsampled": "too large"}))
    assert "No chips of pelke2026-4bit were sampled" in unsampled
    assert unsampled.endswith("not ideal: too large.")


def test_nested_settings_become_dotted_rows():
    assert flatten({"a": {"b": 1, "c": None}, "d": "x"}) == [("a.b", "1"), ("a.c", "—"), ("d", "x")]


FIGURES = (
    ChipFigures(name="reference", label="uniform 8/8", reason="net: the layers take 99 crossbars"),
    ChipFigures(
        name="found", label="found policy", regime=Regime.WEIGHT_STATIONARY, minimal_crossbars=12, used_crossbars=1234,
        latency_us=56.0, bound_us=55.9, interval_us=0.25, total_us=70.0,
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def timeline():
    return TimelineView.of(make_schedule()[0].draw_gantt())


def render(result, timeline=None):
    hardware = {**result.accelerator, "chip": {"crossbars": 2000, "cores": 1}}
    return render_page(result.model_copy(update={"chip": FIGURES, "accelerator": hardware}), timeline=timeline)


def test_policies_are_reported_with_figures_or_reasons(result):
    part = section(render(result), "chip")
    rows = rows_of(part)
    assert ["uniform 8/8", "no schedule: net: the layers take 99 crossbars"] in rows
    times = ["56.0\u202fµs", "55.9\u202fµs", "250\u202fns"]
    assert ["found policy", "stay", "12", "1,234", *times, "—", "—", "—", "—", "—"] in rows
    assert "2,000 crossbars." in part
    assert 'id="timeline"' not in part


@pytest.mark.parametrize(
    ("content", "regime"),
    [
        ({"is_reloaded": True}, Regime.TIME_MULTIPLEXED),
        ({"is_reloaded": False}, Regime.WEIGHT_STATIONARY),
        ({"is_reloaded": False, "regime": "one-crossbar"}, Regime.ONE_CROSSBAR),
        ({"is_reloaded": False, "reason": "no schedule"}, None),
    ],
)
def test_results_that_predate_the_one_vocabulary_are_read(content, regime):
    assert ChipFigures.model_validate({"name": "found", "label": "found policy", **content}).regime is regime


def test_policies_whose_tiles_are_rewritten_are_reported_with_writes_and_lifetime(result):
    reloaded = ChipFigures(
        name="reference", label="uniform 8/8", regime=Regime.TIME_MULTIPLEXED, minimal_crossbars=99, used_crossbars=7,
        latency_us=80.0, bound_us=70.0, interval_us=80.0, total_us=240.0, energy_pj=3e6, writes=4321,
        cell_writes_per_day=2e9, lifetime_inputs=100, lifetime_days=0.25, speedup=1.0,
    )  # fmt: skip
    hardware = {**result.accelerator, "chip": {"crossbars": 2000, "cores": 1}}
    area = AreaFigures(total_mm2=2.5, components_mm2={"adc": 2.5}, untold=("dac",))
    changed = result.model_copy(update={"chip": (reloaded, FIGURES[1]), "accelerator": hardware, "area": area})
    page = render_page(changed, timeline=TimelineView.of(make_reload().draw_gantt()))
    part = section(page, "chip")
    rows = rows_of(part)
    times = ["80.0\u202fµs", "70.0\u202fµs", "80.0\u202fµs"]
    worn = ["4,321", "2e+09", "100", "0.25"]
    assert ["uniform 8/8", "rewritten", "99", "7", *times, "3.00\u202fµJ", *worn, f"1.00{TIMES}"] in rows
    assert [len(row) for row in rows if row] == [13, 13, 13]
    assert "2.5 mm² (adc 2.5); unspecified, and not counted: dac." in part
    assert "tiles are rewritten for every inference" in part
    assert "Three inferences with the found policy" in part


def test_the_timeline_stands_in_the_page_with_its_script_and_style(result, timeline):
    page = render(result, timeline)
    assert "Three inferences with the found policy" in page
    assert page.count('id="timeline"') == page.count('id="timeline-data"') == page.count('id="tip"') == 1
    assert ".timeline .rows" in page
    assert 'getElementById("timeline-data")' in page


def test_a_result_that_predates_machines_shows_nothing(result):
    page = render_page(result)
    assert "On the machine" not in page
    assert "timeline" not in page.split("<script>")[0]


def test_the_page_shows_chips_where_they_were_simulated(result):
    answers = tuple(
        ChipAccuracies(name=name, label=label, images=500, hardware="worn", accuracies=(0.5, 0.75))
        for name, label in (("reference", "uniform 8/8"), ("found", "found policy"))
    )
    page = render_page(result.model_copy(update={"chip_accuracies": answers}))
    part = section(page, "chips")
    assert "500 test samples on each of 2 sampled chips of worn" in part
    rows = rows_of(part)
    assert ["found policy", "62.50\u202f%", "0.00\u202f% to 100.00\u202f%", "50.00\u202f%", "75.00\u202f%"] in rows
    (tile,) = re.findall(r'<div class="tile"><b>62.50.%</b><span>(.*?)</span>', page)
    assert tile.startswith("mean accuracy of the found policy on 2 sampled chips of worn (0.00\u202f% to 100.00")
    for other in (render_page(result), render_page(result.model_copy(update={"unsampled": "too large"}))):
        assert "Accuracy on chips" not in other
    assert "which are not ideal: too large" in other


def answers(label, images, *accuracies):
    return ChipAccuracies(name="one", label=label, images=images, hardware="worn", accuracies=accuracies)


def test_the_sentence_says_what_sampled_chips_answer_beside_ideal_integers(result):
    pair = answers("uniform 8/8", 500, 0.9, 0.91), answers("found policy", 500, 0.89, 0.9)
    assert describe_accuracy(result.model_copy(update={"chip_accuracies": pair})).replace("\u202f", " ") == (
        "On 2 sampled chips of worn, it gets 89.50 % (83.15 to 95.85) of 500 test samples of digits right, 8.70 points "
        "below uniform 8/8 with ideal integers (98.20 %); uniform 8/8 gets 90.50 % (84.15 to 96.85) on these chips. "
        "With ideal integers it gets 97.80 %, float32 98.40 %."
    )
    one = answers("found policy", 5, 0.8).model_copy(update={"elapsed_s": 86400.0, "temperature_k": 350.0, "reads": 9})
    text = describe_accuracy(result.model_copy(update={"chip_accuracies": (one,)})).replace("\u202f", " ")
    assert text.startswith(
        "On 1 sampled chip of worn, 86,400 s after the write, at 350 K, after 9 reads, it gets 80.00 % of 5 test sample"
    )


@pytest.fixture
def mapped_page(result) -> str:
    found = make_map()
    return render_page(result.model_copy(update={"map": MapDocument.of("net", found)}), draw_slowest(found, 2))


def test_the_page_tells_every_layers_mapping_and_why(mapped_page):
    for layer in MapDocument.of("net", make_map()).layers:
        assert layer.name in section(mapped_page, "mapping")
        assert layer.mapping.replace("'", "&#39;") in section(mapped_page, "mapping")
        assert layer.why.replace("'", "&#39;") in section(mapped_page, "mapping")


def test_drawings_stand_in_the_page_and_ask_for_nothing(mapped_page):
    own = section(mapped_page, "mapping")
    assert own.count("<svg") == 2
    assert own.count("<details") == 2
    assert not re.search(r"https?://|src\s*=|url\(", own)
    names = set(re.findall(r'\bid="([^"]+)"', own))
    assert set(re.findall(r'href="([^"]*)"', own)) <= {f"#{name}" for name in names}


def test_a_result_without_a_map_has_no_section(result):
    assert 'id="mapping"' not in render_page(result.model_copy(update={"map": None}))


def figures(name: str, label: str, share: float) -> ZeroSliceFigures:
    times = {"latency_us": 4_000.0, "min_latency_us": 3_500.0, "max_latency_us": 4_500.0}
    return ZeroSliceFigures(name=name, label=label, images=200, share=share, **times)


def test_shares_and_times_are_shown_with_the_images_they_come_from(result):
    found = (figures("reference", "uniform 8/8", 0.125), figures("found", "found policy", 0.0625))
    page = render_page(result.model_copy(update={"zero_slices": found}))
    part = re.search(r"<h3[^>]*>Zero slices skipped</h3>(.*?)</section>", page, re.S)[1]
    assert "200 test samples" in part
    rows = rows_of(part)
    assert ["found policy", "6.25\u202f%", "4.00\u202fms", "3.50\u202fms", "4.50\u202fms"] in rows
    assert ["uniform 8/8", "12.50\u202f%", "4.00\u202fms", "3.50\u202fms", "4.50\u202fms"] in rows


def test_a_run_that_measured_nothing_shows_nothing(result):
    assert "Zero slices" not in render_page(result)

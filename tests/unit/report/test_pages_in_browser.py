"""The pages that mho writes, as a browser shows them: on a phone's width, without faults, requests or dead links."""

from __future__ import annotations

import pytest
from browser import look_at
from chip_schedules import make_schedule
from mapped_networks import make_map
from study_results import make_result as make_study
from study_results import point

from mho.report.chart_svg import Chart
from mho.report.drawing_files import draw_slowest
from mho.report.figures import build_figures
from mho.report.map_document import MapDocument
from mho.report.page import render_page
from mho.report.page_sections import sections_of
from mho.report.result_figures import ChipAccuracies, ChipFigures
from mho.report.run_comparison_page import render_run_comparison
from mho.report.schedule_document import ScheduleDocument
from mho.report.schedule_page import render_timeline
from mho.report.study_page import render_study
from mho.report.timeline import TimelineView
from mho.workflow.finished_runs import FinishedRunFiles
from mho.workflow.run_comparison import compare_runs

MOST_BYTES = 1_500_000

MEASURE = """
function measure() {
  const all = (selector) => [...document.querySelectorAll(selector)];
  all("details").forEach((one) => { one.open = true; });
  const width = document.documentElement.clientWidth;
  const scrolled = (one) => one.closest(".scroll, .wide, .slim, .picture, .rows");
  const ids = all("[id]").map((one) => one.id);
  const named = (one) => one.getAttribute("aria-label") || one.querySelector(":scope > title");
  return {
    width,
    wide: all("body *").filter((one) => one.getBoundingClientRect().right > width + 1 && !scrolled(one))
      .map((one) => one.outerHTML.slice(0, 120)),
    scroll_width: document.documentElement.scrollWidth,
    sections: all("section").filter((one) => one.offsetHeight > 60).map((one) => one.id),
    dead_links: all("a, use").map((one) => one.getAttribute("href"))
      .filter((target) => !target.startsWith("#") || !document.getElementById(target.slice(1))),
    double_ids: ids.filter((id, place) => ids.indexOf(id) !== place),
    headings_without_id: all("h2, h3").filter((one) => !one.id).map((one) => one.textContent),
    headers_without_scope: all("th").filter((one) => !one.scope).map((one) => one.textContent),
    unnamed_pictures: all("svg, img, canvas").filter((one) => !named(one.closest("[role=img]") ?? one))
      .map((one) => one.outerHTML.slice(0, 120)),
    unreachable: all(".scroll, .chart svg").filter((one) => one.tabIndex < 0).map((one) => one.outerHTML.slice(0, 120)),
    shown_charts: all(".chart svg").filter((one) => one.getBoundingClientRect().height > 90)
      .map((one) => one.closest(".chart").id),
    ...act(all),
  };
}
"""
NOTHING = "const act = () => ({});"
USE = """
function act(all) {
  const table = document.querySelector("#tried table");
  const cells = (column) => [...table.tBodies[0].rows].filter((row) => !row.hidden)
    .map((row) => row.cells[column].dataset.value ?? row.cells[column].textContent);
  const costs = table.tHead.rows[0].cells[1];
  costs.querySelector("button").click();
  costs.querySelector("button").click();
  const falling = cells(1).map(Number);
  const input = document.querySelector("#tried input");
  input.value = "8/8 8/8";
  input.dispatchEvent(new Event("input"));
  const chart = all("#chart-accuracy svg").find((one) => one.getBoundingClientRect().height);
  chart.focus();
  chart.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
  const tip = document.querySelector(".chart-tip");
  return { falling, sort: costs.ariaSort, filtered: cells(8), tip: tip.hidden ? "" : tip.textContent };
}
"""


def check(found, *, width=400):
    assert found["width"] == width
    assert found["scroll_width"] <= width
    for name in (
        "faults", "requests", "wide", "dead_links", "double_ids", "headings_without_id", "headers_without_scope",
        "unnamed_pictures", "unreachable",
    ):  # fmt: skip
        assert found[name] == [], name


@pytest.fixture
def full(result):
    """A result with every section that has no test of its own page."""
    found = make_map()
    long_key = {
        "converters": {"adc_latency_us_per_bit_of_the_shared_columns": "half-full-scale-of-all-rows-that-are-driven"}
    }
    hardware = {**result.accelerator, **long_key, "chip": {"crossbars": 2000, "cores": 1}}
    on_chip = ChipFigures(
        name="found", label="found policy", minimal_crossbars=12, used_crossbars=1234, latency_us=56.0, bound_us=55.9,
        interval_us=0.25, total_us=70.0,
    )  # fmt: skip
    sampled = ChipAccuracies(name="found", label="found policy", images=500, hardware="worn", accuracies=(0.5, 0.75))
    changes = {
        "map": MapDocument.of("net", found),
        "chip": (on_chip,),
        "accelerator": hardware,
        "chip_accuracies": (sampled,),
    }
    return result.model_copy(update=changes), draw_slowest(found, 2)


def test_the_report_of_a_run(full, tmp_path):
    result, pictures = full
    page = render_page(result, pictures, TimelineView.of(make_schedule()[0].draw_gantt()))
    assert len(page.encode()) < MOST_BYTES
    found = look_at(page, USE + MEASURE, tmp_path, width=400)
    check(found)
    assert found["sections"] == [one.name for one in sections_of(result)]
    assert found["shown_charts"] == [f"chart-{name}" for name in build_figures(result) if name != "searches"]
    assert found["sort"] == "descending"
    assert found["falling"] == sorted((entry.cost for entry in result.search.evaluations), reverse=True)
    assert len(found["filtered"]) >= 1
    assert all("8/8" in bits for bits in found["filtered"])
    assert found["tip"].startswith("policy ")


def test_the_largest_report_stays_small(result):
    """A thousand policies of a hundred layers: charts and table together."""
    layers = [result.layers[0].model_copy(update={"name": f"blocks.{k}.attention.projection"}) for k in range(100)]
    entry = result.search.evaluations[1]
    entries = [
        entry.model_copy(
            update={
                "index": k,
                "weight_bits": (4,) * 100,
                "act_bits": (4,) * 100,
                "cost": 1e9 + k,
                "accuracy": 0.97,
                "on_front": True,
            }
        )
        for k in range(1000)
    ]
    search = result.search.model_copy(update={"evaluations": tuple(entries), "best": 11, "finalists": (11,)})
    large = result.model_copy(update={"layers": tuple(layers), "search": search})
    assert len(render_page(large).encode()) < MOST_BYTES
    assert Chart.of(build_figures(large)["accuracy"]).alt.startswith("Accuracy over latency")


def test_the_page_of_a_study(tmp_path):
    noise, bits = "array.read_noise", "converters.adc_bits"
    study = make_study(
        [(noise, [0.1, 0.001], "log"), (bits, [4, "ideal"], "category")],
        [point({noise: 0.1}, [60, 70, 80], noise), point({noise: 0.001}, [97, 97, 97], noise),
         point({bits: 4}, [90, 91, 89], bits), point({bits: "ideal"}, [97, 98, 97], bits)],
    )  # fmt: skip
    found = look_at(render_study(study), NOTHING + MEASURE, tmp_path, width=400)
    check(found)
    assert found["shown_charts"] == ["chart-sweep-0", "chart-sweep-1"]


def test_the_page_of_a_schedule(tmp_path):
    schedule = make_schedule()[0]
    document = ScheduleDocument.of("net", schedule, with_energy=True)
    found = look_at(render_timeline(document, schedule.draw_gantt()), NOTHING + MEASURE, tmp_path, width=400)
    check(found)
    assert found["sections"] == ["schedule", "layers"]


def test_the_page_of_two_runs(result, tmp_path):
    document = compare_runs(FinishedRunFiles("runs/a", result, None), FinishedRunFiles("runs/b", result, None))
    found = look_at(render_run_comparison(document), NOTHING + MEASURE, tmp_path, width=400)
    check(found)
    assert "policies" in found["sections"]

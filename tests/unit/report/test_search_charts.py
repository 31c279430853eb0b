import itertools
import re

import pytest

from mho.report.chart_parts import base_layout, show_layers
from mho.report.figures import build_figures, lowest_shown, search_progress
from mho.report.page import render_page
from mho.report.result import RunResult
from mho.report.result_search import BestSoFar, OperandWorth, SearchSummary, StepWorth
from mho.report.result_task import TaskFigures
from mho.report.search_charts import (
    MOST_POLICIES,
    choices_along_front,
    compared_searches,
    course_of_searches,
    describe_search,
    find_front,
    front_over_time,
    worth_of_bits,
)


def worth(layer: str, operand: str, bits: int, likely: float = 1e-3) -> OperandWorth:
    step = StepWorth(bits=bits - 1, cost=-5e8, loss=likely, low=likely / 3, high=3 * likely)
    more = step.model_copy(update={"bits": bits + 1, "cost": 5e8, "loss": -likely, "low": -likely, "high": -likely / 9})
    return OperandWorth(
        layer=layer, operand=operand, bits=bits, less=step if bits > 1 else None, more=more if bits < 8 else None
    )


def summary(method: str, evaluated: int = 40, **changes) -> SearchSummary:
    course = [BestSoFar(evaluated=count, gain=1 + count / 40, accuracy=0.97) for count in (1, 20, evaluated)]
    content = {
        "name": f"search-{method}-{evaluated}", "method": method, "objective": "latency", "unit": "ps",
        "goal": "1.00 points allowed", "evaluated": evaluated, "cost": 1e10, "gain": 2.0, "accuracy": 0.97,
        "course": course, **changes,
    }  # fmt: skip
    return SearchSummary.model_validate(content)


@pytest.fixture
def result_of(result) -> RunResult:
    """A result with worths of bits, and with other searches in its directory."""
    worths = [worth(layer.name, operand, 4) for layer in result.layers for operand in ("weight", "activation")]
    searches = (
        summary("rl"), summary("exact"), summary("exact", 80),
        summary("tpe", goal="within 9 ms"), summary("evolution", cost=None, gain=None, accuracy=None),
    )  # fmt: skip
    return result.model_copy(update={"worths": tuple(worths), "searches": searches})


def budgeted(result: RunResult) -> RunResult:
    changes = {"cost_budget": 1.2e10, "target_accuracy": None, "allowed_drop": None}
    return result.model_copy(update={"search": result.search.model_copy(update=changes)})


def test_fronts_after_more_evaluations_never_fall(result):
    """Each later front has, for every point of an earlier one, a point as cheap and as accurate."""
    traces = front_over_time(result.search, 0.0)["data"]
    assert [trace["name"] for trace in traces] == ["after 5", "after 10", "after 20", "after 40"]
    for earlier, later in itertools.pairwise(traces):
        for cost, accuracy in zip(earlier["x"], earlier["y"], strict=True):
            assert any(c <= cost and a >= accuracy for c, a in zip(later["x"], later["y"], strict=True))
        assert earlier["opacity"] < later["opacity"]


def test_the_last_front_is_that_of_the_result(result):
    assert {e.index for e in find_front(result.search.evaluations)} == {
        e.index for e in result.search.evaluations if e.on_front
    }


def test_the_choices_show_the_front_and_the_found_policy_with_a_star(result):
    figure = choices_along_front(result, lowest_shown(result.search))
    weights, acts = figure["data"]
    labels = figure["layout"]["xaxis"]["ticktext"]
    found = result.search.evaluations[result.search.best]
    place = next(k for k, label in enumerate(labels) if label.startswith("\u2605"))
    assert [row[place] for row in weights["z"]] == list(found.weight_bits)
    assert [row[place] for row in acts["z"]] == list(found.act_bits)
    assert weights["y"] == [layer.name for layer in result.layers]
    assert len(labels) == len(weights["x"])


def test_a_long_front_is_thinned_out_and_keeps_the_found_policy(result):
    entries = [e.model_copy(update={"on_front": True, "accuracy": 0.97}) for e in result.search.evaluations]
    search = result.search.model_copy(update={"evaluations": tuple(entries)})
    figure = choices_along_front(result.model_copy(update={"search": search}), 0.0)
    assert len(figure["data"][0]["x"]) <= MOST_POLICIES
    assert sum(label.startswith("\u2605") for label in figure["layout"]["xaxis"]["ticktext"]) == 1


def test_bars_of_uncertainty_end_at_the_percentiles_and_operands_of_one_bit_are_left_out():
    worths = [worth("a", "weight", 4), worth("b", "weight", 1), worth("a", "ADC", 5, 1e-9)]
    weights, adcs = worth_of_bits(worths, "ps")["data"]
    assert weights["x"] == ["a"]
    assert weights["y"][0] + weights["error_y"]["array"][0] == pytest.approx(3e-3)
    assert weights["y"][0] - weights["error_y"]["arrayminus"][0] == pytest.approx(1e-3 / 3)
    assert weights["hovertext"] == ["a, weights: 4 to 3 bit saves 500\u202fµs, loss +0.001 (+0.00033 to +0.003)"]
    assert adcs["y"] == [1e-6]
    assert adcs["error_y"]["arrayminus"] == [0.0]


def test_searches_for_the_same_are_compared_and_named_apart(result_of):
    compared = compared_searches(result_of)
    assert [describe_search(one, compared) for one in compared] == [
        "rl", "exact, 40 policies", "exact, 80 policies", "evolution",
    ]  # fmt: skip
    traces = course_of_searches(compared, TaskFigures(), has_budget=False)["data"]
    assert traces[0]["y"] == [1 + 1 / 40, 1.5, 2.0]
    assert course_of_searches(compared, TaskFigures(), has_budget=True)["data"][0]["y"] == [97.0] * 3
    assert compared_searches(result_of.model_copy(update={"searches": result_of.searches[:1]})) == ()


def test_the_page_shows_worths_and_searches_where_there_are_some(result_of, result):
    page, plain = render_page(result_of), render_page(result)
    for name in build_figures(result_of):
        assert f'id="chart-{name}"' in page
    assert {"worths", "searches", "front", "choices"} <= set(build_figures(result_of))
    assert "chart-worths" not in plain
    assert "What each search found" not in plain
    rows = re.findall(r"<tr><th scope=\"row\">(\w+)( \(this run\))?</th><td class=\"text\">latency", page)
    assert [name for name, _ in rows] == ["rl", "exact", "exact", "tpe", "evolution"]
    assert "within 9 ms" in page
    assert "-1.00 (-1.00 to -0.11)" in page


def test_within_a_cost_budget_the_page_tells_the_limit_and_charts_show_accuracy(result):
    limited = budgeted(result)
    page = render_page(limited)
    assert "the most accurate within a cost of 12.0\u202fms" in page
    progress = search_progress(limited)
    accepted = next(trace for trace in progress["data"] if trace["name"] == "cheap enough")
    cheap = [e for e in result.search.evaluations if e.cost <= 1.2e10 and e.accuracy is not None]
    assert len(accepted["x"]) == len(cheap)
    assert accepted["y"] == [pytest.approx(100 * entry.accuracy, abs=1e-3) for entry in cheap]
    assert build_figures(limited)["accuracy"]["layout"]["shapes"][0]["x0"] == pytest.approx(12.0)


def test_charts_of_layers_with_long_names_are_higher():
    """Bars keep their room: what slanted names take below is added."""
    heights = {}
    for length in (10, 16, 60):
        names = [f"{k}".rjust(length, "x") for k in range(12)]
        layout = base_layout("", "bits", height=300, alt="")
        show_layers(layout, names)
        assert layout["xaxis"]["categoryarray"] == names
        heights[length] = layout["height"]
    assert heights[10] == heights[16] == 300
    assert 480 < heights[60] < 540, "44 more characters of 11 px, slanted by 45 degrees"
    few = base_layout("", "bits", height=300, alt="")
    show_layers(few, ["x" * 60] * 3)
    assert (few["height"], few["xaxis"]["tickangle"]) == (300, 0)

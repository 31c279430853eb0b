"""Why the found policy was chosen: in sentences, in a table, and by marks of a chart."""

from __future__ import annotations

import re

import pytest

from mho.bit_search.verdicts import Verdict
from mho.report.choice_text import MOST_ROWS, explain_choice, list_tried
from mho.report.figures import accuracy_against_cost, search_progress
from mho.report.page import render_page
from mho.report.result_search import BestSoFar, SearchSummary


@pytest.fixture
def judged(result):
    """The found policy is a mean of five seeds; a cheaper one was measured once, another loses too much."""
    search = result.search
    found = search.evaluations[search.best]
    cheaper = sorted((e for e in search.evaluations if e.cost < found.cost), key=lambda e: e.cost)
    entries = []
    for entry in search.evaluations:
        changes = {"verdict": Verdict.COSTLIER, "smoothed": entry.accuracy}
        if entry.index == search.best:
            changes = {
                "verdict": Verdict.FOUND,
                "seeds": 5,
                "low": found.accuracy - 0.01,
                "high": found.accuracy + 0.01,
            }
        elif entry.index == 0:
            changes = {"verdict": Verdict.REFERENCE, "seeds": 5}
        elif entry in cheaper:
            changes = {"verdict": Verdict.INACCURATE if entry is cheaper[0] else Verdict.FEW_SEEDS}
        entries.append(entry.model_copy(update=changes))
    changed = search.model_copy(update={"evaluations": tuple(entries), "smoothed_target": 0.957})
    return result.model_copy(update={"search": changed}), len(cheaper)


def test_sentences_tell_the_rule_and_why_no_cheaper_policy_was_taken(judged):
    result, cheaper = judged
    shown = [sentence.replace("\u202f", " ") for sentence in explain_choice(result)]
    assert shown[0].startswith("The star is policy 12: ")
    assert "(mean of 5 seeds, 95 % interval " in shown[0]
    assert "cheapest policy with at least 95.50 %" in shown[1]
    assert "then from 95.70 %" in shown[1]
    assert "measured with 5 seeds" in shown[1]
    assert shown[2].startswith(
        f"Of the other policies, {cheaper} cost no more: 1 below the accepted accuracy as measured"
    )
    assert f"{cheaper - 1} measured with fewer seeds" in shown[2]


def test_results_that_predate_verdicts_are_shown_without_reasons(result):
    assert explain_choice(result) == ()
    assert "Why this policy" in render_page(result)


def test_the_table_has_every_policy_the_cheapest_first_with_its_outcome(judged):
    result, _ = judged
    page = render_page(result)
    part = re.search(r'<details id="tried">(.*?)</details>', page, re.S)[1]
    numbers = [int(number) - 1 for number in re.findall(r'<th scope="row">(\d+)</th>', part)]
    costs = [result.search.evaluations[number].cost for number in numbers]
    assert sorted(numbers) == list(range(len(result.search.evaluations)))
    assert costs == sorted(costs)
    assert part.count('class="chosen"') == part.count(">chosen<") == 1
    assert "too few seeds" in part


def test_of_very_many_policies_the_cheapest_and_the_found_one_are_listed(result):
    entry = result.search.evaluations[1]
    many = [entry.model_copy(update={"index": k, "cost": 1e9 + k}) for k in range(2 * MOST_ROWS)]
    search = result.search.model_copy(update={"evaluations": tuple(many), "best": 2 * MOST_ROWS - 1})
    kept = [one.index for one in list_tried(search)]
    assert kept == [*range(MOST_ROWS - 2), 2 * MOST_ROWS - 1]


def test_single_measurements_are_hollow_and_means_have_their_interval(judged):
    result, _ = judged
    traces = {trace["name"]: trace for trace in accuracy_against_cost(result.search)["data"]}
    assert traces["one measurement"]["marker"]["symbol"].endswith("-open")
    found = traces["found policy"]
    assert found["error_y"]["array"] == pytest.approx([1.0])
    assert found["error_y"]["arrayminus"] == pytest.approx([1.0])
    assert "mean of 5 seeds; chosen" in found["hovertext"][0]
    assert "error_y" not in traces["one measurement"]


def test_the_line_of_the_best_so_far_is_the_searchs_own(judged):
    result, _ = judged
    summary = SearchSummary(
        name="search", method="rl", objective="latency", unit="ps", goal="", evaluated=40, cost=1e10, gain=1.5,
        accuracy=0.96,
        course=tuple(BestSoFar(evaluated=count, gain=gain, accuracy=0.96) for count, gain in ((1, 1.0), (40, 1.5))),
    )  # fmt: skip
    line = search_progress(result.model_copy(update={"searches": (summary,)}))["data"][-1]
    assert (line["x"], line["y"]) == ([1, 40], [1.0, 1.5])
    assert all("best so far" not in trace["name"] for trace in search_progress(result)["data"])

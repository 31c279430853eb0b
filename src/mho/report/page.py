"""The page of a run: one HTML file that needs nothing else, made from a `RunResult` and drawings of its layers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mho.report.chart_svg import Chart
from mho.report.choice_text import explain_choice
from mho.report.drawing_files import Picture
from mho.report.figures import build_figures, count_hidden
from mho.report.page_sections import sections_of
from mho.report.page_template import render_template
from mho.report.result import EXACT, RunResult
from mho.report.timeline import TimelineView


def render_page(result: RunResult, pictures: Sequence[Picture] = (), timeline: TimelineView | None = None) -> str:
    """Return the HTML page of a run.

    Args:
        result: every figure on the page.
        pictures: drawings of some layers.
        timeline: of the found policy on the whole chip.
    """
    return render_template(
        "page.html.j2",
        sections=sections_of(result),
        result=result,
        found=result.candidate("found"),
        reference=result.candidate("reference"),
        float=result.candidate("float"),
        hidden=count_hidden(result.search),
        choice=explain_choice(result),
        exact_integers=EXACT,
        pictures=pictures,
        timeline=timeline,
        settings=flatten(result.settings),
        hardware=flatten({key: value for key, value in result.accelerator.items() if key != "sources"}),
        sources=result.accelerator.get("sources", {}),
        charts={name: Chart.of(figure) for name, figure in build_figures(result).items()},
    )


def flatten(tables: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested tables as (dotted key, text) pairs, in order."""
    rows: list[tuple[str, str]] = []
    for key, value in tables.items():
        if isinstance(value, Mapping):
            rows += flatten(value, f"{prefix}{key}.")
        else:
            rows.append(
                (prefix + key, "—" if value is None else value if isinstance(value, str) else json.dumps(value))
            )
    return rows

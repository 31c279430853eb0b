"""The page of a study: one HTML file that needs nothing else, made from a `StudyResult` alone."""

from __future__ import annotations

from mho.report.chart_svg import Chart
from mho.report.page_template import render_template
from mho.report.study_document import StudyResult
from mho.report.study_figures import count_panels, draw_study
from mho.report.study_text import describe_chips, swept_keys


def render_study(result: StudyResult) -> str:
    """Return the HTML page of a study."""
    panels = draw_study(result)
    keys = [one.key for one in result.sweeps]
    return render_template(
        "study.html.j2",
        result=result,
        panels=panels,
        sources=_name_sources(result),
        hidden=count_panels(result) - len(panels),
        chips=describe_chips(result.seeds),
        lowest=min(result.points, key=lambda point: point.worst),
        best=max(result.points, key=lambda point: point.mean),
        poorest=min(result.points, key=lambda point: point.mean),
        tables=[(keys if key is None else [key], result.points_of(key)) for key in swept_keys(result)],
        charts={panel.name: Chart.of(panel.figure) for panel in panels},
    )


def _name_sources(result: StudyResult) -> list[str]:
    """Return what was studied in few words: none that says what the name, or one before it, says already."""
    found = [result.name]
    for words in (result.program.source, result.program.accelerator, result.samples.source):
        if not any(words in known for known in found):
            found.append(words.removeprefix(f"{result.name}, "))
    return found[1:]

"""Two runs compared, as a page: one HTML file that needs nothing else."""

from __future__ import annotations

from functools import partial

from mho.report.page_template import render_template
from mho.report.run_comparison_document import RunComparison
from mho.report.run_comparison_text import (
    NAMES,
    NONE,
    describe_better,
    format_difference,
    format_interval,
    format_measure,
    format_p,
)

_SECTIONS = (
    {"name": "runs", "title": "Runs"},
    {"name": "accuracy", "title": "Accuracy of the found policies"},
    {"name": "figures", "title": "Time, energy and size of the found policies"},
    {"name": "settings", "title": "Settings that differ"},
    {"name": "policies", "title": "Policies"},
)
"""For the table of contents."""


def render_run_comparison(document: RunComparison) -> str:
    """Return the HTML page of a comparison."""
    return render_template(
        "run_comparison.html.j2",
        sections=_SECTIONS,
        document=document,
        names=NAMES,
        missing=NONE,
        better=describe_better,
        difference=format_difference,
        interval=format_interval,
        measure=partial(format_measure, page=True),
        p_value=format_p,
    )

"""Two runs compared, as a page: one HTML file that needs nothing else."""

from __future__ import annotations

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


def render_run_comparison(document: RunComparison) -> str:
    """Return the HTML page of a comparison."""
    return render_template(
        "run_comparison.html.j2",
        document=document,
        names=NAMES,
        none=NONE,
        better=describe_better,
        difference=format_difference,
        interval=format_interval,
        measure=format_measure,
        p_value=format_p,
    )

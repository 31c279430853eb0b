"""The page of a run: one HTML file that needs nothing else, made from a `RunResult` and drawings of its layers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from mho import formats
from mho.report.drawing_files import Picture
from mho.report.figures import build_figures, count_hidden
from mho.report.result import EXACT, RunResult
from mho.report.timeline import TIMELINE_PARTS, TimelineView

if TYPE_CHECKING:
    import jinja2


def render_page(result: RunResult, pictures: Sequence[Picture] = (), timeline: TimelineView | None = None) -> str:
    """Return the HTML page of a run. It holds its scripts and styles and asks the network for nothing.

    Args:
        result: every figure on the page.
        pictures: drawings of some layers.
        timeline: of the found policy on the whole chip.
    """
    from plotly.offline import get_plotlyjs

    charts = build_figures(result)
    environment = make_environment(_TEMPLATES)
    environment.filters |= {
        "cost": formats.format_cost,
        "latency": partial(formats.format_time, page=True),
        "size": partial(formats.format_bytes, page=True),
        "duration": formats.format_seconds,
    }
    return environment.get_template("page.html.j2").render(
        result=result,
        found=result.contender("found"),
        reference=result.contender("reference"),
        float=result.contender("float"),
        hidden=count_hidden(result),
        exact_integers=EXACT,
        pictures=pictures,
        timeline=timeline,
        settings=flatten(result.settings),
        hardware=flatten({key: value for key, value in result.accelerator.items() if key != "sources"}),
        sources=result.accelerator.get("sources", {}),
        charts=charts,
        figures=as_script(charts),
        plotly=get_plotlyjs(),
    )


_TEMPLATES = ("page.html.j2", "style.css", "page.js", *TIMELINE_PARTS)


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


def make_environment(names: Sequence[str]) -> jinja2.Environment:
    """Return what renders the templates of those names; numbers have the filters ``percent`` and ``count``."""
    import jinja2

    folder = files("mho.report") / "templates"
    environment = jinja2.Environment(
        loader=jinja2.DictLoader({name: (folder / name).read_text(encoding="utf-8") for name in names}),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": formats.format_percent, "count": formats.format_count}
    return environment


def as_script(value: Any) -> str:
    """Return JSON that may stand inside a script element."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c").replace("\u2028", "\\u2028")

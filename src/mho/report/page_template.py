"""Renders the templates of pages. A page holds its scripts and styles and asks the network for nothing."""

from __future__ import annotations

import re
from functools import partial
from importlib.resources import files
from typing import Any

from mho import formats
from mho.report import choice_text, network_tables
from mho.report.study_text import describe_band, format_value


def _page_units(text: str) -> str:
    """Return prose of the terminal with the sign of microseconds that pages have."""
    return re.sub(r"(?<=\d) us\b", "\u202fµs", text)


_FILTERS = {
    "page_units": _page_units,
    "percent": formats.format_percent,
    "metric": lambda quality, task: task.judged_by.format(quality, page=True),
    "drop": lambda lost, task: task.judged_by.format_drop(task.scale * lost),
    "drop_number": lambda lost, task: task.judged_by.format_number(task.scale * lost),
    "count": formats.format_count,
    "cost": formats.format_cost,
    "latency": partial(formats.format_time, page=True),
    "size": partial(formats.format_bytes, page=True),
    "duration": formats.format_seconds,
    "value": format_value,
    "band": describe_band,
    "outcome": choice_text.describe_outcome,
    "tried": choice_text.list_tried,
    "energy": partial(formats.format_energy, page=True),
    "confusion_matrix": network_tables.build_matrix,
    "confusions": network_tables.list_confusions,
    "class_rows": network_tables.list_classes,
    "energy_components": network_tables.list_energy_components,
}


def render_template(name: str, **content: Any) -> str:
    """Return a page from one of the templates of this package, which may include others."""
    import jinja2

    folder = files("mho.report") / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda one: (folder / one).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= _FILTERS
    return environment.get_template(name).render(**content)

"""Charts of pages as Plotly figures, for notebooks: the colours that a page names become those of its light theme."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from mho.report.chart_parts import Figure

if TYPE_CHECKING:
    import plotly.graph_objects

_VARIABLE = re.compile(r"var\(--([\w-]+)\)")


def make_plotly(figure: Figure) -> plotly.graph_objects.Figure:
    """Return a chart of `mho.report` as a figure that shows itself in notebooks and writes itself to files."""
    import plotly.graph_objects

    content = _with_colours(figure)
    content["layout"]["font"].pop("family", None)  # a page's own, which no other document has
    return plotly.graph_objects.Figure({**content, "layout": {"template": "none", **content["layout"]}})


def _with_colours(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_colours(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_with_colours(part) for part in value]
    return _VARIABLE.sub(lambda found: _colours()[found[1]], value) if isinstance(value, str) else value


@cache
def _colours() -> dict[str, str]:
    """Return the colours of the light theme, by the names that pages have for them."""
    style = (files("mho.report") / "templates" / "style.css").read_text(encoding="utf-8")
    light = style[style.index(":root") : style.index("@media")]
    return dict(re.findall(r"--([\w-]+): (#\w+);", light))

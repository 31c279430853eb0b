"""Charts of what the public functions return, as Plotly figures: those of the reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mho.argument_checks import check_arguments
from mho.cost_model.cost import Cost
from mho.cost_model.network_map import NetworkMap
from mho.display import Drawable
from mho.errors import MhoError, suggest
from mho.scheduling.schedule import Schedule

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as PlotlyFigure

    from mho.bit_search.runner import SearchResult
    from mho.report.chart_parts import Figure


@check_arguments("value")
def plot(value: Drawable, chart: str | None = None) -> PlotlyFigure:
    """Draw a value; `value.plot(chart)` is the same.

    Args:
        value: a `Cost` or `NetworkMap` (time by layer; of a map beside its bound), a `Schedule` (which crossbars work
            when, in colours of layers), a `SearchResult` (accuracy over cost of all policies, with the Pareto front),
            a `StudyResult` (accuracy over a swept parameter, with bands) or a `FinishedRun` (charts of its page).
        chart: which of several; None: the first. Of a search "accuracy" or "front" (after more and more policies); of
            a study the dotted key of a sweep, or "grid-0", "grid-1", ...; of a run "accuracy", "bits", "latency",
            "progress" and the others of its page.

    Returns:
        A `plotly.graph_objects.Figure`: ``figure.show()``, ``figure.write_html(path)``.

    Raises:
        MhoError: there is no such chart; names those that there are.
        ScheduleError: buffers are too small for the schedule, which is simulated for its chart.
    """
    from mho.report.plotly_figures import make_plotly

    figures = _list_figures(value)
    name = next(iter(figures)) if chart is None else chart
    if name not in figures:
        known = ", ".join(f'"{one}"' for one in figures)
        raise MhoError(f"there is no chart {name!r}", where="plot", expected=known, hint=suggest(f"{name}", figures))
    return make_plotly(figures[name])


def _list_figures(value: Drawable) -> dict[str, Figure]:
    """Return the charts of a value by name, the one that is drawn first at first. Raises `MhoError`."""
    from mho.bit_search.runner import SearchResult
    from mho.report.figures import build_figures, times_by_layer
    from mho.report.study_document import StudyResult
    from mho.report.study_figures import draw_study
    from mho.workflow.run import FinishedRun

    if isinstance(value, Cost):
        names = [layer.mapping.layer.name for layer in value.layers]
        times = [layer.latency_ps / 1e6 for layer in value.layers]
        return {"latency": times_by_layer(names, {value.accelerator.name: ("var(--found)", times)}, "on one crossbar")}
    if isinstance(value, NetworkMap):
        times = [layer.cost.latency_ps / 1e6 for layer in value.layers]
        bounds = [layer.bound.latency_ps / 1e6 for layer in value.layers]
        series = {"bound": ("var(--reference)", bounds), "mapping": ("var(--found)", times)}
        return {
            "latency": times_by_layer(
                [layer.name for layer in value.layers], series, "and the bounds of their mappings"
            )
        }
    if isinstance(value, Schedule):
        return {"timeline": _draw_timeline(value)}
    if isinstance(value, SearchResult):
        return _draw_search(value)
    if isinstance(value, StudyResult):
        panels = draw_study(value)
        if not panels:
            raise MhoError("a study without sweeps has no chart", where="plot", hint="its table() has the one point")
        is_sweep = all(panel.name.startswith("sweep-") for panel in panels)
        return {panel.title if is_sweep else panel.name: panel.figure for panel in panels}
    if isinstance(value, FinishedRun):
        return build_figures(value.result)
    kinds = "a Cost, NetworkMap, Schedule, SearchResult, StudyResult or FinishedRun"
    raise MhoError(f"a {type(value).__name__} has no chart", where="plot", expected=kinds)


def _draw_timeline(schedule: Schedule) -> Figure:
    from mho.report.schedule_chart import MOST_BARS, draw_schedule
    from mho.scheduling.chip_schedule import ChipSchedule
    from mho.simulation.chip_search import SimulatedSchedule

    if isinstance(schedule, ChipSchedule) and not (
        isinstance(schedule, SimulatedSchedule) and schedule.timing.with_spans
    ):
        schedule = SimulatedSchedule.of(schedule, with_spans=True)
    return draw_schedule(schedule.draw_gantt(MOST_BARS))


def _draw_search(result: SearchResult) -> dict[str, Figure]:
    from mho.report.figures import accuracy_against_cost, lowest_shown
    from mho.report.search_charts import front_over_time
    from mho.workflow.search_results import describe_result

    search = describe_result(result)
    return {"accuracy": accuracy_against_cost(search), "front": front_over_time(search, lowest_shown(search))}

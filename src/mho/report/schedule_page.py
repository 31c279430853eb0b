"""The page of `mho schedule`: a timeline to zoom into, figures and layers.

One HTML file that needs nothing else and requests nothing from the network.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from mho.cache_folder import write_atomically
from mho.errors import file_errors
from mho.formats import TIMES, format_count, format_percent, format_rate, format_time, plural
from mho.report.page_template import render_template
from mho.report.schedule_columns import list_causes, list_columns
from mho.report.schedule_document import PipelineFigures, ReloadFigures, ScheduleDocument
from mho.report.schedule_layers import ScheduledLayer
from mho.report.schedule_text import CAUSE_MEANINGS, describe_lifetime, list_crossbar_time, name_batch, tell_limit
from mho.report.timeline import TimelineView
from mho.scheduling.gantt import GanttChart

_TEMPLATE = "timeline.html.j2"
_BUSY = "busy"
_COLOURS = {"reading": "found", "digital": "acts", "writing": "muted", "ready": "tried", "free": "grid"}
"""What the time of crossbars goes to: the colour of the page's style."""

_format_time = partial(format_time, page=True)

_Tile = tuple[str, str]
"""A figure, and what it is."""
_Parts = list[tuple[str, float]]
"""Parts of a bar: the cause, and the share of the width."""


def write_timeline(document: ScheduleDocument, chart: GanttChart, path: Path) -> None:
    """Write the page of a schedule. Raises `InputFileError`."""
    with file_errors(path, "cannot be written"):
        write_atomically(path, render_timeline(document, chart).encode())


def render_timeline(document: ScheduleDocument, chart: GanttChart) -> str:
    """Return the page.

    Args:
        document: the figures of the schedule.
        chart: what the crossbars do.
    """
    columns = list_columns(document, _format_time, with_causes=False)
    causes = [(_BUSY, "reading")] + [(str(cause), CAUSE_MEANINGS[cause]) for cause in list_causes(document)]
    if document.reload is not None:
        causes = [(_BUSY, "at work"), ("write", "waiting for writes")]
    tiles = _describe_pipeline(document, document.pipeline) if document.pipeline else []
    if document.reload:
        tiles = _describe_reload(document, document.reload)
    shares = list_crossbar_time(document.reload) if document.reload else []
    longest = max((layer.time_us for layer in document.layers), default=0) or 1
    return render_template(
        _TEMPLATE,
        document=document,
        sentence=_summarize(document),
        tiles=tiles,
        shares=[(_COLOURS[name], *rest) for name, *rest in shares],
        causes=causes,
        columns=columns,
        bars=[list(_draw_bar(layer, longest)) for layer in document.layers],
        timeline=TimelineView.of(chart),
    )


def _draw_bar(layer: ScheduledLayer, longest_us: float) -> Iterator[tuple[str, float]]:
    """Yield the parts of a layer's bar: what the time of its copies goes to, or its time and what of it is waiting."""
    if layer.waiting_us is not None:
        yield _BUSY, (layer.time_us - layer.waiting_us) / longest_us
        yield "write", layer.waiting_us / longest_us
        return
    yield _BUSY, layer.busy or 0.0
    yield from ((str(cause), share) for cause, share in (layer.lost or {}).items() if share)


def _summarize(document: ScheduleDocument) -> str:
    """Return the schedule in one sentence."""
    inputs = "one input" if document.batch == 1 or document.reload is None else name_batch(document.batch)
    answer = (
        f"{document.network} answers {inputs} in {_format_time(document.latency_us)} on {document.crossbars:,} "
        f"crossbar{'s' if document.crossbars > 1 else ''} of {document.accelerator.name}"
    )
    if document.pipeline is not None:
        gain = document.pipeline.minimal_us / document.latency_us if document.latency_us else 1.0
        copies = sum(layer.copies for layer in document.layers)
        return (
            f"{answer}, with {plural(copies, 'copy', 'copies')} of {plural(len(document.layers), 'layer')}"
            f" that overlap: {gain:.1f}{TIMES} as fast as the {_format_time(document.pipeline.minimal_us)} layer by "
            f"layer on the fewest crossbars{_name_ideal(document)}."
        )
    if document.reload is None or not document.reload.writes:
        return f"{answer}, in which all tiles stay."
    return (
        f"{answer}, its {plural(document.reload.tiles, 'tile')} loaded by {plural(document.reload.writes, 'write')}: "
        f"{format_percent(document.waiting_share, 1)} of the time all wait for writes."
    )


def _describe_pipeline(document: ScheduleDocument, figures: PipelineFigures) -> list[_Tile]:
    """Return the figures of a schedule whose weights stay."""
    time, simulated = _format_time, document.simulated
    bound = f"proven bound {time(document.bound_us)}{_share_of(document.bound_us, document.latency_us)}"
    tiles = [(time(document.latency_us), f"latency of one input; {bound}")]
    if not document.accelerator.has_ideal_transfers:
        words = "latency with an ideal interconnect and unlimited buffers; between inputs"
        tiles.append((time(figures.ideal_latency_us), f"{words} {time(figures.ideal_interval_us)}"))
    limit = "with an ideal interconnect" if simulated is None else tell_limit(simulated)
    rate, bound = format_rate(document.interval_us), time(document.interval_bound_us)
    words = f"between inputs of a full pipeline ({rate}), {limit}; bound {bound}"
    tiles.append((time(document.interval_us), words))
    minimal = f"{time(figures.minimal_us)} on the fewest crossbars"
    words = f"layer by layer with these copies{_name_ideal(document)}; {minimal}"
    tiles.append((time(figures.layer_by_layer_us), words))
    if document.batch > 1 and simulated is not None:
        tiles.append((time(simulated.total_us), f"for {document.batch} inputs that follow each other"))
    count = format_count
    words = f"crossbars hold something; {count(document.minimal_crossbars)} hold each layer once"
    tiles.append((f"{count(document.used_crossbars)} of {count(document.crossbars)}", words))
    used = figures.ideal_utilization if simulated is None else simulated.utilization
    return [*tiles, (format_percent(used, 1), "of the time of all crossbars goes into reads")]


def _name_ideal(document: ScheduleDocument) -> str:
    """Return words about figures that are always of an ideal interconnect, where the accelerator's is not."""
    return "" if document.accelerator.has_ideal_transfers else " with an ideal interconnect"


def _describe_reload(document: ScheduleDocument, figures: ReloadFigures) -> list[_Tile]:
    """Return the figures of a schedule whose tiles are rewritten."""
    time, count, batch = _format_time, format_count, document.batch
    inputs = f"for {batch} inputs that share the writes" if batch > 1 else "for one input, and from input to input"
    inputs += f" ({format_rate(document.interval_us)})"
    bound = f"proven bound {time(document.bound_us)}{_share_of(document.bound_us, document.latency_us)}"
    lifetime = "\u2014" if document.lifetime_inputs is None else count(document.lifetime_inputs)
    return [
        (time(document.latency_us), f"{inputs}; {'no plan beats that' if figures.is_optimal else bound}"),
        (
            count(document.crossbars),
            f"crossbars: {count(figures.staying_crossbars)} hold tiles that stay, {count(figures.rewritten_crossbars)} "
            f"are rewritten; a mapping whose weights stay takes {count(document.minimal_crossbars)}",
        ),
        (
            count(figures.writes),
            f"writes {f'for {batch} inputs' if batch > 1 else 'an input'}; a cell up to "
            f"{figures.cell_writes_per_input:.4g} times an input",
        ),
        (
            format_percent(document.waiting_share, 1),
            "of the time nothing is read or computed: all wait for writes",
        ),
        (lifetime, describe_lifetime(document, figures)),
    ]


def _share_of(part: float, whole: float) -> str:
    return f" ({format_percent(part / whole, 1)})" if whole else ""

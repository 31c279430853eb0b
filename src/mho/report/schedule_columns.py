"""The table of a schedule's layers, for terminals and for pages: a column stands where its figures have a meaning."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mho.formats import format_share
from mho.report.columns import Column
from mho.report.schedule_document import ScheduleDocument
from mho.report.schedule_layers import ScheduledLayer
from mho.simulation.chip_timing import Cause

NAME_LINE, MAPPING_LINE = 1000, 44
"""Characters after which names and mappings are folded."""


def list_columns(
    document: ScheduleDocument, format_time: Callable[[float], str], *, with_causes: bool = True
) -> list[Column]:
    """Return the columns of the layers, with totals.

    Args:
        document: of the schedule.
        format_time: writes microseconds.
        with_causes: add a column for each cause for which copies stood still.
    """
    layers, count = document.layers, Column.of_counts

    def times(title: str, values: Iterable[float], total: str = "") -> Column:
        return Column(title, tuple(format_time(one) for one in values), total)

    columns = [
        Column("layer", tuple(layer.name for layer in layers), "total", most=NAME_LINE),
        Column("W/A", tuple(f"{layer.weight_bits}/{layer.act_bits}" for layer in layers)),
        Column("mapping", tuple(layer.mapping for layer in layers), most=MAPPING_LINE),
        count("tiles", (layer.tiles for layer in layers), add=document.reload is not None),
        Column("copies", tuple(_count_copies(layer) for layer in layers)),
    ]
    if document.reload is not None:
        spent, waits = [layer.time_us for layer in layers], [layer.waiting_us or 0.0 for layer in layers]
        whole = sum(spent)
        columns += [
            count("stay", (layer.staying for layer in layers), add=True),
            count("writes", (layer.writes for layer in layers), add=True),
            times("start", (layer.start_us for layer in layers)),
            times("time", spent, format_time(whole)),
            _list_shares("share", (one / whole if whole else 0 for one in spent), 1),
        ]
        return columns + ([times("waits", waits, format_time(sum(waits)))] if any(waits) else [])
    columns += [
        count("crossbars", (layer.tiles * layer.copies for layer in layers), add=True),
        count("windows", (layer.windows or 0 for layer in layers), add=True),
        times("window", (layer.window_us or 0.0 for layer in layers)),
    ]
    if any(layer.write_us for layer in layers):
        columns.append(times("write", (layer.write_us or 0.0 for layer in layers)))
    if document.cores > 1:
        columns.append(count("cores", (layer.cores or 0 for layer in layers)))
    columns += [
        times("start", (layer.start_us for layer in layers)),
        times("finish", (layer.finish_us for layer in layers)),
        _list_shares("busy", (layer.busy or 0.0 for layer in layers), _share_busy(document)),
    ]
    return columns + [
        _list_shares(
            str(cause), ((layer.lost or {}).get(cause, 0.0) for layer in layers), document.simulated.lost[cause]
        )
        for cause in list_causes(document)
        if document.simulated is not None and with_causes
    ]


def list_causes(document: ScheduleDocument) -> list[Cause]:
    """Return the causes for which crossbars stood still in a simulation."""
    return [cause for cause in Cause if any((layer.lost or {}).get(cause) for layer in document.layers)]


def _list_shares(title: str, shares: Iterable[float], total: float) -> Column:
    return Column(title, tuple(format_share(share) for share in shares), format_share(total))


def _count_copies(layer: ScheduledLayer) -> str:
    if layer.least_copies == layer.copies:
        return f"{layer.copies:,}" if layer.copies else ""
    return f"{layer.least_copies:,} to {layer.copies:,}"


def _share_busy(document: ScheduleDocument) -> float:
    """Return the share of the time of the crossbars in use in which they read windows."""
    taken = sum((layer.busy or 0.0) * layer.tiles * layer.copies for layer in document.layers)
    return taken / document.used_crossbars if document.used_crossbars else 0.0

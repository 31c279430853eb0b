"""What the policies of a run would take on the whole chip, many crossbars or few: for the report of the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mho.cost_model.document import to_microseconds
from mho.errors import MhoError
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.network.graph import Network
from mho.policy import Policy
from mho.report.result_figures import ChipFigures
from mho.report.schedule_document import ScheduleDocument
from mho.report.timeline import TimelineView
from mho.scheduling.chip_schedule import ChipDemand
from mho.simulation.chip_search import find_schedule

INPUTS = 3
"""Inputs that follow each other in the timeline."""


@dataclass(frozen=True)
class OnChip:
    """The policies of a run on the whole chip.

    Attributes:
        figures: of each policy, in the order in which they were given; empty where the chip has one crossbar.
        timeline: of the last policy that the chip holds; None where there is none.
    """

    figures: tuple[ChipFigures, ...]
    timeline: TimelineView | None


def schedule_policies(
    network: Network,
    policies: Mapping[str, tuple[str, Policy]],
    accelerator: Accelerator,
    *,
    model: MappingModel,
) -> OnChip:
    """Schedule a network under several policies.

    Args:
        network: in float: only shapes count.
        policies: label and widths of each, by name; the first is the one that speedups refer to.
        accelerator: the chip.
        model: how layers are mapped.
    """
    if accelerator.chip.crossbars == 1:
        return OnChip((), None)
    figures: list[ChipFigures] = []
    timeline = None
    for name, (label, policy) in policies.items():
        try:
            found, timeline = _schedule(network, policy, accelerator, model)
        except MhoError as error:
            figures.append(ChipFigures(name=name, label=label, reason=error.line))
            continue
        first = figures[0].latency_us if figures else found["latency_us"]
        speedup = first / found["latency_us"] if first and found["latency_us"] else None
        figures.append(ChipFigures(name=name, label=label, speedup=speedup, **found))
    return OnChip(tuple(figures), timeline)


def _schedule(
    network: Network, policy: Policy, accelerator: Accelerator, model: MappingModel
) -> tuple[dict[str, Any], TimelineView]:
    """Return figures of one policy, by their names in `ChipFigures`, and its timeline."""
    demand = ChipDemand.of(network, policy, accelerator, model=model)
    schedule = find_schedule(demand, batch=INPUTS if demand.is_held else 1, with_spans=True)
    document = ScheduleDocument.of(network.name, schedule)
    figures: dict[str, Any] = {
        "minimal_crossbars": document.minimal_crossbars,
        "used_crossbars": document.used_crossbars,
        "latency_us": document.latency_us,
        "bound_us": document.bound_us,
        "interval_us": document.interval_us,
        "total_us": to_microseconds(schedule.total_ps),
        "lifetime_inputs": document.lifetime_inputs,
    }
    if document.reload is not None:
        figures |= {
            "is_reloaded": True,
            "total_us": INPUTS * document.latency_us,
            "writes": document.reload.writes,
        }
    return figures, TimelineView.of(schedule.draw_gantt())

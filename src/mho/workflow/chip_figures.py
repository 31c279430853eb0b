"""What the policies of a run would take on the whole chip, many crossbars or few: for the report of the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mho.report.result as form
from mho.cost_model.document import to_microseconds
from mho.errors import MhoError
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.network.graph import Network
from mho.policy import Policy
from mho.report.reload_timeline import view_reload
from mho.report.schedule_document import ScheduleDocument
from mho.report.timeline import TimelineView
from mho.scheduling.chip_schedule import ChipDemand
from mho.scheduling.reload_schedule import ReloadSchedule
from mho.simulation.chip_search import simulate_best

INPUTS = 3
"""Inputs that follow each other in the timeline."""


@dataclass(frozen=True)
class OnChip:
    """The policies of a run on the whole chip.

    Attributes:
        figures: of each policy, in the order in which they were given; empty where the chip has one crossbar.
        timeline: of the last policy that the chip holds; None where there is none.
    """

    figures: tuple[form.ChipFigures, ...]
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
    figures: list[form.ChipFigures] = []
    timeline = None
    for name, (label, policy) in policies.items():
        try:
            found, timeline = _schedule(network, policy, accelerator, model)
        except MhoError as error:
            figures.append(form.ChipFigures(name=name, label=label, reason=error.line))
            continue
        first = figures[0].latency_us if figures else found["latency_us"]
        speedup = first / found["latency_us"] if first and found["latency_us"] else None
        figures.append(form.ChipFigures(name=name, label=label, speedup=speedup, **found))
    return OnChip(tuple(figures), timeline)


def _schedule(
    network: Network, policy: Policy, accelerator: Accelerator, model: MappingModel
) -> tuple[dict[str, Any], TimelineView]:
    """Return figures of one policy, by their names in `ChipFigures`, and its timeline."""
    demand = ChipDemand.of(network, policy, accelerator, model=model)
    if not demand.is_held:
        return _tell_reload(demand.schedule_reload(), demand.minimal_crossbars)
    schedule = simulate_best(demand.list_schedules(batch=INPUTS), with_spans=True)
    told = ScheduleDocument.of(network.name, schedule)
    return {
        "minimal_crossbars": schedule.minimal_crossbars,
        "used_crossbars": schedule.plan.used_crossbars,
        "latency_us": told.latency_us,
        "bound_us": told.bound_us,
        "interval_us": told.interval_us,
        "total_us": to_microseconds(schedule.timing.total_ps),
        "lifetime_inputs": told.lifetime_inputs,
    }, TimelineView.of(schedule, schedule.timing.batch)


def _tell_reload(schedule: ReloadSchedule, minimal_crossbars: int) -> tuple[dict[str, Any], TimelineView]:
    """Return the same where tiles are rewritten."""
    input_us = to_microseconds(schedule.interval_ps)
    return {
        "is_reloaded": True,
        "minimal_crossbars": minimal_crossbars,
        "used_crossbars": schedule.plan.crossbars,
        "latency_us": input_us,
        "bound_us": to_microseconds(schedule.bound_ps),
        "interval_us": input_us,
        "total_us": INPUTS * input_us,
        "writes": schedule.writes,
        "lifetime_inputs": schedule.lifetime_inputs,
    }, view_reload(schedule)

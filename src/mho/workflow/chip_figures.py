"""What the policies of a run would take on the whole chip, whose weights stay: for the report of the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import mho.report.result as form
from mho.accelerator.spec import Accelerator
from mho.cost.document import to_microseconds
from mho.errors import MhoError
from mho.mapping.model import MappingModel
from mho.network.graph import Network
from mho.quantization.policy import Policy
from mho.report.schedule_document import ScheduleDocument
from mho.report.timeline import TimelineView
from mho.scheduling.chip_schedule import list_schedules
from mho.simulation.chip_search import simulate_best

INPUTS = 3
"""Inputs that follow each other in the simulation: the least that show a full pipeline."""


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
        schedules = list_schedules(network, policy, accelerator, model=model, batch=INPUTS)
        try:
            schedule, timing = simulate_best(schedules, with_spans=True)
        except MhoError as error:
            figures.append(form.ChipFigures(name=name, label=label, reason=f"{error.where}: {error.what}"))
            continue
        told = ScheduleDocument.of(network.name, schedule, timing)
        first = figures[0].latency_us if figures else told.told_latency_us
        figures.append(
            form.ChipFigures(
                name=name,
                label=label,
                minimal_crossbars=schedule.minimal_crossbars,
                used_crossbars=schedule.plan.used_crossbars,
                latency_us=told.told_latency_us,
                bound_us=told.bound_us,
                interval_us=told.told_interval_us,
                total_us=to_microseconds(timing.total_ps),
                speedup=first / told.told_latency_us if first and told.told_latency_us else None,
            )
        )
        timeline = TimelineView.of(schedule, timing)
    return OnChip(tuple(figures), timeline)

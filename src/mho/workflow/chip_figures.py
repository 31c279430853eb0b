"""What the policies of a run take on its machine, for the report of the run."""

from __future__ import annotations

from collections.abc import Mapping

from mho.cost_model.document import to_microseconds
from mho.evaluation.deployment import ChipDeployment, DeployedLayer, Deployment
from mho.formats import AJ_PER_PJ, PS_PER_US
from mho.hardware.spec import Accelerator
from mho.mapping.adc_resolution import layer_hardware
from mho.mapping.layer_mapping import describe_mapping
from mho.mapping.output_error import error_bound, mapping_error
from mho.report.result_figures import ChipFigures, LayerCostFigures
from mho.report.timeline import TimelineView
from mho.scheduling.chip_schedule import ChipSchedule
from mho.scheduling.gantt import BARS
from mho.simulation.chip_gantt import draw_simulation
from mho.simulation.plan_timing import PlanTiming

INPUTS = 3
"""Inputs that follow each other in the timeline."""


def describe_deployments(deployments: Mapping[str, Deployment], labels: Mapping[str, str]) -> tuple[ChipFigures, ...]:
    """Return figures of deployments by name; the first is the one that speedups refer to."""
    first = next(iter(deployments.values()))
    return tuple(
        _describe(name, labels[name], deployment, first.latency_ps / deployment.latency_ps)
        for name, deployment in deployments.items()
    )


def _describe(name: str, label: str, deployment: Deployment, speedup: float) -> ChipFigures:
    energy = deployment.energy
    return ChipFigures(
        name=name,
        label=label,
        regime=deployment.regime,
        minimal_crossbars=deployment.minimal_crossbars,
        used_crossbars=deployment.used_crossbars,
        latency_us=to_microseconds(deployment.latency_ps),
        bound_us=to_microseconds(deployment.bound_ps),
        interval_us=deployment.interval_ps / PS_PER_US,
        total_us=to_microseconds(_time_inputs(deployment)),
        energy_pj=energy.total_aj / AJ_PER_PJ if energy.component_aj else None,
        writes=deployment.writes,
        cell_writes_per_input=deployment.cell_writes_per_input,
        cell_writes_per_day=deployment.cell_writes_per_day,
        lifetime_inputs=deployment.lifetime_inputs,
        lifetime_days=deployment.lifetime_days,
        speedup=speedup,
    )


def _time_inputs(deployment: Deployment) -> int:
    """Return the time of several inputs that follow each other, ps."""
    timing = _time_resident(deployment)
    return INPUTS * deployment.latency_ps if timing is None else timing.total_ps


def _time_resident(deployment: Deployment, *, with_spans: bool = False) -> PlanTiming | None:
    """Return the simulation of several inputs where weights stay."""
    if not isinstance(deployment, ChipDeployment) or not isinstance(deployment.schedule, ChipSchedule):
        return None
    schedule = deployment.schedule
    return PlanTiming(schedule.graph, schedule.plan, schedule.accelerator, INPUTS, with_spans)


def draw_timeline(deployment: Deployment) -> TimelineView | None:
    """Return when crossbars work, for several inputs, or for one where tiles are rewritten; None on one crossbar."""
    if not isinstance(deployment, ChipDeployment):
        return None
    timing = _time_resident(deployment, with_spans=True)
    if timing is None:
        return TimelineView.of(deployment.schedule.draw_gantt())
    return TimelineView.of(draw_simulation(timing.graph, timing.plan, timing.batch, BARS))


def describe_layer(layer: DeployedLayer, accelerator: Accelerator) -> LayerCostFigures:
    """Return what one layer takes on an accelerator, and the error of its mapping."""
    mapping = layer.mapping
    return LayerCostFigures(
        weight_bits=mapping.bits.weight_bits, act_bits=mapping.bits.act_bits, adc_bits=mapping.bits.adc_bits,
        rows=mapping.rows, cols=mapping.cols, layout=describe_mapping(mapping), copies=layer.copies,
        crossbars=layer.crossbars, tiles=layer.writes, mvms=mapping.mvms,
        latency_us=to_microseconds(layer.latency_ps), error=mapping_error(mapping, accelerator),
        max_error=error_bound(layer_hardware(accelerator, mapping.bits)),
    )  # fmt: skip

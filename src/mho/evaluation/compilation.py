"""The program of a quantized network for the machine that is described: that of its deployment, and its time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mho.cost_model.energy import EnergyBreakdown
from mho.cost_model.layer_tables import network_policy
from mho.errors import ConfigError, ScheduleError
from mho.evaluation.deployment import ChipDeployment, Deployment, find_deployment
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import DEFAULT_MODEL, MappingModel
from mho.network.graph import Network
from mho.policy import Policy
from mho.program.lowering import compile_network, compile_schedule, require_integers
from mho.program.program import ABOVE_BOUND, CALL_ENERGY, Program
from mho.scheduling.chip_schedule import ChipSchedule
from mho.scheduling.duplication import Objective
from mho.scheduling.regime import Regime
from mho.scheduling.reload_schedule import ReloadSchedule
from mho.simulation.timing import time_on_chip, time_program


def compile_for_machine(
    quantized: Network,
    accelerator: Accelerator,
    *,
    model: MappingModel = DEFAULT_MODEL,
    objective: Objective | None = None,
    batch: int = 1,
    adc_bits: Mapping[str, int] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Program:
    """Compile a quantized network for what the crossbars of an accelerator allow, see `find_deployment`.

    Args:
        quantized: whose every MVM layer carries integers.
        accelerator: the machine.
        model: how layers are mapped.
        objective: what options and copies are chosen for, where weights stay; None: the latency.
        batch: inputs that share the writes of weights, where these are written for inputs.
        adc_bits: with how many bits the sums of layers are converted, by name; the others: with the accelerator's.
        metadata: JSON values to carry along; `ABOVE_BOUND` is put beside them, where there are such layers.

    Raises:
        MappingError: a layer is not quantized, or cannot be mapped.
        PolicyError: there is no layer whose ADC bits are given.
        ConfigError: there is an objective, although weights do not stay.
        ScheduleError: buffers are too small for every plan; or there is a batch, although weights stay.
    """
    deployment = find_deployment(
        quantized,
        read_policy(quantized, adc_bits),
        accelerator,
        model=model,
        objective=objective or Objective.LATENCY,
        batch=batch,
    )
    _check_use(deployment, objective, batch)
    above = {name: round(error, 6) for name, error in deployment.above_bound.items()}
    carried = {**(metadata or {}), ABOVE_BOUND: above} if above else metadata
    if quantized.states:  # their calls are priced by what generates from the program alone
        carried = {**(carried or {}), CALL_ENERGY: _describe_energy(deployment.energy)}
    return compile_deployment(quantized, deployment, metadata=carried)


def _describe_energy(energy: EnergyBreakdown) -> dict[str, Any]:
    """Return energies as JSON has them."""
    known = {str(component): value for component, value in energy.component_aj.items()}
    return {"component_aj": known, "unspecified": [str(component) for component in energy.unspecified]}


def _check_use(deployment: Deployment, objective: Objective | None, batch: int) -> None:
    """Refuse an objective or a batch that changes nothing."""
    stays, where = deployment.regime is Regime.WEIGHT_STATIONARY, deployment.accelerator.name
    if objective is not None and not stays:
        raise ConfigError(
            f"the objective {objective}, and tiles are rewritten ({deployment.regime})", where=where,
            expected="an objective of copies and options, where all tiles stay",
            hint=f"leave it out, or take {deployment.minimal_crossbars:,} crossbars or more (--crossbars N)",
        )  # fmt: skip
    if batch != 1 and stays:
        raise ScheduleError(
            f"a batch of {batch}", where=where, expected=f"1: all {deployment.minimal_crossbars:,} tiles stay",
            hint="leave out --batch, or take fewer crossbars than tiles (--crossbars N): inputs then share the writes",
        )  # fmt: skip


def read_policy(quantized: Network, adc_bits: Mapping[str, int] | None = None) -> Policy:
    """Return the widths of a quantized network, with ADC bits of layers by name. Raises `MappingError` in float."""
    require_integers(quantized)
    policy = network_policy(quantized)
    assert policy is not None, "every layer has integers"
    return policy.with_adc_bits(adc_bits or {})


def compile_deployment(
    quantized: Network, deployment: Deployment, *, metadata: Mapping[str, Any] | None = None
) -> Program:
    """Compile a quantized network for the machine that it is deployed on; the program carries the schedule.

    Args:
        quantized: a network whose every MVM layer carries integers.
        deployment: of this network at its own widths.
        metadata: JSON values to carry along.

    Raises:
        MappingError: a layer is not quantized, or the deployment is that of another network.
    """
    if isinstance(deployment, ChipDeployment):
        assert isinstance(deployment.schedule, ChipSchedule | ReloadSchedule), "there are two kinds of schedules"
        return compile_schedule(quantized, deployment.schedule, metadata=metadata)
    adc_bits = {name: one.bits.adc_bits for name, one in deployment.mappings.items() if one.bits.adc_bits is not None}
    return compile_network(
        quantized,
        deployment.accelerator,
        model=deployment.model,
        batch=deployment.batch,
        adc_bits=adc_bits,
        metadata=metadata,
    )


def time_deployed(program: Program) -> int:
    """Return the time of one input from the program alone, ps: that of its instructions, or of its schedule.

    Raises:
        ScheduleError: buffers are too small for the schedule.
    """
    if program.schedule is not None:
        return time_on_chip(program).latency_ps
    return time_program(program).latency_ps

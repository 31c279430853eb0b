"""What the public functions take alike: widths, mappings and programs, each as a value, a name or a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import NDArray

from mho.cost_model.layer_tables import LayerTable, network_policy
from mho.errors import MhoError, PolicyError
from mho.hardware.array import Placement
from mho.hardware.loading import as_accelerator, override
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.network.graph import Network
from mho.policy import UNIFORM_REFERENCE, BitWidths, Policy

if TYPE_CHECKING:
    from mho.program.program import Program
    from mho.scheduling.duplication import Objective
    from mho.simulation.adc_ranges import AdcRanges

Bits = Policy | BitWidths | str
MappingName = MappingModel | Literal["best", "paper"]
ObjectiveName = Literal["latency", "interval", "layer-by-layer"]
Hardware = Accelerator | str | Path
PlacementName = Literal["as-mapped", "fault-aware"]
Inputs = Mapping[str, NDArray[Any]] | NDArray[Any]


def as_mapping(mapping: MappingName) -> MappingModel:
    """Return the mapping model of a name. Raises `MhoError`."""
    try:
        return MappingModel(mapping)
    except ValueError:
        names = " or ".join(f'"{model}"' for model in MappingModel)
        raise MhoError(f"unknown mapping {mapping!r}", expected=names) from None


def as_objective(objective: ObjectiveName) -> Objective:
    """Return the objective of a schedule by its name. Raises `MhoError`."""
    from mho.scheduling.duplication import Objective

    if objective not in tuple(Objective):
        raise MhoError(f"unknown objective {objective!r}", expected=", ".join(f'"{one}"' for one in Objective))
    return Objective(objective)


def as_policy(network: Network | LayerTable, policy: Bits | None) -> Policy:
    """Return the widths of a network's layers; None: those of a quantized network, else 8/8. Raises `PolicyError`."""
    if isinstance(network, Network):
        names = network.layer_names
        own = network_policy(network) if policy is None else None
    else:
        names, own = tuple(layer.name for layer in network.layers), network.policy
    if policy is None:
        return own or Policy.uniform(names, UNIFORM_REFERENCE)
    if isinstance(policy, str):
        policy = BitWidths.parse(policy)
    if isinstance(policy, BitWidths):
        return Policy.uniform(names, policy)
    if not isinstance(policy, Policy):
        raise PolicyError(f"{policy!r} is not a policy", expected='a Policy, a BitWidths, or a text such as "4/8"')
    return policy


def as_program(program: Program | str | Path) -> Program:
    """Return a program, or that of a .mho file. Raises as `mho.program.container.read_program`."""
    if isinstance(program, (str, Path)):
        from mho.program.container import read_program

        return read_program(Path(program))
    return program


def as_ranges(ranges: AdcRanges | str | Path | None) -> AdcRanges | None:
    """Return ranges of ADCs, or those of a file. Raises as `mho.simulation.adc_ranges.read_ranges`."""
    if isinstance(ranges, (str, Path)):
        from mho.simulation.adc_ranges import read_ranges

        return read_ranges(ranges)
    return ranges


def chip_hardware(
    program: Program, hardware: Hardware | None, placement: PlacementName | Placement | None, *, where: str
) -> Accelerator:
    """Return the hardware of a chip that runs a program: by default what it was compiled for, placed as it says.

    Raises:
        InputFileError, ConfigError: there is no such hardware.
        MhoError: there is no such placement; the text begins with `where`.
    """
    fitting = program.accelerator if hardware is None else as_accelerator(hardware)
    if placement is None:
        return fitting
    if placement not in tuple(Placement):
        raise MhoError(f"unknown placement {placement!r}", where=where, expected="'as-mapped' or 'fault-aware'")
    return override(fitting, placement=Placement(placement))

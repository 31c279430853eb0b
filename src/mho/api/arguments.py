"""What the public functions take alike: widths, mappings and programs, each as a value, a name or a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from numpy.typing import NDArray

from mho.cost_model.layer_tables import LayerTable, network_policy
from mho.errors import MhoError, PolicyError
from mho.hardware.array import Placement
from mho.hardware.loading import as_accelerator, override
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.network.graph import Network
from mho.policy import UNIFORM_REFERENCE, BitWidths, Policy, Widths, as_widths

if TYPE_CHECKING:
    from mho.program.program import Program
    from mho.scheduling.duplication import Objective
    from mho.simulation.adc_ranges import AdcRanges

Bits = Policy | Widths | Path | Mapping[str, Widths]
"""What `as_policy` takes."""
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
    """Return the widths of a network's layers.

    Args:
        network: float or quantized, or its layers alone.
        policy: a `Policy`; a policy's file, a `Path` or a text that ends in ``.json``; a mapping of layer names to
            widths; or one pair of widths for all layers, such as "4/8" or (4, 8). None: the widths of a quantized
            network, else 8/8.

    Raises:
        InputFileError, PolicyError: it is none of these; a layer is missing or unknown; a width is out of range.
    """
    if isinstance(network, Network):
        names = network.layer_names
        own = network_policy(network) if policy is None else None
    else:
        names, own = tuple(layer.name for layer in network.layers), network.policy
    if policy is None:
        return own or Policy.uniform(names, UNIFORM_REFERENCE)
    if isinstance(policy, Path) or (isinstance(policy, str) and policy.endswith(".json")):
        found = Policy.load(policy)
        found.check_against(names, where=str(policy))
        return found
    if isinstance(policy, Policy):
        return policy  # whoever maps its layers compares it with the network
    if isinstance(policy, Mapping) and not {"weight_bits", "act_bits"} & set(policy):
        is_file_content = set(policy) == {"layers"} and "layers" not in names
        return Policy.from_json(dict(policy)) if is_file_content else Policy.of(cast("Mapping[str, Widths]", policy))
    return Policy.uniform(names, _read_pair(policy))


def _read_pair(bits: Any) -> BitWidths:
    try:
        return as_widths(bits)
    except PolicyError as error:
        raise PolicyError(
            error.what, where=error.where, expected=error.expected,
            hint="or a Policy, a policy's .json file, or {layer: widths}",
        ) from error  # fmt: skip


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

"""What the public functions take alike: widths, mappings and programs, each as a value, a name or a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

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
    from mho.array.conductances import Conditions
    from mho.data.in_memory import Labelled, Unlabelled
    from mho.evaluation.samples import LabelledSamples
    from mho.program.program import Program
    from mho.simulation.adc_ranges import AdcRanges
    from mho.simulation.channel_corrections import ChannelCorrections

    Inputs = Mapping[str, Unlabelled] | Unlabelled
    """Arrays, tensors or loaders by the names of inputs, or the only one."""
    Samples = tuple[Inputs, NDArray[Any]] | Labelled | str | Path
    """Inputs and labels, a loader of both, or an .npz file."""

Bits = Policy | BitWidths | str | tuple[int, ...] | list[int] | Path | Mapping[str, Widths | int]
"""What `as_policy` takes; one kind of mapping, so that type checkers know what the values of a dict literal are."""
MappingName = MappingModel | Literal["best", "paper"]
ObjectiveName = Literal["latency", "interval", "layer-by-layer"]
Hardware = Accelerator | str | Path
PlacementName = Literal["as-mapped", "fault-aware"]
Arrays = Mapping[str, NDArray[Any]] | NDArray[Any]
Kind = TypeVar("Kind")


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
            hint=error.hint or "or a Policy, a policy's .json file, or {layer: widths}",
        ) from error  # fmt: skip


def as_program(program: Program | str | Path) -> Program:
    """Return a program, or that of a .mho file. Raises `MhoError`, also as `mho.program.container.read_program`."""
    from mho.program.program import Program

    if isinstance(program, (str, Path)):
        from mho.program.container import read_program

        return read_program(Path(program))
    if not isinstance(program, Program):
        raise MhoError(f"a {type(program).__name__} is not a program", expected="what mho.compile made, or a .mho file")
    return program


def as_ranges(ranges: AdcRanges | str | Path | None) -> AdcRanges | None:
    """Return ranges of ADCs, or those of a file. Raises as `mho.simulation.adc_ranges.read_ranges`."""
    if ranges is None:
        return None
    from mho.simulation.adc_ranges import AdcRanges, read_ranges

    if isinstance(ranges, (str, Path)):
        return read_ranges(ranges)
    return _check_type("ranges", ranges, AdcRanges)


def as_corrections(corrections: ChannelCorrections | str | Path | None) -> ChannelCorrections | None:
    """Return corrections of channels, or those of a file.

    Raises as `mho.simulation.channel_corrections.read_corrections`.
    """
    if corrections is None:
        return None
    from mho.simulation.channel_corrections import ChannelCorrections, read_corrections

    if isinstance(corrections, (str, Path)):
        return read_corrections(corrections)
    return _check_type("corrections", corrections, ChannelCorrections)


def as_conditions(conditions: Conditions | None) -> Conditions | None:
    """Return when and how warm cells are read. Raises `MhoError` for what says something else."""
    from mho.array.conductances import Conditions

    return None if conditions is None else _check_type("conditions", conditions, Conditions)


def as_inputs(inputs: Inputs, *, where: str = "inputs") -> Arrays:
    """Return arrays by input name, or the only one; batches of loaders are put together. Errors begin with `where`.

    Raises:
        DataError: something is no array of numbers.
        MemoryBudgetError: all samples of a loader take more memory than the budget.
    """
    from mho.data.in_memory import read_inputs

    if isinstance(inputs, Mapping):
        return {name: read_inputs(values, where=f"input {name!r}") for name, values in inputs.items()}
    return read_inputs(inputs, where=where)


def as_labelled(samples: Samples) -> LabelledSamples:
    """Return samples with labels: of a pair, a loader or an .npz file. Raises `MhoError`."""
    from mho.data.in_memory import read_inputs, read_labelled
    from mho.evaluation.samples import LabelledSamples, read_samples

    if isinstance(samples, (str, Path)):
        return read_samples(samples)
    if isinstance(samples, (tuple, list)) and len(samples) == 2:
        return LabelledSamples(as_inputs(samples[0]), read_inputs(samples[1], where="labels"))
    return LabelledSamples(*read_labelled(samples))


def _check_type(name: str, value: Any, kind: type[Kind]) -> Kind:
    if not isinstance(value, kind):
        raise MhoError(f"{name} is a {type(value).__name__}", expected=f"{kind.__name__}, or a file of them")
    return value


def check_number(name: str, value: float | None, least: float, *, where: str) -> None:
    """Check that an argument, where it is given, is a number from `least` on. Raises `MhoError`."""
    if value is not None and not value >= least:
        raise MhoError(f"{name} is {value}", where=where, expected=f"{least} or more")


def chip_hardware(
    program: Program, hardware: Hardware | None, placement: PlacementName | Placement | None
) -> Accelerator:
    """Return the hardware of a chip that runs a program: by default what it was compiled for, placed as it says.

    Raises:
        InputFileError, ConfigError: there is no such hardware.
    """
    fitting = program.accelerator if hardware is None else as_accelerator(hardware)
    if placement is None:
        return fitting
    return override(fitting, placement=Placement(placement))

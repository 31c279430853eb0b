"""From a quantized network to a program: MVM layers become crossbar instructions, all else digital ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.errors import MappingError, ProgramError, suggest
from mho.hardware.chip import DigitalArithmetic
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import DEFAULT_MODEL, LayerMapping, MappingModel
from mho.mapping.network_mapping import NetworkMapping, map_layers, naming_layer
from mho.network.digital_grids import INDICES, CentredGrid
from mho.network.graph import Network
from mho.network.input_normalization import find_normalization
from mho.network.integer_lowering import IntegerNetwork, lower_to_integers
from mho.network.layers import MvmLayer, derive_layer_table
from mho.policy import BitWidths, Policy
from mho.program.instructions import Digital, Instruction, Layer
from mho.program.layer_lowering import LoweredLayer, lower_layer
from mho.program.program import NORMALIZES_INPUT, STATES, Buffer, BufferKind, Program
from mho.program.reload_lowering import ReloadLowering
from mho.program.reloads import ProgramReloads
from mho.program.schedule import LayerSchedule, Schedule, StoredWait, Wait
from mho.program.shared_writes import join_writes
from mho.program.verify import verify_program
from mho.scheduling.chip_schedule import ChipSchedule
from mho.scheduling.reload_schedule import ReloadSchedule
from mho.scheduling.work_graph import LayerWork
from mho.version import __version__


def compile_network(
    quantized: Network,
    accelerator: Accelerator,
    *,
    model: MappingModel = DEFAULT_MODEL,
    batch: int = 1,
    mappings: Mapping[str, LayerMapping] | None = None,
    adc_bits: Mapping[str, int] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Program:
    """Compile a quantized network for one time-multiplexed crossbar (the first, where there are more).

    Args:
        quantized: a network whose every MVM layer carries integers, see `mho.network.graph.LayerQuantization`.
        accelerator: what it will run on.
        model: how layers are mapped.
        batch: samples that share the writes of weights, for the choice of mappings; results do not depend on it.
        mappings: exact mappings of layers, by name, to use instead of those of `model`; they must be made for the
            network's layers (`derive_layer_table` gives them with their integers) and the accelerator.
        adc_bits: with how many bits the sums of layers are converted, by name; the others: with the accelerator's.
        metadata: JSON values to carry along (hashes, names), beside mho's version and the layers' bit widths.

    Raises:
        MappingError: a layer is not quantized, or cannot be mapped: says which, why and what would mend it; or a
            mapping that is given is not that of a layer; or ADCs cannot convert with so many bits.
        PolicyError: there is no layer whose ADC bits are given.
    """
    require_integers(quantized)
    widths = read_widths(quantized, adc_bits or {})
    mapping = _map(quantized, widths, accelerator, model, batch, mappings or {})
    computed = lower_digital(quantized, accelerator)
    lowered = _lower(computed.network, accelerator, mapping)
    layers = join_writes([one.layer for one in lowered], mapping)
    origin = {"mapping": str(model), "batch": batch, **(metadata or {})}
    return assemble_program(quantized, computed, accelerator, lowered, layers, {}, None, origin)


def compile_schedule(
    quantized: Network, schedule: ChipSchedule | ReloadSchedule, *, metadata: Mapping[str, Any] | None = None
) -> Program:
    """Compile a quantized network for the chip that it was scheduled on.

    Args:
        quantized: a network whose every MVM layer carries integers.
        schedule: of this network, at its own widths, with all of its layers, as `schedule_network` or
            `schedule_network_reload` make it.
        metadata: JSON values to carry along (hashes, names), beside mho's version and the layers' bit widths.

    Returns:
        A verified program. Where weights stay: every tile of the first copy of each layer in its crossbar, and the
        other copies, and what windows wait for, in `Program.schedule`. Where tiles are rewritten: every tile in the
        crossbar that takes it in the first batch, and which take it in the others, in `Program.schedule`.

    Raises:
        MappingError: a layer is not quantized, or the schedule is that of another network.
    """
    require_integers(quantized)
    own_bits = {name: one.bits.adc_bits for name, one in schedule.mappings.items() if one.bits.adc_bits is not None}
    check_mappings(derive_layer_table(quantized), read_widths(quantized, own_bits), schedule.mappings)
    if missing := [name for name in quantized.layer_names if name not in schedule.mappings]:
        raise MappingError(
            f"layers that the schedule leaves out: {', '.join(missing)}", where=quantized.name,
            expected="a schedule of all layers of the network",
        )  # fmt: skip
    if isinstance(schedule, ReloadSchedule):
        return _compile_reload(quantized, schedule, metadata or {})
    lowered, computed = [], lower_digital(quantized, schedule.accelerator)
    for node in computed.network.mvm_nodes:
        crossbars = schedule.plan.places[node.name][0].crossbars
        with naming_layer(node.name):
            mapping = schedule.mappings[node.name]
            lowered.append(lower_layer(computed.network, node, schedule.accelerator, mapping, crossbars))
    waits: dict[str, NDArray[Any]] = {}
    layers = tuple(_describe_waits(schedule, work, waits) for work in schedule.graph.layers)
    origin = {"mapping": str(schedule.model), "objective": str(schedule.objective), **(metadata or {})}
    return assemble_program(
        quantized, computed, schedule.accelerator, lowered, [one.layer for one in lowered], waits, Schedule(layers),
        origin,
    )  # fmt: skip


def _compile_reload(quantized: Network, schedule: ReloadSchedule, metadata: Mapping[str, Any]) -> Program:
    """Compile a network whose tiles are reloaded, in the order of its schedule."""
    lowering, lowered, computed = ReloadLowering(schedule), [], lower_digital(quantized, schedule.accelerator)
    for number, node in enumerate(computed.network.mvm_nodes):
        with naming_layer(node.name):
            lowered.append(lowering.lower(computed.network, node, number))
    layers = join_writes([one.layer for one in lowered], schedule.network)
    origin = {"mapping": str(schedule.model), "batch": schedule.batch, **metadata}
    return assemble_program(
        quantized, computed, schedule.accelerator, lowered, layers, lowering.constants, lowering.schedule, origin
    )


def lower_digital(quantized: Network, accelerator: Accelerator) -> IntegerNetwork:
    """Return a quantized network as the accelerator's digital unit computes it: as it is, or in integers.

    Raises:
        UnsupportedOperationError: the unit computes on integers alone, and something has none.
        MappingError: a tensor has more bits than the unit; indices of embeddings may have more.
    """
    if accelerator.digital.arithmetic is not DigitalArithmetic.INTEGER:
        return IntegerNetwork(quantized, {})
    lowered, bits = lower_to_integers(quantized), accelerator.digital.activation_bits
    for name, grid in lowered.grids.items():
        if grid.bits > bits and not INDICES.holds(grid):
            raise MappingError(
                f"{name!r} holds {grid.low}..{grid.high}, which takes {grid.bits} bits", where=quantized.name,
                expected=f"at most digital.activation_bits = {bits}",
                hint=f"quantize with fewer bits (--digital-bits {bits}), or set digital.activation_bits",
            )  # fmt: skip
    return lowered


def require_integers(network: Network) -> None:
    """Raise `MappingError` where a layer carries no integers."""
    if floats := [node.name for node in network.mvm_nodes if node.quantization is None]:
        raise MappingError(
            f"layers without integers: {', '.join(floats)}",
            where=network.name,
            expected="a quantized network (QDQ or QCDQ ONNX)",
            hint="quantize it first: `mho run` does, or mho.quantize in Python",
        )


def assemble_program(
    quantized: Network,
    computed: IntegerNetwork,
    accelerator: Accelerator,
    lowered: Sequence[LoweredLayer],
    layers: Iterable[Layer],
    more_constants: Mapping[str, NDArray[Any]],
    schedule: Schedule | ProgramReloads | None,
    metadata: Mapping[str, Any],
) -> Program:
    """Put lowered layers and digital operations together to a verified program.

    Args:
        quantized, accelerator: what runs on what.
        computed: the same as the accelerator's digital unit computes it, see `lower_digital`.
        lowered: all MVM layers in execution order.
        layers: their regions, which may have been joined since.
        more_constants: beside those of layers.
        schedule: of a program for a chip.
        metadata: JSON values to carry along, beside mho's version and the layers' bit widths.

    Raises:
        ProgramError: two things have the same name.
    """
    regions = iter(layers)
    network = computed.network
    buffers = {name: _describe_tensor(shape, computed.grids.get(name)) for name, shape in network.shapes.items()}
    constants: dict[str, NDArray[Any]] = dict(more_constants)
    for one in lowered:
        _add(buffers, one.buffers, one.layer.name)
        _add(constants, one.constants, one.layer.name)
    instructions: list[Instruction] = []
    for node in network.nodes:
        if node.is_mvm:
            instructions.append(next(regions))
        else:
            _add(constants, {name: network.constants[name] for name in node.inputs if name in network.constants})
            instructions.append(Digital(node.op, node.inputs, node.output, node.attributes))
    program = Program(
        name=quantized.name,
        accelerator=accelerator,
        inputs=tuple(tensor.name for tensor in quantized.inputs),
        outputs=tuple(tensor.name for tensor in quantized.outputs),
        buffers=_used(buffers, network),
        constants=constants,
        instructions=tuple(instructions),
        metadata={**_describe(quantized, lowered), **metadata},
        schedule=schedule,
    )
    verify_program(program)
    return program


def _map(
    network: Network,
    widths: Policy,
    accelerator: Accelerator,
    model: MappingModel,
    batch: int,
    given: Mapping[str, LayerMapping],
) -> NetworkMapping:
    layers = derive_layer_table(network)
    check_mappings(layers, widths, given)
    return map_layers(layers, list(widths.layers.values()), accelerator, model, batch=batch, given=given)


def read_widths(network: Network, adc_bits: Mapping[str, int]) -> Policy:
    """Return the widths of a quantized network's integers, with the ADC bits that are given. Raises `PolicyError`."""
    grids = {node.name: node.quantization for node in network.mvm_nodes if node.quantization is not None}
    policy = Policy({name: BitWidths(grid.weight.bits, grid.input.bits) for name, grid in grids.items()})
    return policy.with_adc_bits(adc_bits)


def check_mappings(layers: Sequence[MvmLayer], widths: Policy, given: Mapping[str, LayerMapping]) -> None:
    """Raise `MappingError` where mappings are not those of a network's `layers`, with their integers and widths."""
    known = {layer.name: (layer.without_name(), widths[layer.name]) for layer in layers}
    for name, mapping in given.items():
        if name not in known:
            raise MappingError(f"a mapping of {name!r}", expected=", ".join(known), hint=suggest(name, known))
        if (mapping.layer.without_name(), mapping.bits) != known[name]:
            layer, bits = known[name]
            raise MappingError(
                f"a mapping of another layer: {mapping.layer} at {mapping.bits}",
                where=f"layer {name}",
                expected=f"{layer} at {bits}",
            )


def _lower(network: Network, accelerator: Accelerator, mapping: NetworkMapping) -> list[LoweredLayer]:
    """Lower every layer as if it had the crossbar to itself."""
    lowered = []
    for node, own in zip(network.mvm_nodes, mapping.layers, strict=True):
        with naming_layer(node.name):
            lowered.append(lower_layer(network, node, accelerator, own))
    return lowered


def _add(target: dict[str, Any], new: Mapping[str, Any], layer: str = "") -> None:
    """Add entries; those of a layer must have names of their own."""
    for name, value in new.items():
        if layer and name in target:
            raise ProgramError(f"two things are named {name!r}", where=layer, hint="rename the layer")
        target[name] = value


def _describe(network: Network, lowered: Sequence[LoweredLayer]) -> dict[str, Any]:
    """Return what every program records: this version, the bit widths of its layers, its normalization."""
    adc_bits = {one.layer.name: one.layer.adc_bits for one in lowered if one.layer.adc_bits is not None}
    steps = [operation for operation, _ in find_normalization(network)]
    normalization = {NORMALIZES_INPUT: steps} if steps else {}
    states = {STATES: [state.to_json() for state in network.states]} if network.states else {}
    return {"mho": __version__, "policy": read_widths(network, adc_bits).to_json(), **normalization, **states}


def _used(buffers: dict[str, Buffer], network: Network) -> dict[str, Buffer]:
    """Drop float buffers that nothing makes (tensors that the graph kept the shapes of)."""
    made = {tensor.name for tensor in network.inputs} | {node.output for node in network.nodes}
    return {name: buffer for name, buffer in buffers.items() if not buffer.is_tensor or name in made}


def _describe_tensor(shape: tuple[int, ...], grid: CentredGrid | None) -> Buffer:
    if grid is None:
        return Buffer(BufferKind.FLOAT, shape)
    return Buffer(BufferKind.INTEGERS, shape, grid.low, grid.high, grid.scale)


def _describe_waits(schedule: ChipSchedule, work: LayerWork, waits: dict[str, NDArray[Any]]) -> LayerSchedule:
    own = []
    for need in work.needs:
        name = f"{work.name}:waits:{need.producer}"
        waits[name] = need.windows.astype(np.int32)
        own.append(Wait(need.producer, name))
    return LayerSchedule(
        name=work.name,
        copies=tuple(place.crossbars for place in schedule.plan.places[work.name]),
        core=work.unit,
        waits=tuple(own),
        stored_waits=tuple(StoredWait(producer, count) for producer, count in work.stored_needs),
    )

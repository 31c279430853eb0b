"""The work graph of a program for a chip, derived from its instructions, and the checks of its schedule.

Windows, their times and their dependencies follow from the instructions; the schedule adds which crossbars there are
and what windows wait for. A schedule that waits for less than its program needs would let windows read what is not
there: it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.errors import ProgramError, ScheduleError
from mho.network.graph import Network, Node, TensorInfo
from mho.network.layers import derive_layer
from mho.program.geometry import ConvGeometry, LinearGeometry
from mho.program.instruction_costs import count_operations, count_shift_add, price_layer
from mho.program.instructions import (
    Digital,
    DigitalProduct,
    Instruction,
    Layer,
    LoadInput,
    Loop,
    Mvm,
    QuantizeInput,
    ShiftAdd,
    SumInputs,
    Window,
)
from mho.program.layer_content import LayerContent, collect_layers
from mho.program.program import Program, walk
from mho.program.schedule import LayerSchedule, Schedule
from mho.scheduling.chip_layer import ChipLayer
from mho.scheduling.dependencies import DependencyTable
from mho.scheduling.digital_units import share_units
from mho.scheduling.options import CopyCost
from mho.scheduling.placement import ChipPlan, CopyPlace
from mho.scheduling.work_graph import Integers, LayerWork, Need, WorkGraph

Sizes = Mapping[str, tuple[int, int]]
"""Positions of a window along height and width, by layer."""


@dataclass(frozen=True, eq=False)
class ChipWork:
    """What a program for a chip does.

    Attributes:
        graph: its layers, whose windows wait for what the schedule says.
        plan: where their copies lie.
    """

    graph: WorkGraph
    plan: ChipPlan


def derive_chip_work(program: Program, sizes: Sizes) -> ChipWork:
    """Derive work graph and plan of a program with a schedule.

    Args:
        program: verified; with a schedule.
        sizes: of the windows of every layer, as `mho.program.layer_proof.LayerProduct.window` proves them.

    Raises:
        ProgramError: the program has no schedule.
    """
    schedule = _require_schedule(program)
    graph = _derive_graph(program, sizes)
    waiting = WorkGraph(graph.name, _wait_as_scheduled(program, graph))
    units = {layer.name: layer.core for layer in schedule.layers if layer.core is not None}
    return ChipWork(share_units(waiting, units), derive_plan(program))


def derive_plan(program: Program) -> ChipPlan:
    """Return where a program's schedule places the copies of its layers. Raises `ProgramError` for none."""
    schedule = _require_schedule(program)
    size = program.accelerator.chip.crossbars_per_core
    places = {
        layer.name: tuple(
            CopyPlace(layer.name, number, copy, _list_cores(layer, copy, size))
            for number, copy in enumerate(layer.copies)
        )
        for layer in schedule.layers
    }
    return ChipPlan(program.accelerator.chip, places)


def _list_cores(layer: LayerSchedule, copy: tuple[int, ...], size: int) -> tuple[int, ...]:
    cores = (crossbar // size for crossbar in copy) if layer.core is None else (layer.core,)
    return tuple(dict.fromkeys(cores))


def _require_schedule(program: Program) -> Schedule:
    if not isinstance(program.schedule, Schedule):
        raise ProgramError(
            "the program has no schedule of windows", where=program.name,
            expected="one whose tiles have crossbars of their own",
        )  # fmt: skip
    return program.schedule


def check_schedule(program: Program, sizes: Sizes) -> None:
    """Check the schedule of a program against its instructions.

    Args:
        program: every layer of which is proven.
        sizes: of the windows of all layers that have some.

    Raises:
        ProgramError: a layer is missing, has other crossbars than its instructions name, or does not wait for a layer
            that it reads.
    """
    schedule = _require_schedule(program)
    contents = {content.layer.name: content for content in collect_layers(program)}
    if [layer.name for layer in schedule.layers] != list(contents):
        raise ProgramError("other layers than the program's", where="schedule", expected=", ".join(contents))
    for layer in schedule.layers:
        _check_crossbars(program, layer, contents[layer.name])
    needed = _derive_graph(program, sizes)
    try:
        scheduled = WorkGraph(needed.name, _wait_as_scheduled(program, needed))
    except ScheduleError as error:
        raise ProgramError(error.what, where=f"schedule of {error.where}", expected=error.expected) from error
    for need, wait in zip(needed.layers, scheduled.layers, strict=True):
        _check_waits(need, wait)


def _check_crossbars(program: Program, layer: LayerSchedule, content: LayerContent) -> None:
    named = tuple(write.crossbar for write in content.writes)
    if content.window_loops is None or layer.copies[0] != named:
        raise ProgramError(
            f"the first copy lies in crossbars {_list(layer.copies[0])}", where=f"schedule of layer {layer.name}",
            expected=f"those of its instructions, {_list(named)}, which are read in windows",
        )  # fmt: skip
    cores = program.accelerator.chip.cores
    if (layer.core is not None) != bool(content.products) or not 0 <= (layer.core or 0) < cores:
        raise ProgramError(
            f"core {layer.core} computes the layer", where=f"schedule of layer {layer.name}",
            expected=f"one of 0..{cores - 1} for a layer of the digital unit, none for one in crossbars",
        )  # fmt: skip
    read = {item.crossbar for item, _ in walk(content.layer.body) if isinstance(item, LoadInput | Mvm | ShiftAdd)}
    if others := sorted(read - set(named)):
        raise ProgramError(
            f"crossbar {others[0]} is driven or read", where=f"schedule of layer {layer.name}",
            expected=f"its own, {_list(named)}",
        )  # fmt: skip
    last = program.accelerator.chip.crossbars - 1
    if outside := [crossbar for copy in layer.copies for crossbar in copy if not 0 <= crossbar <= last]:
        raise ProgramError(
            f"crossbar {outside[0]}", where=f"schedule of layer {layer.name}", expected=f"0..{last}"
        )  # fmt: skip


def _list(crossbars: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, crossbars[:8]))
    return shown + (f", ... ({len(crossbars)})" if len(crossbars) > 8 else "")


def _check_waits(need: LayerWork, scheduled: LayerWork) -> None:
    """A layer waits for all that its windows and its stored operand need, at least."""
    waits = {wait.producer: wait.windows for wait in scheduled.needs}
    for one in need.needs:
        late = one.windows > waits.get(one.producer, np.zeros(1, np.int64))
        if late.any():
            window = int(late.argmax())
            what = f"window {window} does not wait for all that it reads of {one.producer}"
            raise _lateness(need, what, int(one.windows[window]))
    stored = dict(scheduled.stored_needs)
    for producer, count in need.stored_needs:
        if stored.get(producer, 0) < count:
            raise _lateness(need, f"its stored operand does not wait for all that it takes of {producer}", count)


def _lateness(layer: LayerWork, what: str, windows: int) -> ProgramError:
    return ProgramError(
        what, where=f"schedule of layer {layer.name}", expected=f"{windows} windows", hint="the program is damaged"
    )


def _wait_as_scheduled(program: Program, graph: WorkGraph) -> tuple[LayerWork, ...]:
    """Return the layers of a graph with the waits of the schedule."""
    schedule = _require_schedule(program)
    return tuple(_with_waits(program, work, schedule[work.name]) for work in graph.layers)


def _with_waits(program: Program, work: LayerWork, schedule: LayerSchedule) -> LayerWork:
    known = {need.producer: need for need in work.needs}
    needs = tuple(
        replace(known[producer], windows=windows) if producer in known else Need(producer, windows)
        for producer, windows in _read_waits(program, work, schedule).items()
    )
    sizes = dict(zip((producer for producer, _ in work.stored_needs), work.stored_bytes, strict=True))
    stored = tuple((wait.producer, wait.windows) for wait in schedule.stored_waits)
    if {producer for producer, _ in stored} != set(sizes) or len(stored) != len(sizes):
        raise ProgramError(
            "its stored operand waits for other layers than it takes", where=f"schedule of layer {work.name}",
            expected=", ".join(sizes) or "none",
        )  # fmt: skip
    return replace(
        work, needs=needs, stored_needs=stored, stored_bytes=tuple(sizes[producer] for producer, _ in stored)
    )


def _read_waits(program: Program, work: LayerWork, schedule: LayerSchedule) -> dict[str, Integers]:
    """Return what windows wait for, int64 [windows] by producer."""
    waits: dict[str, Integers] = {}
    for wait in schedule.waits:
        windows = program.constants.get(wait.windows)
        is_sound = windows is not None and windows.dtype.kind in "iu" and windows.shape == (work.windows,)
        if windows is None or not is_sound or windows.min() < 0 or wait.producer in waits:
            raise ProgramError(
                f"{wait.windows!r} is no list of windows to wait for of {wait.producer}",
                where=f"schedule of layer {work.name}",
                expected=f"a constant of {work.windows} integers, 0 or more, once for each producer",
            )
        waits[wait.producer] = windows.astype(np.int64)
    return waits


def _derive_graph(program: Program, sizes: Sizes) -> WorkGraph:
    contents = {content.layer.name: content for content in collect_layers(program)}
    network = _as_network(program, contents)
    layers = {
        node.name: _describe(program, contents[node.name], network, node, sizes[node.name])
        for node in network.mvm_nodes
    }
    return DependencyTable(network, layers).graph(layers)


def _describe(
    program: Program, content: LayerContent, network: Network, node: Node, size: tuple[int, int]
) -> ChipLayer:
    streamed, *others = content.quantizations
    return ChipLayer(
        layer=derive_layer(network, node),
        cost=_count_cost(program, content),
        window=size,
        act_bits=_count_bits(streamed),
        stored_bits=_count_bits(others[0]) if others else 0,
        row_tiles=max(1, len({use.write.rows.start for use in content.tiles})),
        col_tiles=max(1, len({use.write.cols.start for use in content.tiles})),
        mapping=None,
    )


def _count_bits(item: QuantizeInput) -> int:
    return 1 if item.binary else (item.qmax - item.qmin).bit_length()


def _count_cost(program: Program, content: LayerContent) -> CopyCost:
    """Count what one copy takes: the slowest tile's reads, and all that the digital unit does."""
    prices = price_layer(program, content.layer)
    windows, body = find_window(content.layer.body)
    read_ps: dict[int, int] = {}
    operations = 0
    for item, times in walk(body):
        if isinstance(item, Mvm):
            read_ps[item.crossbar] = read_ps.get(item.crossbar, 0) + times * prices.mvm_ps
        elif isinstance(item, ShiftAdd):
            one = count_shift_add(program, item)
            read_ps[item.crossbar] += times * one.conversions * prices.conversion_ps
            operations += times * one.operations
        elif isinstance(item, SumInputs | DigitalProduct):
            operations += times * count_operations(program, item)
    sums = content.dequantize.stored_sums
    stored = sum(
        times * count_operations(program, item)
        for item, times in walk(content.layer.body)
        if isinstance(item, SumInputs) and sums and item.accumulators == sums
    )
    is_stored = len(content.quantizations) > 1
    return CopyCost(
        crossbars=len(content.writes),
        windows=windows,
        window_ps=max(read_ps.values(), default=0) + operations * prices.operation_ps,
        digital_ps=operations * prices.operation_ps,
        write_ps=(prices.write_ps * bool(content.writes) + stored * prices.operation_ps) if is_stored else 0,
    )


def find_window(body: tuple[Instruction, ...], times: int = 1) -> tuple[int, tuple[Instruction, ...]]:
    """Return how many windows instructions have, 0 for none, and what one of them does; they are run `times` times."""
    for item in body:
        if isinstance(item, Window):
            return times, item.body
        if isinstance(item, Loop):
            found = find_window(item.body, times * item.count)
            if found[0]:
                return found
    return 0, ()


def _as_network(program: Program, contents: Mapping[str, LayerContent]) -> Network:
    """Return the network that a program computes, with weights that have a shape and nothing else."""
    constants: dict[str, NDArray[Any]] = dict(program.constants)
    nodes = []
    for index, item in enumerate(program.instructions):
        if isinstance(item, Layer):
            nodes.append(_as_node(contents[item.name], constants))
        elif isinstance(item, Digital):
            nodes.append(Node(f"digital {index}", item.op, item.inputs, item.output, item.attributes))
    shapes = {name: one.shape for name, one in program.buffers.items() if one.is_tensor}

    def describe(names: tuple[str, ...]) -> tuple[TensorInfo, ...]:
        return tuple(TensorInfo(name, shapes[name]) for name in names)

    return Network(program.name, describe(program.inputs), describe(program.outputs), tuple(nodes), constants, shapes)


def _as_node(content: LayerContent, constants: dict[str, NDArray[Any]]) -> Node:
    name, geometry, output = content.layer.name, content.layer.geometry, content.dequantize.target
    sources = tuple(item.source for item in content.quantizations)
    if isinstance(geometry, ConvGeometry):
        shape: tuple[int, ...] = (geometry.outputs, geometry.channels // geometry.groups, *geometry.kernel)
        keys = ("kernel", "strides", "pads", "dilations", "groups")
        attributes = {key: getattr(geometry, key) for key in keys}
    elif isinstance(geometry, LinearGeometry):
        shape, attributes = (geometry.outputs, geometry.inputs), {}
    else:
        return Node(name, "matmul", sources, output)
    weights = f"{name}:shape of weights"
    constants[weights] = np.broadcast_to(np.float32(0), shape)
    op = "conv" if isinstance(geometry, ConvGeometry) else "linear"
    return Node(name, op, (*sources, weights), output, attributes)

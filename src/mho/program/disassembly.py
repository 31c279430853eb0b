"""A program as text: every instruction for who wants to read it, and a summary for who does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mho.formats import plural
from mho.program.geometry import ConvGeometry, LinearGeometry
from mho.program.instructions import (
    Affine,
    ClearAccumulators,
    Dequantize,
    Digital,
    DigitalProduct,
    Geometry,
    Instruction,
    LastStep,
    Layer,
    LoadInput,
    Loop,
    Mvm,
    QuantizeInput,
    Requantize,
    ShiftAdd,
    Span,
    SumInputs,
    Window,
    WriteDynamicTile,
    WriteTile,
)
from mho.program.layer_content import LayerContent, collect_layers
from mho.program.program import BufferKind, Program, walk
from mho.program.reload_work import list_layer_tiles
from mho.program.reloads import ProgramReloads
from mho.program.schedule import LayerSchedule, Schedule

_INDENT = "  "


def disassemble(program: Program) -> str:
    """Return the whole program as text, one instruction a line, loops and layers indented."""
    return "\n".join(_lines(program)) + "\n"


@dataclass(frozen=True)
class LayerSummary:
    """What one layer holds and does for one sample.

    Attributes:
        name, geometry: the layer.
        tiles: tiles of cells that it reads, those of each turn of a loop counted once.
        writes: crossbar writes that it executes; a tile that an earlier layer's write brings is none. In a program for
            a chip those of one copy: of weights once for all samples, of operands for each.
        operand_writes: those of them that write an operand, which earlier layers make, for each sample.
        copies: sets of crossbars that share its windows; 1 but in programs for a chip. Where tiles are reloaded, the
            crossbars that share those of one tile, at most.
        mvms: crossbar reads.
        cells_bytes: size of the constants that its tiles come from.
        adc_bits: with which its sums are converted; None: all that the ADCs have.
    """

    name: str
    geometry: str
    tiles: int
    writes: int
    operand_writes: int
    copies: int
    mvms: int
    cells_bytes: int
    adc_bits: int | None


@dataclass(frozen=True)
class ProgramSummary:
    """A program in a few numbers. `digital` counts digital operations by name."""

    name: str
    accelerator: str
    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]
    layers: tuple[LayerSummary, ...]
    digital: Mapping[str, int]
    instructions: int
    constants_bytes: int
    chip_crossbars: int | None
    """How many crossbars of a chip it takes; None in a program for one crossbar."""


def summarize(program: Program) -> ProgramSummary:
    """Summarize a program without running it."""
    digital: dict[str, int] = {}
    for item in program.instructions:
        if isinstance(item, Digital):
            digital[item.op] = digital.get(item.op, 0) + 1
    return ProgramSummary(
        name=program.name,
        accelerator=program.accelerator.name,
        inputs={name: program.buffers[name].shape for name in program.inputs},
        outputs={name: program.buffers[name].shape for name in program.outputs},
        layers=tuple(_summarize_layer(program, content) for content in collect_layers(program)),
        digital=digital,
        instructions=sum(1 for _ in walk(program.instructions)),
        constants_bytes=sum(array.nbytes for array in program.constants.values()),
        chip_crossbars=None if program.schedule is None else program.schedule.used_crossbars,
    )


def _summarize_layer(program: Program, content: LayerContent) -> LayerSummary:
    layer, writes, operand_writes, mvms = content.layer, 0, 0, 0
    for item, times in walk(layer.body):
        if isinstance(item, WriteTile | WriteDynamicTile) and not (isinstance(item, WriteTile) and item.joins):
            writes += times
            operand_writes += times * isinstance(item, WriteDynamicTile)
        elif isinstance(item, Mvm):
            mvms += times
    tiles = {use.write for use in content.tiles}
    cells = {write.cells for write in tiles if isinstance(write, WriteTile)}
    size = sum(program.constants[name].nbytes for name in cells)
    copies = 1
    if isinstance(program.schedule, Schedule):
        copies = len(program.schedule[layer.name].copies)
    elif isinstance(program.schedule, ProgramReloads):
        copies = max(program.schedule[layer.name].copies, default=1)
    return LayerSummary(
        name=layer.name,
        geometry=describe_geometry(layer.geometry),
        tiles=len(tiles),
        writes=writes,
        operand_writes=operand_writes,
        copies=copies,
        mvms=mvms,
        cells_bytes=size,
        adc_bits=layer.adc_bits,
    )


def describe_geometry(geometry: Geometry) -> str:
    """Return the product in a few words."""
    if isinstance(geometry, ConvGeometry):
        size = f"{geometry.channels}x{geometry.height}x{geometry.width} -> "
        size += f"{geometry.outputs}x{geometry.out_size[0]}x{geometry.out_size[1]}"
        details = [f"kernel {geometry.kernel[0]}x{geometry.kernel[1]}"]
        for name, value, usual in (
            ("strides", geometry.strides, (1, 1)),
            ("pads", geometry.pads, (0, 0, 0, 0)),
            ("dilations", geometry.dilations, (1, 1)),
        ):
            if value != usual:
                details.append(f"{name} {','.join(map(str, value))}")
        if geometry.groups > 1:
            details.append(f"groups {geometry.groups}")
        return f"conv {size}, {', '.join(details)}"
    if isinstance(geometry, LinearGeometry):
        return f"linear {geometry.inputs} -> {geometry.outputs}, {geometry.positions_count} positions"
    size = f"{geometry.inputs} -> {geometry.outputs}, {geometry.positions_count} positions"
    return f"matmul {size}, repeat {geometry.repeat}"


def _lines(program: Program) -> Iterator[str]:
    hardware = program.accelerator
    crossbar = f"{hardware.crossbar.rows}x{hardware.crossbar.cols} cells of {hardware.crossbar.cell_bits} bit"
    yield f"program {program.name}"
    adc = "ideal" if hardware.converters.has_ideal_adc else f"{hardware.converters.adc_bits}-bit"
    converters = f"{hardware.converters.dac_bits}-bit DAC, {adc} ADC"
    yield f"accelerator {hardware.name}: {crossbar}, {converters}"
    for title, names in (("input", program.inputs), ("output", program.outputs)):
        for name in names:
            yield f"{title} {name} {list(program.buffers[name].shape)}"
    for name, buffer in program.buffers.items():
        limits = f", {buffer.low}..{buffer.high} of {buffer.scale:.9g}" if buffer.kind is BufferKind.INTEGERS else ""
        yield f"buffer {name}: {buffer.kind.value} {list(buffer.shape)}{limits}"
    for name, array in program.constants.items():
        yield f"constant {name}: {array.dtype.name} {list(array.shape)}"
    for key, value in program.metadata.items():
        yield f"metadata {key}: {value}"
    yield ""
    yield from _body(program.instructions, 0)
    if program.schedule is not None:
        yield ""
        yield "schedule:"
        yield from _reloads(program) if isinstance(program.schedule, ProgramReloads) else _windows(program)


def _windows(program: Program) -> Iterator[str]:
    """Yield the schedule of windows of layers whose tiles have crossbars of their own."""
    assert isinstance(program.schedule, Schedule), "a schedule of windows"
    for layer in program.schedule.layers:
        yield from _scheduled(layer)


def _reloads(program: Program) -> Iterator[str]:
    """Yield the reloads of the first batch; those of others lie in constants."""
    schedule, layers = program.schedule, list_layer_tiles(program)
    assert isinstance(schedule, ProgramReloads), "a schedule with reloads"
    batches = len(layers[0].crossbars)
    period = f"a period of {plural(batches, 'batch', 'batches')} of {plural(schedule.batch, 'input')}"
    yield f"{_INDENT}{period}; x0..x{schedule.used_crossbars - 1}, from x{schedule.rotating} on for good"
    if schedule.next_crossbars != tuple(range(schedule.rotating)):
        turned = ", ".join(f"x{crossbar}" for crossbar in schedule.next_crossbars)
        yield f"{_INDENT}in the next period x0..x{schedule.rotating - 1} stand for {turned}"
    if not schedule.writes_ahead:
        yield f"{_INDENT}a batch begins with nothing written"
    for layer in layers:
        yield f"{_INDENT}layer {layer.content.layer.name}: {layer.reloads.crossbars}[batch, reload]"
        for number, copies in enumerate(layer.reloads.copies):
            first = layer.first_reloads[number]
            own = layer.crossbars[0, first : first + copies * layer.samples].tolist()
            yield f"{2 * _INDENT}tile {number} in {', '.join(f'x{crossbar}' for crossbar in own)}"


def _scheduled(layer: LayerSchedule) -> Iterator[str]:
    yield f"{_INDENT}layer {layer.name}:"
    if layer.core is not None:
        yield f"{2 * _INDENT}the digital unit of core {layer.core}"
    for number, copy in enumerate(layer.copies if layer.core is None else ()):
        yield f"{2 * _INDENT}copy {number} in {', '.join(f'x{crossbar}' for crossbar in copy)}"
    for wait in layer.waits:
        yield f"{2 * _INDENT}each window waits for {wait.windows}[window] windows of {wait.producer}"
    for stored in layer.stored_waits:
        yield f"{2 * _INDENT}the stored operand waits for {stored.windows} windows of {stored.producer}"


def _body(body: tuple[Instruction, ...], depth: int) -> Iterator[str]:
    for item in body:
        yield _INDENT * depth + _WRITERS[type(item)](item)
        if isinstance(item, Loop | Window | Layer):
            yield from _body(item.body, depth + 1)


def _adc(layer: Layer) -> str:
    return "" if layer.adc_bits is None else f", {layer.adc_bits}-bit conversions"


def _affine(address: Affine) -> str:
    terms = [f"{stride}*{variable}" if stride != 1 else variable for variable, stride in address.strides]
    if address.base or not terms:
        terms.insert(0, str(address.base))
    return " + ".join(terms)


def _span(span: Span) -> str:
    return f"{span.start}..{span.stop - 1}"


def _digital(item: Digital) -> str:
    attributes = "".join(f", {key}={_value(value)}" for key, value in item.attributes.items())
    return f"{item.output} = {item.op}({', '.join(item.inputs)}{attributes})"


def _value(value: Any) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, tuple) else str(value)


def _quantize_input(item: QuantizeInput) -> str:
    grid = "{-1, +1}" if item.binary else f"{item.qmin}..{item.qmax}"
    pads = f", pads {list(map(list, item.pads))}" if any(map(any, item.pads)) else ""
    return (
        f"quantize {item.source} -> {item.target}: scale {item.scale:.9g}, zero {item.zero_point}, {grid}, "
        f"offset {item.offset}{pads}{_from(item.start)}"
    )


def _sum_inputs(item: SumInputs) -> str:
    return (
        f"sum {item.codes}[{_affine(item.address)} + {item.row_offsets}] -> {item.accumulators}[{_affine(item.target)}]"
    )


def _write_tile(item: WriteTile) -> str:
    place = f"[{_affine(item.index)}, {_span(item.rows)}, {_span(item.cols)}]"
    corner = f" at {item.corner[0]},{item.corner[1]}" if any(item.corner) else ""
    return f"{'join' if item.joins else 'write'} x{item.crossbar}{corner} <- {item.cells}{place}"


def _digital_product(item: DigitalProduct) -> str:
    streamed = f"{item.codes}[{_affine(item.address)} + {item.row_offsets}]"
    stored = f"{item.stored}[{_affine(item.stored_address)} + {item.stored_rows} + {item.stored_columns}]"
    return f"multiply {streamed} * {stored} -> {item.accumulators}[{_affine(item.target)} + {item.column_targets}]"


def _write_dynamic_tile(item: WriteDynamicTile) -> str:
    offsets = f"{item.row_offsets} + {item.column_offsets}"
    bits = f"{item.cell_bits}-bit cells" + (", two's complement" if item.is_signed else "")
    return (
        f"encode x{item.crossbar} <- {item.codes}[{_affine(item.address)} + {offsets}], rows {_span(item.rows)}, "
        f"cols {_span(item.cols)}, addend {item.addend}, {bits}"
    )


def _load_input(item: LoadInput) -> str:
    return (
        f"load x{item.crossbar}{_from(item.first_row)} <- {item.codes}[{_affine(item.address)} + "
        f"{item.row_offsets}[{_span(item.rows)}]] >> {_affine(item.shift)} + {item.row_shifts}, {item.dac_bits} bit"
    )


def _shift_add(item: ShiftAdd) -> str:
    target = f"{item.accumulators}[{_affine(item.address)} + {item.column_offsets}[{_span(item.cols)}]]"
    counts = f"counts of x{item.crossbar}{_from(item.first_col)}"
    return f"add {target} += {counts} * {item.column_weights} << {_affine(item.shift)}"


def _from(first: int) -> str:
    return f" from {first}" if first else ""


def _total(item: LastStep) -> str:
    total = f"{item.accumulators} + {item.correction}"
    if item.sum_factors:
        total += f" + {item.sum_factors} * sum of inputs"
    if item.stored_sums:
        total += f" + {item.stored_factor} * {item.stored_sums}"
    return total


def _layout(item: LastStep) -> str:
    margins = f", margins {list(item.layout.margins)}" if any(item.layout.margins) else ""
    return f"sums laid out {list(item.layout.shape)}{margins}"


def _dequantize(item: Dequantize) -> str:
    bias = f" + {item.bias}" if item.bias else ""
    return f"{item.target} = ({_total(item)}) * {item.multiplier}{bias}, {_layout(item)}"


def _requantize(item: Requantize) -> str:
    shifted = f"(({_total(item)}) * {item.multiplier} + {item.offset}) >> {item.shift}"
    return f"{item.target} = {shifted} within {item.low}..{item.high}, {_layout(item)}"


_WRITERS: Mapping[type, Callable[[Any], str]] = {
    Digital: _digital,
    QuantizeInput: _quantize_input,
    ClearAccumulators: lambda item: f"clear {item.accumulators}",
    SumInputs: _sum_inputs,
    DigitalProduct: _digital_product,
    WriteTile: _write_tile,
    WriteDynamicTile: _write_dynamic_tile,
    LoadInput: _load_input,
    Mvm: lambda item: f"mvm x{item.crossbar}",
    ShiftAdd: _shift_add,
    Dequantize: _dequantize,
    Requantize: _requantize,
    Loop: lambda item: f"for {item.variable} in 0..{item.count - 1}:",
    Window: lambda _item: "window:",
    Layer: lambda item: f"layer {item.name}: {describe_geometry(item.geometry)}{_adc(item)}",
}

"""What the parts of one layer's lowering share: its integers, its mapping, its buffers and constants."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.arithmetic.attributes import get_int, get_ints
from mho.errors import MappingError
from mho.hardware.spec import Accelerator
from mho.mapping.cell_contents import PartContents, lay_out
from mho.mapping.layer_mapping import LayerMapping
from mho.network.graph import Grid, LayerQuantization, Network, Node
from mho.program.geometry import AccumulatorLayout, ConvGeometry, LinearGeometry, MatmulGeometry
from mho.program.instructions import Affine, Geometry, Instruction, Loop
from mho.program.layer_content import Loops
from mho.program.program import Buffer, BufferKind


@dataclass
class LayerContext:
    """One layer on its way to instructions.

    Attributes:
        node, quantization, geometry: what is computed.
        mapping: how it lies in tiles; `contents` has every part.
        layout: where its sums lie.
        first_code: address of the first code of the streamed operand; windows that stick out read before it.
        buffers, constants: what has been made so far, by name.
    """

    node: Node
    quantization: LayerQuantization
    geometry: Geometry
    mapping: LayerMapping
    contents: tuple[PartContents, ...]
    layout: AccumulatorLayout
    first_code: int
    codes_size: int
    buffers: dict[str, Buffer] = field(default_factory=dict)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def input_offset(self) -> int:
        """What makes the codes of the inputs unsigned."""
        return max(0, -self.quantization.input.qmin)

    @property
    def code_of_zero(self) -> int:
        """k: the code of the value 0."""
        return self.input_offset + int(self.quantization.input.zero_points)

    @property
    def weight_offset(self) -> int:
        """What the encoding adds to every stored integer."""
        return self.contents[0].weight_offset if self.contents else 0

    @property
    def needs_digital_sums(self) -> bool:
        """True where sums of inputs are needed and no correction column gives them."""
        return self.layout.has_sums and not any(part.correction_cols for part in self.mapping.parts)

    @property
    def weight_zero_points(self) -> NDArray[np.int64]:
        """int64 [groups, outputs of a group]."""
        shape = (self.geometry.groups, self.geometry.outputs_per_group)
        zero_points = self.quantization.weight.zero_points
        return np.broadcast_to(zero_points.reshape(shape if zero_points.ndim else (1, 1)), shape)

    def buffer(self, role: str, kind: BufferKind, size: int) -> str:
        """Make a flat buffer of this layer and return its name."""
        name = f"{self.node.name}:{role}"
        self.buffers[name] = Buffer(kind, (size,))
        return name

    def constant(self, role: str, value: NDArray[Any]) -> str:
        """Make a constant of this layer and return its name."""
        name = f"{self.node.name}:{role}"
        self.constants[name] = value
        return name


def make_context(network: Network, node: Node, accelerator: Accelerator, mapping: LayerMapping) -> LayerContext:
    """Lay one quantized MVM node out as `mapping` says. Raises `MappingError`."""
    quantization = node.quantization
    assert quantization is not None
    weight = quantization.weight
    _check_input_grid(quantization.input)
    contents = tuple(lay_out(mapping, part, accelerator) for part in mapping.parts)
    geometry = derive_geometry(network, node)
    takes_sums = any(part.weight_offset for part in contents) or any(part.correction_cols for part in mapping.parts)
    layout = geometry.layout(has_sums=takes_sums or bool(weight.zero_points.any()), margins=_margins(contents))
    first, last = _reach_of_codes(geometry, contents)
    start = max(0, -first)
    return LayerContext(
        node, quantization, geometry, mapping, contents, layout, start, start + max(geometry.codes_size, last + 1)
    )


def derive_geometry(network: Network, node: Node) -> Geometry:
    """Derive which codes meet which weights."""
    shape = network.shapes[node.inputs[0]]
    if node.op == "conv":
        batch, channels, height, width = shape
        outputs = network.constants[node.inputs[1]].shape[0]
        kernel, strides = get_ints(node.attributes, "kernel"), get_ints(node.attributes, "strides")
        top, left, bottom, right = get_ints(node.attributes, "pads")
        dilations, groups = get_ints(node.attributes, "dilations"), get_int(node.attributes, "groups")
        return ConvGeometry(
            batch,
            channels,
            height,
            width,
            outputs,
            (kernel[0], kernel[1]),
            (strides[0], strides[1]),
            (top, left, bottom, right),
            (dilations[0], dilations[1]),
            groups,
        )
    if node.op == "linear":
        outputs, inputs = network.constants[node.inputs[1]].shape
        return LinearGeometry(math.prod(shape[:-1]), inputs, outputs)
    stored = network.shapes[node.inputs[1]]
    return MatmulGeometry(math.prod(shape[:-2]), shape[-2], shape[-1], stored[-1])


def row_addresses(geometry: Geometry, contents: PartContents) -> NDArray[np.int64]:
    """Return where the code of each row of a part lies, from the first pixel of a window, int64 [rows]."""
    strides, rows = geometry.code_strides, contents.rows
    return rows.channel * strides.channel + rows.pixel @ np.array([strides.row, strides.column], dtype=np.int64)


def window_steps(geometry: Geometry, contents: PartContents) -> tuple[int, int]:
    """Return the distance of codes between neighbouring windows, along height and width."""
    strides, (height, width) = geometry.code_strides, contents.grid.sweeps(contents.part.window)
    return height.step * geometry.pixel_steps[0] * strides.row, width.step * geometry.pixel_steps[1] * strides.column


def affine(base: int, strides: dict[str, int], loops: Loops) -> Affine:
    """Return the address that starts at `base` and moves with `loops`; those of one turn do not occur, see `nest`."""
    turning = {variable for variable, count in loops if count > 1}
    moving = {variable: stride for variable, stride in strides.items() if stride and variable in turning}
    return Affine(base, tuple(moving.items()))


def nest(loops: Loops, body: tuple[Instruction, ...]) -> tuple[Instruction, ...]:
    """Enclose `body` in loops, outermost first; a loop of one turn is left out (its variable is then in no address)."""
    for variable, count in reversed(loops):
        if count > 1:
            body = (Loop(variable, count, body),)
    return body


def _check_input_grid(grid: Grid) -> None:
    offset, limit = max(0, -grid.qmin), (1 << grid.bits) - 1
    codes = (grid.qmin + offset, grid.qmax + offset, int(grid.zero_points) + offset)
    if min(codes) < 0 or max(codes) > limit:
        raise MappingError(
            f"inputs {grid.qmin}..{grid.qmax} with zero point {int(grid.zero_points)} do not fit {grid.bits} bit(s)",
            expected=f"codes 0..{limit} once the smallest integer is moved to 0",
            hint="quantize the layer's input on a grid of as many integers as its bits allow",
        )


def _margins(contents: tuple[PartContents, ...]) -> tuple[int, int, int, int]:
    """Return how far the windows of all parts stick out before and after rows, before and after columns."""
    margins = [0, 0, 0, 0]
    for part in contents:
        for axis, sweep in enumerate(part.grid.sweeps(part.part.window)):
            before, after = 2 * axis, 2 * axis + 1
            last = (sweep.count - 1) * sweep.step + sweep.offsets[-1]
            margins[before] = max(margins[before], -sweep.offsets[0])
            margins[after] = max(margins[after], last - (sweep.positions - 1))
    return margins[0], margins[1], margins[2], margins[3]


def _reach_of_codes(geometry: Geometry, contents: tuple[PartContents, ...]) -> tuple[int, int]:
    """Return the first and the last code that windows read, from the first code of the layer."""
    strides = geometry.code_strides
    first, last = 0, 0
    for part in contents:
        addresses = row_addresses(geometry, part)
        sweeps, steps = part.grid.sweeps(part.part.window), window_steps(geometry, part)
        end = (part.grid.batch - 1) * strides.image + (part.part.groups.stop - 1) * strides.group
        end += sum((sweep.count - 1) * step for sweep, step in zip(sweeps, steps, strict=True))
        first, last = min(first, int(addresses.min())), max(last, end + int(addresses.max()))
    return first, last

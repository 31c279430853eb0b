"""Programs written by hand, one for each thing that a mapping may do, with inputs and the outputs they must give.

All run on 8 x 8 cells of 2 bits with 2-bit DACs; scales are 1 and inputs unsigned, so that numbers can be followed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from accelerators import make_accelerator

from mho.hardware.spec import Accelerator
from mho.program.geometry import NO_MARGINS, ConvGeometry, LinearGeometry, MatmulGeometry
from mho.program.instructions import (
    Affine,
    ClearAccumulators,
    Dequantize,
    DigitalProduct,
    Geometry,
    Instruction,
    Layer,
    LoadInput,
    Loop,
    Mvm,
    QuantizeInput,
    ShiftAdd,
    Span,
    SumInputs,
    WriteDynamicTile,
    WriteTile,
)
from mho.program.program import Buffer, BufferKind, Program

ZERO, X = Affine(0), (("x", 1),)
SLICES = Affine(0, (("s", 2),))
"""The shift of a step s of 2 bits."""


@dataclass(frozen=True)
class HandMade:
    """A program, what it is fed with and what it must give for the output "y"."""

    program: Program
    inputs: Mapping[str, np.ndarray]
    expected: np.ndarray


def windows() -> HandMade:
    """A kernel (2, 3) over 4 pixels, two positions an MVM: the second window sticks out by a pixel and a position."""
    bench = Bench("conv", ConvGeometry(1, 1, 1, 4, 1, (1, 2), (1, 1), (0, 0, 0, 0), (1, 1), 1))
    write = bench.write([[2, 0], [3, 2], [0, 3]])
    rows, cols = bench.rows([0, 1, 2]), bench.cols([0, 1])
    body = (write, Loop("x", 2, bench.read(rows, cols, Affine(0, (("x", 2),)), Affine(0, (("x", 2),)))))
    layer = bench.layer(body, source="x", target="y", margins=(0, 0, 0, 1))
    x = np.array([[1, 2, 3, 1], [0, 3, 0, 2]]).reshape(2, 1, 1, 1, 4)
    expected = np.array([[8, 13, 9], [9, 6, 6]]).reshape(2, 1, 1, 3)
    program = make_program([bench], [layer], {"x": (1, 1, 1, 4), "conv:codes": 5, "conv:sums": 4, "y": (1, 1, 1, 3)})
    return HandMade(program, {"x": x}, expected)


def packed() -> HandMade:
    """Three groups of one channel, weights 1, 2 and 3 less 2 (a sum of inputs is taken back), two groups a tile."""
    bench = Bench("conv", ConvGeometry(1, 3, 1, 2, 3, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 3))
    # Columns are an output and the sum of its inputs, for each of the groups.
    pair, rest = bench.write([[1, 1, 0, 0], [0, 0, 2, 1]]), bench.write([[3, 1]], ".rest")
    of_pair = bench.read(bench.rows([0, 2]), bench.cols([0, 2, 4, 6]), Affine(0, X), Affine(0, X))
    of_rest = bench.read(bench.rows([0], ".rest"), bench.cols([0, 2], ".rest"), Affine(4, X), Affine(8, X))
    body = (pair, Loop("x", 2, of_pair), rest, Loop("x", 2, of_rest))
    layer = bench.layer(body, source="x", target="y", factors=-2)
    x = np.array([[1, 2], [3, 0], [2, 3]])
    expected = x * np.array([[-1], [0], [1]])
    program = make_program([bench], [layer], {"x": (1, 3, 1, 2), "conv:codes": 6, "conv:sums": 12, "y": (1, 3, 1, 2)})
    return HandMade(program, {"x": x.reshape(1, 1, 3, 1, 2)}, expected.reshape(1, 3, 1, 2))


def joined() -> HandMade:
    """Two dense layers in one crossbar, written at once: the second, of weights 3 and 1, at row 2 and column 3."""
    first, second = Bench("first", LinearGeometry(1, 2, 2)), Bench("second", LinearGeometry(1, 2, 1))
    reads = first.read(first.rows([0, 1]), first.cols([0, 1]), ZERO, ZERO)
    body = (first.write([[1, 2], [3, 0]]), second.write([[3], [1]], corner=(2, 3), joins=True), *reads)
    later = second.read(
        second.rows([0, 1]), second.cols([0]), ZERO, ZERO, shift=SLICES, first_row=2, first_col=3
    )  # fmt: skip
    layers = [
        first.layer(body, source="x", target="h"),
        second.layer((Loop("s", 2, later),), source="h", target="y", bits=4),
    ]
    sizes = {"x": (1, 2), "first:codes": 2, "first:sums": 2, "h": (1, 2), "second:codes": 2, "second:sums": 1}
    # h is (3 + 6, 6) and (1, 2).
    program = make_program([first, second], layers, {**sizes, "y": (1, 1)})
    return HandMade(program, {"x": np.array([[[3, 2]], [[1, 0]]])}, np.array([[27 + 6], [3 + 2]]))


def side_by_side() -> HandMade:
    """A dense layer of weight 3, fed with both slices of 4-bit codes at once: 3 and 3 << 2, in columns of digits."""
    bench = Bench("fc", LinearGeometry(1, 1, 1))
    rows, cols = bench.rows([0, 0], shifts=[0, 2]), bench.cols([0, 0], weights=[1, 4])
    body = (bench.write([[3, 0], [0, 3]]), *bench.read(rows, cols, ZERO, ZERO))
    layer = bench.layer(body, source="x", target="y", bits=4)
    program = make_program([bench], [layer], {"x": (1, 1), "fc:codes": 1, "fc:sums": 1, "y": (1, 1)})
    x = np.arange(16).reshape(16, 1, 1)
    return HandMade(program, {"x": x}, 3 * x[:, 0])


def partial_reads() -> HandMade:
    """Three inputs of weights 3, -2 and 1 in differential columns, on a crossbar that drives two rows at once."""
    bench = Bench("fc", LinearGeometry(1, 3, 1))
    rows, cols = bench.rows([0, 1, 2]), bench.cols([0, 0], weights=[1, -1])
    first = bench.read(Rows(rows.name, Span(0, 2)), cols, ZERO, ZERO)
    last = bench.read(Rows(rows.name, Span(2, 3)), cols, ZERO, ZERO, first_row=2)
    body = (bench.write([[3, 0], [0, 2], [1, 0]]), *first, *last)
    layer = bench.layer(body, source="x", target="y")
    hardware = make_accelerator(8, 8, 2, 2, adc_bits=5, crossbar={"active_rows": 2})
    program = make_program([bench], [layer], {"x": (1, 3), "fc:codes": 3, "fc:sums": 1, "y": (1, 1)}, hardware)
    return HandMade(program, {"x": np.array([[[1, 2, 3]], [[3, 0, 1]]])}, np.array([[2], [10]]))


def twos_complement() -> HandMade:
    """A stored operand of -4 .. 3: for each output a column of two bits and one of the sign bit, weights 1 and -4."""
    bench = Bench("qk", MatmulGeometry(1, 2, 2, 2))
    bench.constants |= {
        "qk:stored_rows": np.array([0, 2]), "qk:row_blocks": np.array([0, 0]),
        "qk:stored_columns": np.array([0, 0, 1, 1]), "qk:column_signs": np.array([1, 1, 1, 1]),
        "qk:starts": np.array([0, 2, 0, 2]), "qk:bits": np.array([2, 1, 2, 1]),
        "qk:column_shifts": np.zeros(4, np.int64), "qk:column_blocks": np.zeros(4, np.int64),
    }  # fmt: skip
    rows, cols = bench.rows([0, 1]), bench.cols([0, 0, 1, 1], weights=[1, -4, 1, -4])
    write = WriteDynamicTile(
        0, "qk:stored", ZERO, "qk:stored_rows", "qk:row_signs", "qk:row_shifts", "qk:row_blocks", "qk:stored_columns",
        "qk:column_signs", "qk:starts", "qk:bits", "qk:column_shifts", "qk:column_blocks", 0, True, 2, Span(0, 2),
        Span(0, 4),
    )  # fmt: skip
    reads = bench.read(rows, cols, Affine(0, (("x", 2),)), Affine(0, (("x", 2),)))
    return _product(bench, (write, Loop("x", 2, reads)))


def digital_product() -> HandMade:
    """The same product on the digital unit."""
    bench = Bench("qk", MatmulGeometry(1, 2, 2, 2))
    bench.constants |= {
        "qk:row_offsets": np.array([0, 1], np.int16), "qk:stored_rows": np.array([0, 2], np.int8),
        "qk:stored_columns": np.array([0, 1], np.uint8), "qk:column_targets": np.array([0, 1], np.int64),
    }  # fmt: skip
    item = DigitalProduct(
        "qk:codes", Affine(0, (("x", 2),)), "qk:row_offsets", "qk:stored", ZERO, "qk:stored_rows",
        "qk:stored_columns", "qk:sums", Affine(0, (("x", 2),)), "qk:column_targets",
    )  # fmt: skip
    return _product(bench, (Loop("x", 2, (item,)),))


def digital_weights() -> HandMade:
    """Two positions of two inputs on the digital unit: weights 3 and -1 of the first output, 0 and 2 of the second."""
    bench = Bench("fc", LinearGeometry(2, 2, 2))
    bench.constants |= {
        "fc:row_offsets": np.array([0, 1], np.int16), "fc:weights": np.array([3, -1, 0, 2], np.int8),
        "fc:stored_rows": np.array([0, 1], np.int8), "fc:stored_columns": np.array([0, 2], np.int8),
        "fc:column_targets": np.array([0, 1], np.int64),
    }  # fmt: skip
    item = DigitalProduct(
        "fc:codes", Affine(0, (("x", 2),)), "fc:row_offsets", "fc:weights", ZERO, "fc:stored_rows",
        "fc:stored_columns", "fc:sums", Affine(0, (("x", 2),)), "fc:column_targets",
    )  # fmt: skip
    layer = bench.layer((Loop("x", 2, (item,)),), source="x", target="y")
    program = make_program([bench], [layer], {"x": (2, 2), "fc:codes": 4, "fc:sums": 4, "y": (2, 2)})
    return HandMade(program, {"x": np.array([[[1, 2], [3, 0]]])}, np.array([[[1, 4], [9, 0]]]))


def images() -> HandMade:
    """Two images of two pixels, one kernel of 1 x 1 that triples."""
    bench = Bench("conv", ConvGeometry(2, 1, 1, 2, 1, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1))
    address = Affine(0, (("b", 2), ("x", 1)))
    reads = bench.read(bench.rows([0]), bench.cols([0]), address, address)
    body = (bench.write([[3]]), Loop("b", 2, (Loop("x", 2, reads),)))
    layer = bench.layer(body, source="x", target="y")
    x = np.arange(4).reshape(1, 2, 1, 1, 2)
    program = make_program([bench], [layer], {"x": (2, 1, 1, 2), "conv:codes": 4, "conv:sums": 4, "y": (2, 1, 1, 2)})
    return HandMade(program, {"x": x}, 3 * x)


def digital_sums() -> HandMade:
    """Two positions of two inputs, weights 3 and 0 less 1: the digital unit sums up each input vector."""
    bench = Bench("fc", LinearGeometry(2, 2, 1))
    codes, sums = Affine(0, (("x", 2),)), Affine(0, (("x", 2),))
    vector = bench.rows([0, 1])
    total = SumInputs("fc:codes", codes, "fc:row_offsets", "fc:sums", Affine(1, (("x", 2),)))
    reads = bench.read(vector, bench.cols([0]), codes, sums)
    body = (Loop("x", 2, (total,)), bench.write([[3], [0]]), Loop("x", 2, reads))
    layer = bench.layer(body, source="x", target="y", factors=-1)
    program = make_program([bench], [layer], {"x": (2, 2), "fc:codes": 4, "fc:sums": 4, "y": (2, 1)})
    return HandMade(program, {"x": np.array([[[1, 2], [3, 3]]])}, np.array([[[0], [3]]]))


def offset_product() -> HandMade:
    """Inputs of -1 .. 2 and a stored operand of -1 .. 2: both are moved by 1, and all that this adds is taken back."""
    bench = Bench("qk", MatmulGeometry(1, 2, 2, 2))
    zeros = np.zeros(3, np.int64)
    bench.constants |= {
        "qk:stored_rows": np.array([0, 2]), "qk:row_blocks": zeros[:2], "qk:stored_columns": np.array([0, 1, -1]),
        "qk:column_signs": zeros + 1, "qk:starts": zeros, "qk:bits": zeros + 2, "qk:column_shifts": zeros,
        "qk:column_blocks": zeros, "qk:vector": np.array([0, 2]),
    }  # fmt: skip
    total = SumInputs("qk:stored", Affine(0, (("o", 1),)), "qk:vector", "qk:stored_sums", Affine(0, (("o", 1),)))
    write = WriteDynamicTile(
        0, "qk:stored", ZERO, "qk:stored_rows", "qk:row_signs", "qk:row_shifts", "qk:row_blocks", "qk:stored_columns",
        "qk:column_signs", "qk:starts", "qk:bits", "qk:column_shifts", "qk:column_blocks", 1, False, 2, Span(0, 2),
        Span(0, 3),
    )  # fmt: skip
    reads = bench.read(bench.rows([0, 1]), bench.cols([0, 1, 2]), Affine(0, (("x", 2),)), Affine(0, (("x", 3),)))
    stored = QuantizeInput("b", "qk:stored", 0, 1.0, 0, -1, 2, False, 0, ((0, 0),) * 3)
    body = (stored, ClearAccumulators("qk:stored_sums"), Loop("o", 2, (total,)), write, Loop("x", 2, reads))
    layer = bench.layer(body, source="a", target="y", rank=3, offset=1, factors=-1, stored_sums="qk:stored_sums")
    sizes = {"a": (1, 2, 2), "b": (1, 2, 2), "qk:codes": 4, "qk:stored": 4, "qk:sums": 6, "qk:stored_sums": 2}
    a, b = np.array([[-1, 2], [1, 0]]), np.array([[-1, 2], [2, 1]])
    program = make_program([bench], [layer], {**sizes, "y": (1, 2, 2)})
    return HandMade(program, {"a": a[None, None], "b": b[None, None]}, (a @ b)[None])


def stored_windows() -> HandMade:
    """A stored integer of 0 .. 3, twice on the diagonal for two positions, fed with both slices of 4-bit codes."""
    bench = Bench("qk", MatmulGeometry(1, 2, 1, 1))
    zeros, blocks = np.zeros(4, np.int64), np.array([0, 0, 1, 1])
    bench.constants |= {
        "qk:stored_rows": zeros, "qk:row_blocks": blocks, "qk:stored_columns": zeros, "qk:column_signs": zeros + 1,
        "qk:starts": zeros, "qk:bits": zeros + 2, "qk:column_shifts": np.array([0, 2, 0, 2]),
        "qk:column_blocks": blocks,
    }  # fmt: skip
    write = WriteDynamicTile(
        0, "qk:stored", ZERO, "qk:stored_rows", "qk:row_signs", "qk:row_shifts", "qk:row_blocks", "qk:stored_columns",
        "qk:column_signs", "qk:starts", "qk:bits", "qk:column_shifts", "qk:column_blocks", 0, False, 2, Span(0, 4),
        Span(0, 4),
    )  # fmt: skip
    rows, cols = bench.rows([0, 0, 1, 1], shifts=[0, 2, 0, 2]), bench.cols([0, 0, 1, 1], weights=[1, 4, 1, 4])
    stored = QuantizeInput("b", "qk:stored", 0, 1.0, 0, 0, 3, False, 0, ((0, 0),) * 3)
    body = (stored, write, *bench.read(rows, cols, ZERO, ZERO))
    layer = bench.layer(body, source="a", target="y", rank=3, bits=4)
    sizes = {"a": (1, 2, 1), "b": (1, 1, 1), "qk:codes": 2, "qk:stored": 1, "qk:sums": 2, "y": (1, 2, 1)}
    a, b = np.array([[13, 6], [2, 15]]).reshape(2, 1, 2, 1), np.array([3, 2]).reshape(2, 1, 1, 1)
    return HandMade(make_program([bench], [layer], sizes), {"a": a, "b": b}, (a * b)[:, 0])


def _product(bench: Bench, body: tuple[Instruction, ...]) -> HandMade:
    stored = QuantizeInput("b", "qk:stored", 0, 1.0, 0, -4, 3, False, 0, ((0, 0),) * 3)
    layer = bench.layer((stored, *body), source="a", target="y", rank=3)
    sizes = {"a": (1, 2, 2), "b": (1, 2, 2), "qk:codes": 4, "qk:stored": 4, "qk:sums": 4, "y": (1, 2, 2)}
    a, b = np.array([[1, 3], [2, 0]]), np.array([[-4, 3], [-1, 2]])
    return HandMade(make_program([bench], [layer], sizes), {"a": a[None, None], "b": b[None, None]}, (a @ b)[None])


HAND_MADE: Mapping[str, Callable[[], HandMade]] = {
    make.__name__: make
    for make in (
        windows,
        packed,
        joined,
        side_by_side,
        partial_reads,
        twos_complement,
        digital_product,
        digital_weights,
        images,
        digital_sums,
        offset_product,
        stored_windows,
    )
}


@dataclass(frozen=True)
class Rows:
    """Rows (or columns) of an encoded matrix: what the names of their constants end in, and which of them."""

    name: str
    span: Span


class Bench:
    """Makes the instructions of one layer, and the constants that they use."""

    def __init__(self, name: str, geometry: Geometry) -> None:
        self.name, self.geometry = name, geometry
        self.constants: dict[str, np.ndarray] = {}

    def _constant(self, role: str, values: Any, dtype: type = np.int64) -> str:
        self.constants[f"{self.name}:{role}"] = np.array(values, dtype)
        return f"{self.name}:{role}"

    def write(
        self, cells: list[list[int]], suffix: str = "", corner: tuple[int, int] = (0, 0), joins: bool = False
    ) -> WriteTile:
        """Write one matrix."""
        name = self._constant(f"cells{suffix}", [cells], np.uint8)
        return WriteTile(0, name, ZERO, Span(0, len(cells)), Span(0, len(cells[0])), corner, joins)

    def rows(self, offsets: list[int], suffix: str = "", shifts: list[int] | None = None) -> Rows:
        """Make the constants of rows, all of sign +1."""
        self._constant(f"row_offsets{suffix}", offsets)
        self._constant(f"row_signs{suffix}", [1] * len(offsets))
        self._constant(f"row_shifts{suffix}", shifts or [0] * len(offsets))
        return Rows(suffix, Span(0, len(offsets)))

    def cols(self, offsets: list[int], suffix: str = "", weights: list[int] | None = None) -> Rows:
        """Make the constants of columns."""
        self._constant(f"column_offsets{suffix}", offsets)
        self._constant(f"column_weights{suffix}", weights or [1] * len(offsets))
        return Rows(suffix, Span(0, len(offsets)))

    def read(
        self,
        rows: Rows,
        cols: Rows,
        codes: Affine,
        sums: Affine,
        *,
        shift: Affine = ZERO,
        first_row: int = 0,
        first_col: int = 0,
    ) -> tuple[Instruction, ...]:
        """Drive rows, read, and add columns up."""
        row, col = (
            [f"{self.name}:{role}{lines.name}" for role in roles]
            for lines, roles in (
                (rows, ("row_offsets", "row_signs", "row_shifts")),
                (cols, ("column_offsets", "column_weights")),
            )
        )
        return (
            LoadInput(0, f"{self.name}:codes", codes, *row, rows.span, shift, 2, first_row),
            Mvm(0),
            ShiftAdd(0, f"{self.name}:sums", sums, *col, cols.span, shift, first_col),
        )

    def layer(
        self,
        body: tuple[Instruction, ...],
        *,
        source: str,
        target: str,
        bits: int = 2,
        offset: int = 0,
        factors: int = 0,
        stored_sums: str = "",
        margins: tuple[int, int, int, int] = NO_MARGINS,
        rank: int | None = None,
    ) -> Layer:
        """Enclose `body` in what every layer does.

        Args:
            body: what it does on crossbars.
            source, target: float buffers.
            bits, offset: codes of so many bits are the inputs plus `offset`.
            factors: what sums of inputs are multiplied with, if they are taken.
            stored_sums: sums of stored vectors, which are taken `offset` times.
            margins: of the sums.
            rank: axes of the source.
        """
        geometry, name = self.geometry, self.name
        layout = geometry.layout(has_sums=factors != 0, margins=margins)
        outputs = (geometry.groups, geometry.outputs_per_group)
        end = Dequantize(
            accumulators=f"{name}:sums",
            target=target,
            layout=layout,
            correction=self._constant("correction", np.zeros(outputs)),
            sum_factors=self._constant("factors", np.full(outputs, factors)) if factors else "",
            stored_sums=stored_sums,
            stored_factor=-offset if stored_sums else 0,
            multiplier=self._constant("multiplier", np.ones(outputs), np.float32),
            bias="",
        )
        pads = ((0, 0),) * (rank or (4 if isinstance(geometry, ConvGeometry) else 2))
        limits = -offset, 2**bits - 1 - offset
        begin = QuantizeInput(source, f"{name}:codes", 0, 1.0, 0, *limits, False, offset, pads)
        return Layer(name, geometry, (begin, ClearAccumulators(f"{name}:sums"), *body, end))


def make_program(
    benches: list[Bench],
    layers: list[Layer],
    sizes: Mapping[str, int | tuple[int, ...]],
    hardware: Accelerator | None = None,
) -> Program:
    """Put a program together: `sizes` tell the shapes of float buffers, and how long all others are."""
    buffers = {}
    for name, size in sizes.items():
        if isinstance(size, tuple):
            buffers[name] = Buffer(BufferKind.FLOAT, size)
        else:
            kind = BufferKind.ACCUMULATORS if name.endswith("sums") else BufferKind.CODES
            buffers[name] = Buffer(kind, (size,))
    inputs = tuple(name for name in ("x", "a", "b") if name in sizes)
    constants = {name: value for bench in benches for name, value in bench.constants.items()}
    hardware = hardware or make_accelerator(8, 8, 2, 2)
    return Program("hand made", hardware, inputs, ("y",), buffers, constants, tuple(layers), {})

"""What a layer's region computes is proven: each way of not computing it is found, on programs written by hand."""

from dataclasses import replace

import numpy as np
import pytest
from accelerators import make_accelerator
from bits import assert_same_bits
from hand_made import HAND_MADE, Bench, make_program
from small_programs import change_constant, change_instructions, compile_small, matmul_network

from mho.errors import ProgramError
from mho.program.geometry import AccumulatorLayout, ConvGeometry, MatmulGeometry
from mho.program.instructions import (
    Affine,
    ClearAccumulators,
    Dequantize,
    DigitalProduct,
    Layer,
    LoadInput,
    Loop,
    QuantizeInput,
    ShiftAdd,
    Span,
    SumInputs,
    WriteDynamicTile,
    WriteTile,
)
from mho.program.program import Buffer
from mho.program.verify import prove_program, verify_program
from mho.simulation.executor import Executor
from mho.simulation.interpreter import interpret


def instruction(kind, change, only=0):
    return lambda program: change_instructions(program, kind, change, only=only)


def constant(name, change):
    return lambda program: change_constant(program, name, change)


def becomes(values):
    return lambda _: values


def both(*damages):
    def damage(program):
        for one in damages:
            program = one(program)
        return program

    return damage


def cell(name, row, col, value):
    def change(cells):
        assert cells[0, row, col] != value
        cells[0, row, col] = value
        return cells

    return constant(name, change)


def buffer(name, size):
    def damage(program):
        sized = Buffer(program.buffers[name].kind, (size,))
        return replace(program, buffers={**program.buffers, name: sized})

    return damage


def margins(*values):
    return instruction(Dequantize, lambda i: replace(i, layout=replace(i.layout, margins=values)))


def strided(address, stride, base=0):
    return Affine(address.base + base, tuple((variable, stride) for variable, _ in address.strides))


DAMAGE = {
    "the second copy of a weight differs": ("windows", cell("conv:cells", 1, 1, 3), "positions meet different weights"),
    "a weight where no pixel meets the position": ("windows", cell("conv:cells", 0, 1, 1), "does not take"),
    "a weight is missing at one position": ("windows", cell("conv:cells", 2, 1, 0), "positions meet different weights"),
    "a column serves the position beside its own": (
        "windows",
        constant("conv:column_offsets", lambda a: a[::-1].copy()),
        "does not take|different weights",
    ),
    "two columns serve one position": ("windows", constant("conv:column_offsets", lambda a: a * 0), "does not take"),
    "windows overlap in codes": (
        "windows",
        instruction(LoadInput, lambda i: replace(i, address=strided(i.address, 1))),
        "codes of another",
    ),
    "windows overlap": (
        "windows",
        both(
            instruction(LoadInput, lambda i: replace(i, address=strided(i.address, 1))),
            instruction(ShiftAdd, lambda i: replace(i, address=strided(i.address, 1))),
        ),
        "positions meet different weights",
    ),
    "one window twice": (
        "windows",
        both(
            instruction(LoadInput, lambda i: replace(i, address=strided(i.address, 0))),
            instruction(ShiftAdd, lambda i: replace(i, address=strided(i.address, 0))),
        ),
        "a window is read twice",
    ),
    "the last window is left out": ("windows", instruction(Loop, lambda i: replace(i, count=1)), "gets no sums"),
    "a window too many": ("windows", instruction(Loop, lambda i: replace(i, count=3)), "addresses"),
    "a window too many with room for it": (
        "windows",
        both(
            instruction(Loop, lambda i: replace(i, count=3)),
            buffer("conv:codes", 9),
            buffer("conv:sums", 6),
        ),
        "6,. sums for a layout of 4",
    ),
    "all windows one position on": (
        "windows",
        instruction(ShiftAdd, lambda i: replace(i, address=strided(i.address, 1, base=1))),
        "codes of another|outside",
    ),
    "no margin": (
        "windows",
        both(margins(0, 0, 0, 0), buffer("conv:sums", 3)),
        "addresses",
    ),
    "the margin before instead of after": ("windows", margins(0, 0, 1, 0), "does not take"),
    "margins above instead of beside": ("windows", margins(0, 1, 0, 0), "layout of 6"),
    "a row is driven by the pixel beside its own": (
        "windows",
        constant("conv:row_offsets", becomes(np.array([0, 2, 1]))),
        "does not take|different weights",
    ),
    "another layer's stride": (
        "windows",
        instruction(Layer, lambda i: replace(i, geometry=replace(i.geometry, strides=(1, 2)))),
        "layout",
    ),
    "another layer's kernel": (
        "windows",
        instruction(
            Layer, lambda i: replace(i, geometry=ConvGeometry(1, 1, 1, 4, 1, (1, 2), (1, 1), (0, 1, 0, 0), (1, 1), 1))
        ),
        "layout|another shape",
    ),
    "a weight of another group": ("packed", cell("conv:cells", 0, 2, 1), "does not take"),
    "a one of another group": ("packed", cell("conv:cells", 1, 1, 1), "does not take"),
    "a column added to another group": (
        "packed",
        constant("conv:column_offsets", becomes(np.array([0, 2, 0, 2]))),
        "a group has no tiles",
    ),
    "a group that is driven by another's codes": (
        "packed",
        constant("conv:row_offsets", lambda a: a[::-1].copy()),
        "does not take",
    ),
    "a group without tiles": (
        "packed",
        instruction(ShiftAdd, lambda i: replace(i, address=Affine(4, i.address.strides)), only=1),
        "a group has no tiles",
    ),
    "a group that is held twice": (
        "packed",
        both(
            instruction(ShiftAdd, lambda i: replace(i, address=Affine(4, i.address.strides)), only=1),
            instruction(LoadInput, lambda i: replace(i, address=Affine(2, i.address.strides)), only=1),
        ),
        "a group has no tiles",
    ),
    "groups beyond the last": (
        "packed",
        both(
            instruction(ShiftAdd, lambda i: replace(i, address=Affine(8, i.address.strides)), only=0),
            buffer("conv:sums", 16),
        ),
        "layout of 12",
    ),
    "a cell of another layer": (
        "joined",
        instruction(LoadInput, lambda i: replace(i, first_row=1), only=1),
        "no single",
    ),
    "columns of another layer": (
        "joined",
        instruction(ShiftAdd, lambda i: replace(i, first_col=2), only=1),
        "no single",
    ),
    "a tile at another place": (
        "joined",
        instruction(WriteTile, lambda i: replace(i, corner=(3, 3)), only=1),
        "no single",
    ),
    "tiles that overlap": ("joined", instruction(WriteTile, lambda i: replace(i, corner=(1, 1)), only=1), "overlap"),
    "a tile beyond the crossbar": (
        "joined",
        instruction(WriteTile, lambda i: replace(i, corner=(7, 3)), only=1),
        "within",
    ),
    "a tile before the crossbar": (
        "joined",
        instruction(WriteTile, lambda i: replace(i, corner=(-1, 3)), only=1),
        "within",
    ),
    "a tile that clears the other": (
        "joined",
        instruction(WriteTile, lambda i: replace(i, joins=False), only=1),
        "no single|leave",
    ),
    "a tile that joins nothing": (
        "joined",
        instruction(WriteTile, lambda i: replace(i, joins=True), only=0),
        "did not begin",
    ),
    "a step of another weight": (
        "joined",
        instruction(ShiftAdd, lambda i: replace(i, shift=Affine(0)), only=1),
        "another weight",
    ),
    "a step too few": ("joined", instruction(Loop, lambda i: replace(i, count=1)), "slices are not complete"),
    "steps that leave bits out": (
        "joined",
        both(
            instruction(LoadInput, lambda i: replace(i, shift=strided(i.shift, 3)), only=1),
            instruction(ShiftAdd, lambda i: replace(i, shift=strided(i.shift, 3)), only=1),
        ),
        "slices are not complete",
    ),
    "the second slice meets another weight": ("side_by_side", cell("fc:cells", 1, 1, 2), "different weights"),
    "the second slice is driven by the first's bits": (
        "side_by_side",
        constant("fc:row_shifts", lambda a: a * 0),
        "slices are not complete",
    ),
    "slices that overlap": ("side_by_side", constant("fc:row_shifts", lambda a: a // 2), "not complete"),
    "the first slice is left out": ("side_by_side", constant("fc:row_shifts", lambda a: a + 2), "not complete"),
    "slices count alike": ("side_by_side", constant("fc:column_weights", lambda a: a * 0 + 1), "different weights"),
    "codes of more slices than enter": (
        "side_by_side",
        instruction(QuantizeInput, lambda i: replace(i, qmax=16)),
        "not complete",
    ),
    "rows that are not read": ("partial_reads", instruction(LoadInput, lambda _: None, only=1), None),
    "rows that are read twice": (
        "partial_reads",
        instruction(LoadInput, lambda i: replace(i, rows=Span(1, 3), first_row=1), only=1),
        "overlap",
    ),
    "rows driven as others": (
        "partial_reads",
        instruction(LoadInput, lambda i: replace(i, first_row=1), only=1),
        "no single",
    ),
    "more rows than may be driven": (
        "partial_reads",
        instruction(LoadInput, lambda i: replace(i, rows=Span(0, 3)), only=0),
        "3 rows are driven at once",
    ),
    "two rows of the same sign and an ADC for one": (
        "partial_reads",
        both(
            lambda program: replace(program, accelerator=make_accelerator(8, 8, 2, 2, adc_bits=5)),
            constant("fc:row_signs", lambda a: -a),
        ),
        "6 bits",
    ),
    "bits of the stored integer left out": ("twos_complement", constant("qk:bits", lambda a: a - 1), "stored integers"),
    "the sign bit is added": ("twos_complement", constant("qk:column_weights", np.abs), "stored integers"),
    "another bit for the sign": (
        "twos_complement",
        constant("qk:starts", lambda a: np.where(a, 1, 0)),
        "stored integers",
    ),
    "digits of another place": ("twos_complement", constant("qk:column_shifts", lambda a: a + 1), "stored integers"),
    "an addend that is not taken back": (
        "twos_complement",
        instruction(WriteDynamicTile, lambda i: replace(i, addend=1)),
        "stored",
    ),
    "signs in place of bits": (
        "twos_complement",
        instruction(WriteDynamicTile, lambda i: replace(i, is_signed=False)),
        "stored integers",
    ),
    "a stored integer of another column": (
        "twos_complement",
        constant("qk:stored_columns", becomes(np.array([0, 1, 1, 0]))),
        "another integer",
    ),
    "ones in place of a stored integer": (
        "twos_complement",
        constant("qk:stored_columns", becomes(np.array([0, -1, 1, 1]))),
        "another integer",
    ),
    "a stored row of another input": (
        "twos_complement",
        constant("qk:stored_rows", lambda a: a[::-1].copy()),
        "another integer",
    ),
    "empty cells": ("twos_complement", constant("qk:row_blocks", becomes(np.array([0, 1]))), "another output"),
    "a block of its own": (
        "twos_complement",
        constant("qk:column_blocks", becomes(np.array([0, 0, 1, 1]))),
        "another output",
    ),
    "rows with shifts of a slice that does not enter": (
        "twos_complement",
        constant("qk:row_shifts", lambda a: a + 2),
        "not complete",
    ),
    "stored codes that are the streamed ones": (
        "twos_complement",
        both(
            instruction(QuantizeInput, lambda i: replace(i, target="qk:codes"), only=1),
            instruction(WriteDynamicTile, lambda i: replace(i, codes="qk:codes")),
        ),
        "take the place",
    ),
    "stored codes elsewhere": (
        "twos_complement",
        both(buffer("qk:stored", 5), instruction(QuantizeInput, lambda i: replace(i, start=1), only=1)),
        "another shape",
    ),
    "a stored group of another address": (
        "twos_complement",
        both(buffer("qk:stored", 5), instruction(WriteDynamicTile, lambda i: replace(i, address=Affine(1)))),
        "another's matrix",
    ),
    "a product left out": ("digital_product", instruction(DigitalProduct, lambda _: None), "no crossbar is read"),
    "a vector left out": ("digital_product", instruction(Loop, lambda i: replace(i, count=1)), "left out"),
    "a vector of another position": (
        "digital_product",
        instruction(DigitalProduct, lambda i: replace(i, address=Affine(0))),
        "another's matrix",
    ),
    "sums of another position": (
        "digital_product",
        instruction(DigitalProduct, lambda i: replace(i, target=Affine(0))),
        "taken twice",
    ),
    "streamed codes multiplied with themselves": (
        "digital_product",
        instruction(DigitalProduct, lambda i: replace(i, stored="qk:codes")),
        "another's matrix",
    ),
    "stored rows in another order": (
        "digital_product",
        constant("qk:stored_rows", lambda a: a[::-1].copy()),
        "other integers",
    ),
    "stored columns in another order": (
        "digital_product",
        constant("qk:stored_columns", lambda a: a[::-1].copy()),
        "other integers",
    ),
    "sums in another order": (
        "digital_product",
        constant("qk:column_targets", lambda a: a[::-1].copy()),
        "other integers",
    ),
    "a vector in part": (
        "digital_product",
        both(constant("qk:row_offsets", lambda a: a[:1]), constant("qk:stored_rows", lambda a: a[:1])),
        "other integers",
    ),
    "vectors that differ in length": (
        "digital_product",
        constant("qk:row_offsets", lambda a: a[:1]),
        "differ in length",
    ),
    "stored integers out of range": (
        "digital_product",
        constant("qk:stored_rows", lambda a: a + np.int8(120)),
        "stored codes: addresses",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_not_the_product_is_found(damage):
    name, change, message = DAMAGE[damage]
    made = HAND_MADE[name]().program
    verify_program(made)
    with pytest.raises(ProgramError, match=message):
        verify_program(change(made))


HARMLESS = {
    "rows in another order": (
        "windows",
        both(
            constant("conv:row_offsets", lambda a: a[::-1].copy()),
            constant("conv:cells", lambda a: a[:, ::-1].copy()),
        ),
    ),
    "columns in another order": (
        "windows",
        both(
            constant("conv:column_offsets", lambda a: a[::-1].copy()),
            constant("conv:cells", lambda a: a[:, :, ::-1].copy()),
        ),
    ),
    "a weight as the sum of two columns": (
        "windows",
        both(
            constant("conv:cells", becomes(np.array([[[1, 0, 1], [2, 2, 1], [0, 3, 0]]], np.uint8))),
            constant("conv:column_offsets", becomes(np.array([0, 1, 0]))),
            constant("conv:column_weights", becomes(np.array([1, 1, 1]))),
            instruction(WriteTile, lambda i: replace(i, cols=Span(0, 3))),
            instruction(ShiftAdd, lambda i: replace(i, cols=Span(0, 3))),
        ),
    ),
    "a column that is left out": (
        "windows",
        both(
            constant("conv:cells", becomes(np.array([[[2, 0, 3], [3, 2, 3], [0, 3, 3]]], np.uint8))),
            constant("conv:column_offsets", becomes(np.array([0, 1, -1]))),
            constant("conv:column_weights", becomes(np.array([1, 1, 1]))),
            instruction(WriteTile, lambda i: replace(i, cols=Span(0, 3))),
            instruction(ShiftAdd, lambda i: replace(i, cols=Span(0, 3))),
        ),
    ),
    "wider margins": ("windows", both(margins(0, 0, 0, 3), buffer("conv:sums", 6))),
    "tiles written one after the other": (
        "joined",
        instruction(WriteTile, lambda i: replace(i, corner=(2, 4)), only=1),
        instruction(ShiftAdd, lambda i: replace(i, first_col=4), only=1),
    ),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_the_product_in_another_way_passes_and_gives_the_same(name):
    kind, *changes = HARMLESS[name]
    made = HAND_MADE[kind]()
    changed = both(*changes)(made.program)
    verify_program(changed)
    before = interpret(made.program, made.inputs).outputs
    assert_same_bits(interpret(changed, made.inputs).outputs, before)
    assert_same_bits(Executor(changed).run(made.inputs), before)


@pytest.mark.parametrize("first", [0, 1])
def test_sums_that_run_over_the_end_of_a_row_are_found(first):
    """Windows of two positions in two rows of two; begun one position on, the second would fall into the next row."""
    bench = Bench("conv", ConvGeometry(1, 1, 2, 3, 1, (1, 2), (1, 1), (0, 0, 0, 0), (1, 1), 1))
    codes, sums = Affine(first, (("y", 3),)), Affine(first, (("y", 2),))
    reads = bench.read(bench.rows([0, 1, 2]), bench.cols([0, 1]), codes, sums)
    body = (bench.write([[2, 0], [3, 2], [0, 3]]), Loop("y", 2, reads))
    layer = bench.layer(body, source="x", target="y", margins=(0, 1, 0, 0))
    program = make_program([bench], [layer], {"x": (1, 1, 2, 3), "conv:codes": 7, "conv:sums": 6, "y": (1, 1, 2, 2)})
    if first == 0:
        verify_program(program)
    else:
        with pytest.raises(ProgramError, match="a sum lies outside of its buffer"):
            verify_program(program)


def test_sums_of_stored_vectors_must_be_as_many_as_there_are():
    program = compile_small(matmul_network(), make_accelerator(encoding="offset"))
    verify_program(program)
    larger = buffer("qk:stored_sums", 2 * program.buffers["qk:stored_sums"].shape[0])(program)
    with pytest.raises(ProgramError, match="sums of stored vectors"):
        verify_program(larger)


def test_a_geometry_that_claims_more_than_cells_hold_is_refused_before_memory_is_taken():
    """Buffers are only sizes in a file: a forged one must not make the proof allocate what they say."""
    huge = 1 << 40
    program = HAND_MADE["side_by_side"]().program

    def claim(item):
        quantize, clear, *rest, end = item.body
        layout = AccumulatorLayout(1, 1, 1, huge, 1, 1, False)
        return replace(
            item,
            geometry=replace(item.geometry, outputs=huge),
            body=(quantize, clear, *rest, replace(end, layout=layout)),
        )

    buffers = {**program.buffers, "fc:sums": replace(program.buffers["fc:sums"], shape=(huge,))}
    buffers["y"] = replace(buffers["y"], shape=(1, huge))
    claimed = change_instructions(replace(program, buffers=buffers), Layer, claim)
    with pytest.raises(ProgramError):
        verify_program(claimed)


def test_positions_that_no_window_serves_are_refused_before_memory_is_taken():
    huge = 1 << 40
    program = HAND_MADE["twos_complement"]().program

    def claim(item):
        *body, end = item.body
        geometry = MatmulGeometry(1, huge, 2, 2)
        return replace(item, geometry=geometry, body=(*body, replace(end, layout=geometry.layout(has_sums=False))))

    shapes = {"a": (1, huge, 2), "y": (1, huge, 2), "qk:codes": (2 * huge,), "qk:sums": (2 * huge,)}
    buffers = {name: replace(one, shape=shapes.get(name, one.shape)) for name, one in program.buffers.items()}
    with pytest.raises(ProgramError, match="a position gets no sums"):
        verify_program(change_instructions(replace(program, buffers=buffers), Layer, claim))


@pytest.mark.parametrize("name", ["twos_complement", "digital_product"])
def test_codes_that_could_pass_64_bits_are_refused(name):
    program = HAND_MADE[name]().program
    wide = instruction(QuantizeInput, lambda i: replace(i, qmax=1 << 62, qmin=0), only=1)(program)
    with pytest.raises(ProgramError, match="within"):
        verify_program(wide)


def test_weights_add_up_exactly_where_float32_would_round():
    """Columns of weight 2^22 + 1 and its like: float32 would lose the last bit of partial sums."""
    big = (1 << 22) + 1
    program = HAND_MADE["side_by_side"]().program
    program = both(
        instruction(QuantizeInput, lambda i: replace(i, qmax=3)),
        constant("fc:row_offsets", lambda a: a[:1]),
        constant("fc:row_signs", lambda a: a[:1]),
        constant("fc:row_shifts", lambda a: a[:1]),
        constant("fc:cells", becomes(np.array([[[3, 3, 3, 3]]], np.uint8))),
        constant("fc:column_offsets", becomes(np.zeros(4, np.int64))),
        constant("fc:column_weights", becomes(np.array([big, big, big - 1, -3 * big + 2]))),
        instruction(WriteTile, lambda i: replace(i, rows=Span(0, 1), cols=Span(0, 4))),
        instruction(LoadInput, lambda i: replace(i, rows=Span(0, 1))),
        instruction(ShiftAdd, lambda i: replace(i, cols=Span(0, 4))),
    )(program)
    (product,) = prove_program(program)
    assert product.matrix.tolist() == [[[3.0]]]


@pytest.mark.parametrize("weight", [-(1 << 63), 1 << 62, 1 << 54])
def test_weights_of_columns_that_pass_float64_are_refused(weight):
    program = constant("fc:column_weights", becomes(np.array([weight, 4])))(HAND_MADE["side_by_side"]().program)
    with pytest.raises(ProgramError):
        verify_program(program)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("fc:multiplier", lambda a: a.astype(np.float64), "float64"),
        ("fc:multiplier", lambda a: a * np.float32(np.inf), "finite"),
        ("fc:column_weights", lambda a: a.astype(np.uint64), "uint64"),
        ("fc:row_offsets", lambda a: a.astype(np.float32), "no constant"),
        ("fc:correction", lambda a: np.full_like(a, -(1 << 63)), "within"),
    ],
)
def test_constants_of_types_and_values_that_engines_would_read_differently_are_refused(name, change, message):
    with pytest.raises(ProgramError, match=message):
        verify_program(change_constant(HAND_MADE["partial_reads"]().program, name, change))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32])
def test_addresses_of_short_types_do_not_wrap(dtype):
    made = HAND_MADE["partial_reads"]()
    program = both(
        *(
            constant(f"fc:{name}", lambda a: a.astype(dtype))
            for name in ("row_offsets", "row_shifts", "column_offsets")
        ),
        buffer("fc:codes", 403),
        instruction(QuantizeInput, lambda i: replace(i, start=400)),
        instruction(LoadInput, lambda i: replace(i, address=Affine(400)), only=None),
    )(made.program)
    verify_program(program)
    outputs = interpret(program, made.inputs).outputs
    np.testing.assert_array_equal(outputs["y"], made.expected)
    assert_same_bits(Executor(program).run(made.inputs), outputs)


def test_the_sum_of_inputs_may_be_digital_but_not_twice():
    made = HAND_MADE["packed"]().program
    digital = SumInputs(
        "conv:codes", Affine(0, (("g", 2), ("x", 1))), "conv:vector", "conv:sums", Affine(2, (("g", 4), ("x", 1)))
    )

    def summed(item):
        quantize, clear, *rest = item.body
        return replace(item, body=(quantize, clear, Loop("g", 3, (Loop("x", 2, (digital,)),)), *rest))

    program = change_instructions(
        replace(made, constants={**made.constants, "conv:vector": np.array([0])}), Layer, summed
    )
    (product,) = prove_program(program)
    # The columns and the digital unit each give the sum once: twice -2 is taken back, and the program is another's.
    np.testing.assert_array_equal(product.matrix.reshape(-1), [1 - 4, 2 - 4, 3 - 4])


def test_what_is_cleared_is_what_is_added_to():
    program = HAND_MADE["windows"]().program
    twice = change_instructions(
        program, Layer, lambda i: replace(i, body=(i.body[0], i.body[1], ClearAccumulators("conv:sums"), *i.body[2:]))
    )
    with pytest.raises(ProgramError, match="cleared once"):
        verify_program(twice)

"""What a layer computes may be written in many ways, within the limits of what engines compute exactly."""

from dataclasses import replace

import numpy as np
import pytest
from bits import assert_same_bits
from damages import (
    becomes,
    both,
    buffer,
    constant,
    instruction,
    margins,
)
from hand_made import HAND_MADE
from small_programs import change_constant, change_instructions

from mho.errors import ProgramError
from mho.program.geometry import MatmulGeometry
from mho.program.instructions import (
    Affine,
    ClearAccumulators,
    Layer,
    LoadInput,
    QuantizeInput,
    ShiftAdd,
    Span,
    WriteTile,
)
from mho.program.verify import prove_program, verify_program
from mho.simulation.executor import Executor
from mho.simulation.interpreter import interpret

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


def test_a_geometry_that_claims_more_than_cells_hold_is_refused_before_memory_is_taken(monkeypatch):
    """Buffers are only sizes in a file: a forged one must not make the proof allocate what they say."""
    monkeypatch.setenv("MHO_MEMORY_GIB", "1000000")  # else the budget refuses the buffers
    huge = 1 << 40
    program = HAND_MADE["side_by_side"]().program

    shapes = {"x": (1, huge), "fc:codes": (huge,)}
    buffers = {name: replace(one, shape=shapes.get(name, one.shape)) for name, one in program.buffers.items()}
    claimed = change_instructions(
        replace(program, buffers=buffers), Layer, lambda i: replace(i, geometry=replace(i.geometry, inputs=huge))
    )
    with pytest.raises(ProgramError, match="a weight lies in no cell"):
        verify_program(claimed)


def test_positions_that_no_window_serves_are_refused_before_memory_is_taken(monkeypatch):
    monkeypatch.setenv("MHO_MEMORY_GIB", "1000000")  # else the budget refuses the buffers
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


def test_what_is_cleared_is_what_is_added_to():
    program = HAND_MADE["windows"]().program
    twice = change_instructions(
        program, Layer, lambda i: replace(i, body=(i.body[0], i.body[1], ClearAccumulators("conv:sums"), *i.body[2:]))
    )
    with pytest.raises(ProgramError, match="cleared once"):
        verify_program(twice)

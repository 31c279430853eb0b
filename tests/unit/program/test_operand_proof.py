"""Stored operands, sums of vectors and digital products that are not those of the layer are found."""

from dataclasses import replace

import numpy as np
import pytest
from accelerators import make_accelerator
from bits import assert_same_bits
from damages import (
    after_another_layer,
    becomes,
    both,
    buffer,
    check_found,
    constant,
    instruction,
    with_constant,
    with_sums,
)
from hand_made import Bench, make_program
from small_programs import compile_small, matmul_network

from mho.errors import ProgramError
from mho.program.geometry import MatmulGeometry
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
from mho.program.verify import prove_program, verify_program
from mho.simulation.executor import Executor
from mho.simulation.interpreter import interpret

ROWS_STORED = ("row_offsets", "row_signs", "row_shifts", "stored_rows", "row_blocks")
COLUMNS_STORED = ("stored_columns", "column_signs", "starts", "bits", "column_blocks")

DAMAGE = {
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
    "a matrix of weights that is too large": (
        "digital_weights",
        constant("fc:weights", lambda a: np.append(a, np.int8(1))),
        "no matrix of weights",
    ),
    "a matrix of weights that is too small": (
        "digital_weights",
        constant("fc:weights", lambda a: a[:3]),
        "stored codes: addresses",
    ),
    "weights that no float holds": (
        "digital_weights",
        constant("fc:weights", lambda a: a.astype(np.int64) << 40),
        "within",
    ),
    "codes in place of weights": (
        "digital_weights",
        instruction(DigitalProduct, lambda i: replace(i, stored="fc:codes")),
        "no matrix of weights",
    ),
    "weights of another output": (
        "digital_weights",
        constant("fc:stored_columns", lambda a: a[::-1].copy()),
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
    "stored weights in place of a stored operand": (
        "twos_complement",
        both(
            with_constant("qk:cells", np.ones((1, 2, 4), np.uint8)),
            instruction(WriteDynamicTile, lambda i: WriteTile(0, "qk:cells", Affine(0), i.rows, i.cols)),
        ),
        "written the wrong way",
    ),
    "an input left out": (
        "twos_complement",
        both(
            *(constant(f"qk:{name}", lambda a: a[:1]) for name in ROWS_STORED),
            instruction(WriteDynamicTile, lambda i: replace(i, rows=Span(0, 1))),
            instruction(LoadInput, lambda i: replace(i, rows=Span(0, 1))),
        ),
        "left out or taken twice",
    ),
    "an input taken twice": (
        "twos_complement",
        both(
            *(constant(f"qk:{name}", lambda a: a[[0, 0, 1]]) for name in ROWS_STORED),
            instruction(WriteDynamicTile, lambda i: replace(i, rows=Span(0, 3))),
            instruction(LoadInput, lambda i: replace(i, rows=Span(0, 3))),
        ),
        "stored integers",
    ),
    "a stored operand that is not shifted as its input slices are": (
        "twos_complement",
        both(
            *(constant(f"qk:{name}", lambda a: a[[0, 0, 1, 1]]) for name in ROWS_STORED),
            with_constant("qk:unshifted", np.zeros(4, np.int64)),
            constant("qk:row_shifts", becomes(np.array([0, 2, 0, 2]))),
            instruction(WriteDynamicTile, lambda i: replace(i, rows=Span(0, 4), row_shifts="qk:unshifted")),
            instruction(LoadInput, lambda i: replace(i, rows=Span(0, 4))),
        ),
        "an input slice meets another's weights",
    ),
    "a position without the first slice": (
        "stored_windows",
        constant("qk:row_shifts", becomes(np.array([2, 2, 0, 2]))),
        "stored integers|not complete",
    ),
    "a position of another's block": (
        "stored_windows",
        constant("qk:column_blocks", becomes(np.array([1, 1, 0, 0]))),
        "another output",
    ),
    "blocks that all rows and columns share": (
        "stored_windows",
        both(constant("qk:column_blocks", lambda a: a * 0), constant("qk:row_blocks", lambda a: a * 0)),
        "another output",
    ),
    "positions that take each other's codes": (
        "stored_windows",
        constant("qk:row_offsets", lambda a: a[::-1].copy()),
        "another output",
    ),
    "stored vectors of one output twice": (
        "offset_product",
        instruction(SumInputs, lambda i: replace(i, target=Affine(0))),
        "a stored vector is not summed once",
    ),
    "a stored vector left out": (
        "offset_product",
        instruction(Loop, lambda i: replace(i, count=1), only=0),
        "not summed once",
    ),
    "another stored vector": (
        "offset_product",
        instruction(SumInputs, lambda i: replace(i, address=Affine(1, (("o", -1),)))),
        "another stored vector is summed",
    ),
    "a stored vector in part": ("offset_product", constant("qk:vector", lambda a: a[:1]), "summed in part"),
    "a stored vector's element twice": ("offset_product", constant("qk:vector", lambda a: a * 0), "summed in part"),
    "streamed vectors in place of stored ones": (
        "offset_product",
        instruction(SumInputs, lambda i: replace(i, codes="qk:codes")),
        "another stored vector is summed",
    ),
    "no sums of stored vectors": ("offset_product", instruction(SumInputs, lambda _: None), "wrong number of sums"),
    "ones that count twice": (
        "offset_product",
        constant("qk:column_weights", lambda a: a * [1, 1, 2]),
        "the sum of the inputs is weighted",
    ),
    "ones of another digit": (
        "offset_product",
        constant("qk:column_shifts", lambda a: a + np.array([0, 0, 1])),
        "the sum of the inputs is weighted",
    ),
    "a stored integer in place of ones": (
        "offset_product",
        constant("qk:stored_columns", becomes(np.array([0, 1, 1]))),
        "another integer",
    ),
    "sums of inputs that are taken back from one output alone": (
        "offset_product",
        constant("qk:factors", becomes(np.array([[-1, 0]]))),
        "sums of inputs differently",
    ),
    "tiles of streamed codes": (
        "offset_product",
        instruction(WriteDynamicTile, lambda i: replace(i, codes="qk:codes")),
        "tiles are written from another buffer",
    ),
    "the columns of ones left out": (
        "offset_product",
        both(
            constant("qk:column_offsets", lambda a: np.where(a == 2, -1, a)),
        ),
        "left out or taken twice",
    ),
    "an input vector summed twice": (
        "digital_sums",
        instruction(Loop, lambda i: replace(i, body=(*i.body, *i.body)), only=0),
        "sums of inputs are taken twice",
    ),
    "the vector of another position": (
        "digital_sums",
        instruction(SumInputs, lambda i: replace(i, address=Affine(2, (("x", -2),)))),
        "another vector is summed",
    ),
    "one position summed twice": (
        "digital_sums",
        instruction(SumInputs, lambda i: replace(i, target=Affine(1))),
        "not summed once",
    ),
    "a position that is not summed": (
        "digital_sums",
        instruction(Loop, lambda i: replace(i, count=1), only=0),
        "not summed once",
    ),
    "sums of other codes": (
        "digital_sums",
        both(
            after_another_layer("other"),
            instruction(SumInputs, lambda i: replace(i, codes="other"), only=1),
        ),
        "another buffer",
    ),
    "sums of stored vectors where none are": (
        "digital_sums",
        both(
            instruction(Dequantize, lambda i: replace(i, stored_sums="fc:stored_sums")),
            with_sums("fc:stored_sums", 1),
            instruction(Layer, lambda i: replace(i, body=(ClearAccumulators("fc:stored_sums"), *i.body))),
        ),
        "in a layer that stores none",
    ),
    "sums of inputs times what passes float32": (
        "digital_sums",
        constant("fc:factors", lambda a: a << 21),
        "within",
    ),
    "stored integers that are moved beyond float32": (
        "offset_product",
        both(
            *(constant(f"qk:{name}", lambda a: a[[0, 0, 1, 1, 2]]) for name in COLUMNS_STORED),
            constant("qk:column_offsets", lambda a: a[[0, 0, 1, 1, 2]]),
            instruction(QuantizeInput, lambda i: replace(i, qmin=0), only=1),
            instruction(WriteDynamicTile, lambda i: replace(i, addend=4, cols=Span(0, 5))),
            instruction(ShiftAdd, lambda i: replace(i, cols=Span(0, 5))),
            # The second column of each output holds the 4 that was added to integers of 0 .. 2.
            constant("qk:column_shifts", becomes(np.array([0, 2, 0, 2, 0]))),
            constant("qk:column_weights", becomes(np.array([1, 1 << 30, 1, 1 << 30, 1]))),
        ),
        "moved too far",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_not_the_product_is_found(damage):
    check_found(*DAMAGE[damage])


@pytest.mark.parametrize("addends", [(0, 0), (1, 1), (0, 1)])
def test_outputs_may_lie_in_tiles_of_their_own_but_must_be_moved_alike(addends):
    """A product of one input and two outputs, a tile for each output; stored integers of 0 .. 2 may be moved by 1."""
    bench = Bench("qk", MatmulGeometry(1, 1, 1, 2))
    stored = QuantizeInput("b", "qk:stored", 0, 1.0, 0, 0, 2, False, 0, ((0, 0),) * 3)
    zero, body = np.zeros(1, np.int64), []
    rows = bench.rows([0])
    for output, addend in enumerate(addends):
        bench.constants |= {
            "qk:zero": zero,
            "qk:one": zero + 1,
            "qk:two": zero + 2,
            f"qk:column{output}": zero + output,
        }
        names = ("qk:zero", "qk:one", "qk:zero", "qk:zero", f"qk:column{output}", "qk:one", "qk:zero", "qk:two")
        cells = (addend, False, 2, Span(0, 1), Span(0, 1))
        body.append(WriteDynamicTile(0, "qk:stored", Affine(0), *names, "qk:zero", "qk:zero", *cells))
        body += bench.read(rows, bench.cols([output], f".{output}"), Affine(0), Affine(0))
    layer = bench.layer((stored, *body), source="a", target="y", rank=3)
    sizes = {"a": (1, 1, 1), "b": (1, 1, 2), "qk:codes": 1, "qk:stored": 2, "qk:sums": 2, "y": (1, 1, 2)}
    program = make_program([bench], [layer], sizes)
    if addends == (0, 1):
        with pytest.raises(ProgramError, match="in different ways"):
            verify_program(program)
        return
    (product,) = prove_program(program)
    assert product.stored_addend == addends[0]
    inputs = {"a": np.full((1, 1, 1, 1), 3), "b": np.array([[[[0, 2]]]])}
    outputs = interpret(program, inputs).outputs
    np.testing.assert_array_equal(outputs["y"], 3 * (np.array([[[0, 2]]]) + addends[0]))
    assert_same_bits(Executor(program).run(inputs), outputs)


def test_sums_of_stored_vectors_must_be_as_many_as_there_are():
    program = compile_small(matmul_network(), make_accelerator(encoding="offset"))
    verify_program(program)
    larger = buffer("qk:stored_sums", 2 * program.buffers["qk:stored_sums"].shape[0])(program)
    with pytest.raises(ProgramError, match="sums of stored vectors"):
        verify_program(larger)

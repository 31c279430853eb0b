"""Tiles that share a crossbar, rows that are read in part and input slices side by side: what is wrong is found."""

from dataclasses import replace

import numpy as np
import pytest
from accelerators import make_accelerator
from damages import (
    both,
    buffer,
    cell,
    check_found,
    constant,
    instruction,
    layer_uses,
    strided,
)
from hand_made import HAND_MADE
from small_programs import change_instructions

from mho.program.instructions import (
    Affine,
    ClearAccumulators,
    Layer,
    LoadInput,
    Loop,
    QuantizeInput,
    ShiftAdd,
    Span,
    SumInputs,
    WriteTile,
)
from mho.program.verify import prove_program

DAMAGE = {
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
    "steps that move windows": (
        "joined",
        both(
            instruction(LoadInput, lambda i: replace(i, address=Affine(0, (("s", 1),))), only=1),
            buffer("second:codes", 3),
        ),
        "share a loop",
    ),
    "a layer that quantizes nothing": (
        "joined",
        instruction(QuantizeInput, lambda i: replace(i, source="x", target="second:codes"), only=0),
        "before it is made",
    ),
    "codes of the layer before": (
        "joined",
        both(instruction(QuantizeInput, lambda _: None, only=1), layer_uses("second", "second:codes", "first:codes")),
        "no input is quantized",
    ),
    "rows driven by the layer before": (
        "joined",
        instruction(LoadInput, lambda i: replace(i, codes="first:codes"), only=1),
        "rows are driven from another buffer",
    ),
    "columns added to the layer before": (
        "joined",
        instruction(ShiftAdd, lambda i: replace(i, accumulators="first:sums"), only=1),
        "columns are added to another buffer",
    ),
    "sums of the layer before are cleared": (
        "joined",
        both(
            instruction(ClearAccumulators, lambda i: replace(i, accumulators="second:sums"), only=0),
            instruction(Layer, lambda i: replace(i, body=(ClearAccumulators("first:sums"), *i.body)), only=0),
        ),
        "cleared once",
    ),
    "sums that are not cleared": (
        "joined",
        instruction(ClearAccumulators, lambda i: replace(i, accumulators="first:sums"), only=1),
        "before it is made",
    ),
    "sums that still hold those of the sample before": (
        "joined",
        both(
            instruction(ClearAccumulators, lambda _: None, only=1),
            instruction(Layer, lambda i: replace(i, body=(ClearAccumulators("second:sums"), *i.body)), only=0),
        ),
        "cleared once",
    ),
    "sums of codes of the layer before": (
        "joined",
        instruction(
            Layer,
            lambda i: replace(
                i,
                body=(
                    *i.body[:2],
                    SumInputs("first:codes", Affine(0), "second:row_offsets", "second:sums", Affine(0)),
                    *i.body[2:],
                ),
            ),
            only=1,
        ),
        "never used",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_not_the_product_is_found(damage):
    check_found(*DAMAGE[damage])


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

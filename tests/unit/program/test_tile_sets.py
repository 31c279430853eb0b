"""Windows, groups and copies of weights that are not those of the layer are found."""

from dataclasses import replace

import numpy as np
import pytest
from damages import (
    becomes,
    both,
    buffer,
    cell,
    check_found,
    constant,
    instruction,
    margins,
    strided,
)
from hand_made import Bench, make_program

from mho.errors import ProgramError
from mho.program.geometry import ConvGeometry
from mho.program.instructions import (
    Affine,
    Layer,
    LoadInput,
    Loop,
    ShiftAdd,
    Span,
    WriteTile,
)
from mho.program.verify import verify_program

WRITE_EACH = WriteTile(0, "conv:cells", Affine(0, (("x", 1),)), Span(0, 3), Span(0, 2))
"""Writes another matrix in each turn of a loop over x."""

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
    "a column added to another image": (
        "images",
        both(
            instruction(Loop, lambda i: replace(i, count=1), only=0),
            constant("conv:column_offsets", becomes(np.array([2]))),
        ),
        "another image",
    ),
    "images that take turns in codes alone": (
        "images",
        instruction(LoadInput, lambda i: replace(i, address=Affine(0, (("b", 1), ("x", 2))))),
        "codes of another",
    ),
    "a matrix for each window": (
        "windows",
        both(
            constant("conv:cells", lambda a: np.concatenate([a, a])),
            instruction(Loop, lambda i: replace(i, body=(WRITE_EACH, *i.body))),
        ),
        "a group meets several matrices",
    ),
    "windows of one group, then of another": (
        "packed",
        both(
            instruction(LoadInput, lambda i: replace(i, address=Affine(0, (("x", 3),))), only=1),
            instruction(ShiftAdd, lambda i: replace(i, address=Affine(0, (("x", 5),))), only=1),
        ),
        "groups run over different windows",
    ),
    "sums that begin at an output that is not the first": (
        "packed",
        instruction(ShiftAdd, lambda i: replace(i, address=Affine(2, i.address.strides)), only=0),
        "first output|outside",
    ),
    "an input that is quantized twice": (
        "windows",
        instruction(Layer, lambda i: replace(i, body=(i.body[0], *i.body))),
        "wrong number of quantized inputs",
    ),
    "weights beyond float32": ("windows", constant("conv:column_weights", lambda a: a << 23), "2\\^24 are exact"),
    "weights beyond float64": ("windows", constant("conv:column_weights", lambda a: a << 52), "53 bits"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_not_the_product_is_found(damage):
    check_found(*DAMAGE[damage])


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

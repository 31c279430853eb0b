"""Every way in which a program can be wrong is found before it runs."""

from dataclasses import replace

import numpy as np
import pytest
from accelerators import make_accelerator
from small_programs import (
    change_constant,
    change_instructions,
    compile_small,
    conv_network,
    grid,
    linear_network,
    matmul_network,
)

from mho.errors import ProgramError
from mho.program.instructions import (
    Affine,
    ClearAccumulators,
    Dequantize,
    Digital,
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
from mho.program.program import Program
from mho.program.verify import verify_program


@pytest.fixture
def conv() -> Program:
    return compile_small(conv_network(zero_point=1))


@pytest.fixture
def matmul() -> Program:
    stored = grid(4, signed=True, zero_point=2)
    return compile_small(matmul_network(stored=stored), make_accelerator(encoding="offset"))


def moved(address: Affine, by: int) -> Affine:
    return Affine(address.base + by, address.strides)


def restrided(address: Affine, variable: str, stride: int) -> Affine:
    strides = dict(address.strides)
    strides[variable] = stride
    return Affine(address.base, tuple(strides.items()))


CONV_DAMAGE = {
    "codes out of range": (LoadInput, lambda i: replace(i, address=moved(i.address, 1000)), "addresses"),
    "codes of another position": (LoadInput, lambda i: replace(i, address=moved(i.address, 1)), None),
    "another stride": (LoadInput, lambda i: replace(i, address=restrided(i.address, "x", 1)), "codes of another"),
    "negative address": (LoadInput, lambda i: replace(i, address=moved(i.address, -1)), "addresses -1"),
    "unknown variable": (LoadInput, lambda i: replace(i, address=restrided(i.address, "q", 1)), "no loop"),
    "another shift": (LoadInput, lambda i: replace(i, shift=moved(i.shift, 1)), "input slice"),
    "another DAC": (LoadInput, lambda i: replace(i, dac_bits=2), "DAC"),
    "only some rows": (LoadInput, lambda i: replace(i, rows=Span(0, 1)), "leave a part"),
    "rows of no tile": (LoadInput, lambda i: replace(i, rows=Span(10, 12)), "no single tile"),
    "rows elsewhere": (LoadInput, lambda i: replace(i, rows=Span(0, 7), first_row=1), "no single tile"),
    "rows below the tile": (LoadInput, lambda i: replace(i, first_row=1), "rows that no tile"),
    "rows above the tile": (LoadInput, lambda i: replace(i, first_row=-1), "rows that no tile"),
    "rows beyond": (LoadInput, lambda i: replace(i, rows=Span(16, 99)), "outside"),
    "unknown codes": (LoadInput, lambda i: replace(i, codes="none"), "no buffer"),
    "codes that are sums": (LoadInput, lambda i: replace(i, codes="conv:sums"), "no buffer"),
    "no load": (LoadInput, lambda _: None, "read before"),
    "no write": (WriteTile, lambda _: None, "driven on rows"),
    "no clear": (ClearAccumulators, lambda _: None, "before it is made"),
    "no quantization": (QuantizeInput, lambda _: None, "before it is made"),
    "no MVM": (Mvm, lambda _: None, "counted before"),
    "another crossbar": (Mvm, lambda _: Mvm(3), "read before"),
    "tile too tall": (WriteTile, lambda i: replace(i, rows=Span(0, 9)), "9 x 8"),
    "tile outside": (WriteTile, lambda i: replace(i, rows=Span(12, 20)), "outside"),
    "crossbar that is not there": (WriteTile, lambda i: replace(i, crossbar=1), "crossbar 1"),
    "unknown cells": (WriteTile, lambda i: replace(i, cells="none"), "no constant"),
    "matrix of another group": (WriteTile, lambda i: replace(i, index=Affine(1)), "outside"),
    "only some columns": (ShiftAdd, lambda i: replace(i, cols=Span(0, 1)), "leave a part"),
    "columns of no tile": (ShiftAdd, lambda i: replace(i, cols=Span(8, 10)), "no single tile"),
    "columns elsewhere": (ShiftAdd, lambda i: replace(i, first_col=1), "no single tile"),
    "columns before the tile": (ShiftAdd, lambda i: replace(i, first_col=-1), "columns that no tile"),
    "sums out of range": (ShiftAdd, lambda i: replace(i, address=moved(i.address, 1000)), "addresses"),
    "sums of another position": (ShiftAdd, lambda i: replace(i, address=restrided(i.address, "x", 0)), None),
    "sums shifted": (ShiftAdd, lambda i: replace(i, shift=moved(i.shift, 1)), "another weight"),
    "one sum left out": (SumInputs, lambda i: replace(i, target=restrided(i.target, "x", 0)), None),
    "sums elsewhere": (SumInputs, lambda i: replace(i, target=moved(i.target, -4)), None),
    "sums of others": (SumInputs, lambda i: replace(i, address=moved(i.address, 1)), None),
    "too few turns": (Loop, lambda i: replace(i, count=max(1, i.count - 1)), None),
    "too many turns": (Loop, lambda i: replace(i, count=10**12), None),
    "no turns": (Loop, lambda i: replace(i, count=0), "turns"),
    "one variable twice": (Loop, lambda i: replace(i, body=(i,)), "loop over"),
    "another layout": (Dequantize, lambda i: replace(i, layout=replace(i.layout, has_sums=False)), None),
    "no correction": (Dequantize, lambda i: replace(i, correction=""), "missing"),
    "bias of another size": (Dequantize, lambda i: replace(i, bias="conv:cells"), "no constant"),
    "target made twice": (Dequantize, lambda i: replace(i, target="x"), None),
    "pads of another size": (QuantizeInput, lambda i: replace(i, pads=((0, 0),) * 4), "another shape"),
    "codes before the buffer": (QuantizeInput, lambda i: replace(i, start=-1), "codes from -1 on"),
    "codes beyond the buffer": (QuantizeInput, lambda i: replace(i, start=1), "codes from 1 on"),
    "scale of nothing": (QuantizeInput, lambda i: replace(i, scale=0.0), "grid"),
    "scale that float32 takes for nothing": (QuantizeInput, lambda i: replace(i, scale=1e-46), "grid"),
    "binary grid of more integers": (QuantizeInput, lambda i: replace(i, binary=True), "binary"),
    "integers that float32 rounds": (QuantizeInput, lambda i: replace(i, qmax=2**24 + 1), "within"),
    "zero point out of reach": (QuantizeInput, lambda i: replace(i, zero_point=2**40), "within"),
    "negative codes": (QuantizeInput, lambda i: replace(i, offset=3), "negative codes"),
    "unknown source": (QuantizeInput, lambda i: replace(i, source="y"), "before it is made"),
    "unknown operand": (Digital, lambda i: replace(i, inputs=("none",)), "no buffer"),
    "no output": (Digital, lambda _: None, "never made"),
}


@pytest.mark.parametrize("damage", CONV_DAMAGE)
def test_damaged_instructions_are_found(conv, damage):
    kind, change, message = CONV_DAMAGE[damage]
    damaged = change_instructions(conv, kind, change, only=0)
    assert damaged.instructions != conv.instructions
    with pytest.raises(ProgramError, match=message):
        verify_program(damaged)


MATMUL_DAMAGE = {
    "another stored group": (
        WriteDynamicTile,
        lambda i: replace(i, address=restrided(i.address, "g", 0)),
        "leave a part of the matrix out",
    ),
    "stored codes out of range": (WriteDynamicTile, lambda i: replace(i, address=moved(i.address, 99)), "addresses"),
    "another addend": (WriteDynamicTile, lambda i: replace(i, addend=7), "leave a part"),
    "other cells": (WriteDynamicTile, lambda i: replace(i, cell_bits=3), "cell bits"),
    "streamed codes stored": (WriteDynamicTile, lambda i: replace(i, codes="qk:codes"), None),
    "sums of other stored vectors": (SumInputs, lambda i: replace(i, address=moved(i.address, 1)), None),
    "no sums of stored vectors": (SumInputs, lambda _: None, "stored vectors"),
}


@pytest.mark.parametrize("damage", MATMUL_DAMAGE)
def test_damaged_products_of_activations_are_found(matmul, damage):
    kind, change, message = MATMUL_DAMAGE[damage]
    with pytest.raises(ProgramError, match=message):
        verify_program(change_instructions(matmul, kind, change, only=0))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("conv:cells", lambda a: a + 3),
        ("conv:cells", lambda a: a[:, :-1]),
        ("conv:cells", lambda a: a.astype(np.int64)),
        ("conv:row_offsets", lambda a: a + 1),
        ("conv:row_offsets", lambda a: a[::-1] * 5),
        ("conv:row_signs", lambda a: a * 2),
        ("conv:column_offsets", lambda a: a + 1),
        ("conv:column_offsets", lambda a: a - 9),
        ("conv:input_vector", lambda a: a[:-1]),
        ("conv:input_vector", lambda a: a[[0, 0, *range(2, a.size)]]),
        ("conv:correction", lambda a: a[:, :-1]),
        ("conv:correction", lambda a: a + (1 << 62)),
        ("conv:multiplier", lambda a: a.astype(np.int64)),
        ("conv:column_weights", lambda a: a * (1 << 50)),
    ],
)
def test_damaged_constants_are_found(conv, name, change):
    with pytest.raises(ProgramError):
        verify_program(change_constant(conv, name, change))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("qk:column_shifts", lambda a: a + 1),
        ("qk:column_shifts", lambda a: np.roll(a, 1)),
        ("qk:column_signs", lambda a: -a),
        ("qk:column_weights", lambda a: a * 2),
        ("qk:stored_row_offsets", lambda a: a[::-1]),
        ("qk:stored_column_offsets", lambda a: np.roll(a, 1)),
        ("qk:stored_vector", lambda a: a[:-1]),
    ],
)
def test_damaged_constants_of_products_of_activations_are_found(matmul, name, change):
    with pytest.raises(ProgramError):
        verify_program(change_constant(matmul, name, change))


def test_weights_may_be_any_that_fit_the_cells(conv):
    verify_program(change_constant(conv, "conv:cells", lambda a: a[..., ::-1].copy()))


def test_rows_may_be_driven_by_inputs_in_any_order():
    program = compile_small(linear_network(np.arange(12).reshape(2, 6) - 6, grid(3)))
    verify_program(change_constant(program, "fc:row_offsets", lambda a: a[::-1].copy()))


def test_two_layers_of_one_name_are_found(conv):
    layer = conv.layers[0]
    renamed = change_instructions(conv, Digital, lambda _: None)
    twice = replace(renamed, outputs=("c",), instructions=(layer, layer))
    with pytest.raises(ProgramError):
        verify_program(twice)


def test_the_mask_of_a_choice_has_its_shape():
    program = compile_small(conv_network(strides=(1, 2)))
    constants = {**program.constants, "mask": np.zeros((1, 1, 1, 3), np.uint8)}
    chosen = Digital("where", ("c", "c", "mask"), "y", {})
    instructions = tuple(chosen if isinstance(item, Digital) else item for item in program.instructions)
    with pytest.raises(ProgramError, match="mask"):
        verify_program(replace(program, constants=constants, instructions=instructions))


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        (np.array([0, 2, 1]), None),
        (np.array([0, 3, 1]), r"indices 0\.\.3"),
        (np.array([0, -1, 1]), r"indices -1\.\.1"),
        (np.array([0.0, 1.0, 2.0], np.float32), "no constant of integers"),
        (None, "no constant of integers"),
    ],
)
def test_what_is_gathered_lies_within_its_axis(indices, message):
    program = compile_small(conv_network(strides=(1, 2)))
    width = program.buffers["y"].shape[3]
    assert width == 3
    constants = dict(program.constants) if indices is None else {**program.constants, "indices": indices}
    picked = Digital("gather", ("c", "x" if indices is None else "indices"), "y", {"axis": 3})
    instructions = tuple(picked if isinstance(item, Digital) else item for item in program.instructions)
    damaged = replace(program, constants=constants, instructions=instructions)
    if message is None:
        verify_program(damaged)
        return
    with pytest.raises(ProgramError, match=message):
        verify_program(damaged)

"""What verification refuses in programs of integer arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from accelerators import make_accelerator
from network_builder import NetworkBuilder, residual

from mho.errors import MappingError, ProgramError
from mho.policy import BitWidths, Policy
from mho.program.instructions import Digital, Layer, Requantize
from mho.program.lowering import compile_network
from mho.program.program import Buffer, BufferKind, Program, rewrite
from mho.program.verify import verify_program
from mho.quantization.digital_grids import assign_digital_grids
from mho.quantization.ptq import quantize


@pytest.fixture(scope="module")
def program() -> Program:
    network = residual()
    inputs = np.random.default_rng(0).standard_normal((4, 1, 3, 8, 8)).astype(np.float32)
    quantized = quantize(network, Policy.uniform(network.layer_names, BitWidths(8, 8)), inputs)
    hardware = make_accelerator(64, 64, 4, 4, digital={"arithmetic": "integer"})
    network = assign_digital_grids(quantized, inputs)
    narrow = make_accelerator(64, 64, 4, 4, digital={"arithmetic": "integer", "activation_bits": 8})
    with pytest.raises(MappingError, match="which takes 16 bits"):
        compile_network(network, narrow)
    return compile_network(network, hardware)


def _digital(op: str, **attributes: object) -> Callable[[Program], Program]:
    def change(program: Program) -> Program:
        return replace(
            program,
            instructions=tuple(
                replace(one, attributes={**one.attributes, **attributes})
                if isinstance(one, Digital) and one.op == op
                else one
                for one in program.instructions
            ),
        )

    return change


def _layers(**fields: object) -> Callable[[Program], Program]:
    def change(program: Program) -> Program:
        def edit(one: object) -> tuple:
            return (replace(one, **fields) if isinstance(one, Requantize) else one,)

        return replace(
            program,
            instructions=tuple(
                replace(one, body=rewrite(one.body, edit)) if isinstance(one, Layer) else one
                for one in program.instructions
            ),
        )

    return change


def _buffers(change: Callable[[Buffer], Buffer]) -> Callable[[Program], Program]:
    return lambda program: replace(
        program,
        buffers={n: change(b) if b.kind is BufferKind.INTEGERS else b for n, b in program.buffers.items()},
    )


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_digital("int_add", low=-(1 << 20)), "int_add gives"),
        (_digital("int_add", multipliers=((1 << 31) - 1,) * 3), "cannot have these operands"),
        (_digital("int_reduce_sum", multiplier=1 << 31), "more than 32 bits"),
        (_digital("int_scale", shift=62), "a shift of 62"),
        (_layers(shift=62), "a shift of 62"),
        (_layers(limit=1 << 40), "products within"),
        (_layers(low=-(1 << 19)), "integers -524288"),
        (_buffers(lambda one: replace(one, kind=BufferKind.FLOAT)), "wrong kind|no buffer of kind"),
        (_buffers(lambda one: replace(one, scale=-1.0)), "positive scale"),
        (_buffers(lambda one: replace(one, high=1 << 21)), "within"),
    ],
)
def test_what_may_leave_its_range_is_refused(program: Program, damage: Callable, message: str) -> None:
    verify_program(program)
    with pytest.raises(ProgramError, match=message):
        verify_program(damage(program))


def test_a_divisor_that_a_shift_takes_beyond_62_bits_is_refused() -> None:
    builder = NetworkBuilder((1, 4, 6))
    first = builder.linear(6)
    builder.last = "input"
    builder.linear(6, bias=False)
    builder.add("div", first)
    network = builder.build()
    inputs = np.random.default_rng(0).standard_normal((4, 1, 4, 6)).astype(np.float32)
    quantized = quantize(network, Policy.uniform(network.layer_names, BitWidths(8, 8)), inputs)
    hardware = make_accelerator(64, 64, 4, 4, digital={"arithmetic": "integer"})
    program = compile_network(assign_digital_grids(quantized, inputs), hardware)
    verify_program(program)
    with pytest.raises(ProgramError, match="products of int_div reach"):
        verify_program(_digital("int_div", shift=61)(program))

"""The text of small programs, as a person reads it."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from accelerators import make_accelerator
from chip_networks import make_attention, make_chain
from chip_programs import quantized_program
from hand_made import HAND_MADE
from small_programs import compile_small, conv_network, grid, matmul_network

from mho.program.disassembly import disassemble, summarize

HERE = Path(__file__).parent

PROGRAMS = {
    "conv": lambda: compile_small(conv_network(zero_point=1)),
    "matmul": lambda: compile_small(
        matmul_network(stored=grid(4, signed=True, zero_point=2)), make_accelerator(encoding="offset")
    ),
    **{name: lambda name=name: HAND_MADE[name]().program for name in HAND_MADE},
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_disassembly_reads_as_before(name, check_golden, monkeypatch):
    monkeypatch.setattr("mho.program.lowering.__version__", "0")
    check_golden(HERE / f"{name}.txt", disassemble(PROGRAMS[name]()))


def test_a_summary_counts_what_the_layers_hold_and_do():
    summary = summarize(PROGRAMS["conv"]())
    (layer,) = summary.layers
    assert (layer.name, layer.tiles, layer.writes, layer.mvms) == ("conv", 6, 6, 6 * 4 * 3 * 3)
    assert layer.cells_bytes == 18 * 16
    assert summary.digital == {"relu": 1}
    assert summary.inputs == {"x": (1, 2, 4, 5)}


@pytest.mark.parametrize(("name", "network"), [("chain", make_chain), ("attention", make_attention)])
def test_programs_for_chips_read_as_before(name, network, check_golden):
    accelerator = make_accelerator(rows=32, cols=16, cell_bits=4, crossbars=60)
    _, program = quantized_program(network(), accelerator, copies=2)
    text = re.sub(r"scale [0-9.e-]+", "scale S", disassemble(replace(program, metadata={})))
    check_golden(HERE / f"chip-{name}.txt", text)

"""How long a program takes, as a user reads it."""

import io
from pathlib import Path

from accelerators import make_accelerator
from chip_networks import make_residual
from chip_programs import quantized_program
from small_programs import compile_small, conv_network

from mho.report.timing_text import print_chip_timing, print_crossbar_timing
from mho.simulation.timing import time_on_chip, time_program
from mho.terminal import Console

HERE = Path(__file__).parent
CHIP = make_accelerator(
    rows=32, cols=16, cell_bits=4, crossbars=60, chip={"cores": 10}, buffers={"input_bytes": 512},
    interconnect={"kind": "mesh", "bytes_per_cycle": 4, "cycle_ns": 5, "hop_latency_cycles": 3},
)  # fmt: skip


def text_of(show, program, timing):
    stream = io.StringIO()
    show(Console(file=stream, width=200), program, timing)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def test_times_on_a_chip_read_as_before(check_golden):
    _, program = quantized_program(make_residual(), CHIP, copies=2)
    check_golden(HERE / "timing-chip.txt", text_of(print_chip_timing, program, time_on_chip(program, batch=3)))


def test_times_on_one_crossbar_read_as_before(check_golden):
    program = compile_small(conv_network())
    check_golden(HERE / "timing-crossbar.txt", text_of(print_crossbar_timing, program, time_program(program)))

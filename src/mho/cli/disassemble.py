"""``mho disassemble``: a program file as text."""

from __future__ import annotations

from mho.cli.arguments import PrintedOption
from mho.cli.chip import ProgramArgument
from mho.cli.outputs import printed_into
from mho.program.container import read_program
from mho.program.disassembly import disassemble
from mho.terminal import echo


def disassemble_program(
    program: ProgramArgument,
    output: PrintedOption = None,
) -> None:
    """Print every instruction of a program, with its buffers and constants."""
    with printed_into(output, program):
        echo(disassemble(read_program(program)), nl=False)

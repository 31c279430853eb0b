"""``mho disassemble``: a program file as text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mho.program.container import read_program
from mho.program.disassembly import disassemble
from mho.terminal import echo


def disassemble_program(
    program: Annotated[Path, typer.Argument(metavar="P.mho", help="A program of `mho compile`.")],
) -> None:
    """Print every instruction of a program, with its buffers and constants."""
    echo(disassemble(read_program(program)), nl=False)

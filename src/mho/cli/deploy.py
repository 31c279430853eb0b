"""``mho deploy``: write a program for a device or a tool of another kind."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import mho
from mho.cli.chip import ProgramArgument, Samples
from mho.errors import ConfigError
from mho.program.container import read_program
from mho.terminal import echo

DirectoryOption = Annotated[
    Path, typer.Option("--output", "-o", metavar="DIR", help="Where to write: a new or empty folder.")
]
TargetOption = Annotated[str, typer.Option(metavar="NAME", help="Backend: c, vectors, or one of another package.")]
InputsOption = Annotated[
    Path | None, typer.Option(metavar="X.npz", help="Samples to store, with the outputs that are right for them.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="An option of the backend, where it has some.")
]


def deploy(
    program: ProgramArgument,
    directory: DirectoryOption,
    target: TargetOption = "c",
    inputs: InputsOption = None,
    set_options: SetOption = None,
) -> None:
    """Write a program for something outside of mho: as C for a processor beside the crossbars, or as a backend does.

    The target `c` makes a C99 project that runs the program on a simulated crossbar, or on yours through ten
    functions. With --inputs, its `make test` compares every bit of the outputs with those of `mho simulate`.
    """
    loaded, samples = read_program(program), None
    if inputs is not None:
        found = Samples.read(inputs, loaded)
        found.check(loaded)
        samples = found.inputs
    emitted = mho.emit(loaded, target, directory, inputs=samples, options=_read_options(set_options or []))
    for line in emitted.lines:
        echo(line)
    echo(f"{len(emitted.files)} files in {emitted.directory}")


def _read_options(given: list[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key or key in options:
            raise ConfigError(f"--set {text}", expected="KEY=VALUE, each key once")
        options[key] = value
    return options

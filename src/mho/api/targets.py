"""Programs written for something outside of mho."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mho.api.arguments import as_inputs, as_program
from mho.argument_checks import check_arguments

if TYPE_CHECKING:
    from mho.api.arguments import Inputs
    from mho.deploy.backends import Emitted
    from mho.program.program import Program


@check_arguments()
def emit(
    program: Program | str | Path,
    target: str,
    directory: str | Path,
    *,
    inputs: Inputs | None = None,
    options: Mapping[str, str] | None = None,
) -> Emitted:
    """Write a program as a backend does, into a folder that is new or empty: all of it or nothing.

    Args:
        program: what `mho.compile` made, or the path of a .mho file.
        target: name of a backend: one of mho's, or of another package's entry points of the group `mho.backends`.
        directory: the folder.
        inputs: samples, where the backend takes some, as for `mho.simulate`.
        options: of the backend, texts by name.

    Returns:
        The folder, the lines that the backend has to tell and the names of the files.

    Raises:
        ConfigError: there is no such backend or option, it failed, or the folder holds files.
        DataError: inputs do not fit the program.
        InputFileError, ProgramError: the file is not a sound program, or the folder cannot be written.
        MhoError: what the backend finds not possible.
    """
    from mho.deploy.backends import emit as write

    arrays = None if inputs is None else as_inputs(inputs)
    return write(as_program(program), target, directory, inputs=arrays, options=options)

"""``mho schema``: the JSON schemas of the files that mho reads and writes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mho.cli.arguments import PrintedOption
from mho.cli.outputs import printed_into, write_output
from mho.errors import ConfigError
from mho.schemas import SCHEMAS, schema_file_name, schema_text
from mho.terminal import echo


def schema(
    name: Annotated[str | None, typer.Argument(help="Which one; without it, their names are listed.")] = None,
    write: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Write all into this folder, linked by file name."),
    ] = None,
    output: PrintedOption = None,
) -> None:
    """Print the JSON schemas of the files that mho reads and writes."""
    if write is not None and output is not None:
        raise ConfigError("--write and --output were given together", expected="one of them")
    with printed_into(output):
        _print(name, write)


def _print(name: str | None, write: str | None) -> None:
    if write is not None:
        _write_all(Path(write))
    elif name is not None:
        echo(schema_text(name), nl=False)
    else:
        echo("\n".join(SCHEMAS))


def _write_all(folder: Path) -> None:
    for name in SCHEMAS:
        path = folder / schema_file_name(name)
        write_output(path, schema_text(name, linked=True).encode())
        echo(str(path))

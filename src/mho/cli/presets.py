"""``mho presets``: the accelerators that come with mho."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Annotated

import typer

from mho.cli.arguments import JsonOption, PrintedOption, complete_presets
from mho.cli.inspect_accelerator import inspect_accelerator
from mho.cli.outputs import printed_into
from mho.errors import InputFileError, suggest
from mho.hardware.loading import list_presets, load_accelerator
from mho.hardware.spec import YOURS_TO_SET, Accelerator
from mho.report.columns import Column, print_columns
from mho.terminal import Console, echo

_TECHNOLOGY = re.compile(r"\b(RRAM|memristor|PCM|FeFET|STT-MRAM|SRAM)\b")


def presets(
    name: Annotated[
        str | None,
        typer.Argument(help="Show the values of this one, each with its source.", autocompletion=complete_presets),
    ] = None,
    as_json: JsonOption = False,
    output: PrintedOption = None,
) -> None:
    """List the accelerators that come with mho, or show every value of one with its source.

    Their names can stand wherever a command takes an accelerator. `mho new accelerator FILE --like NAME` writes one
    into a file, to be changed.
    """
    if name is not None and name not in list_presets():
        hint = suggest(name, list_presets()) or "mho inspect shows an accelerator of a file"
        raise InputFileError(f"there is no preset {name!r}", expected=f"one of {', '.join(list_presets())}", hint=hint)
    with printed_into(output):
        if name is not None:
            inspect_accelerator(name, as_json=as_json)
            return
        rows = [_summarize(load_accelerator(one)) for one in list_presets()]
        if as_json:
            echo(json.dumps(rows, indent=2))
        else:
            _print(rows)


def _summarize(accelerator: Accelerator) -> dict[str, str | int]:
    crossbar = accelerator.crossbar
    return {
        "name": accelerator.name,
        "technology": _technology(accelerator),
        "rows": crossbar.rows,
        "cols": crossbar.cols,
        "cell_bits": crossbar.cell_bits,
        "crossbars": accelerator.chip.crossbars,
        "yours_to_set": len(accelerator.keys_to_set),
        "source": _source(accelerator),
        "description": accelerator.description,
    }


def _technology(accelerator: Accelerator) -> str:
    """Return which cells a description, or the source of a value of the crossbar or the array, speaks of."""
    keys = (key for key in accelerator.sources if key.startswith(("crossbar.", "array.")))
    for text in (accelerator.description, *(accelerator.sources[key] for key in keys)):
        if found := _TECHNOLOGY.search(text):
            return found[1].replace("memristor", "RRAM")
    return "unspecified"


def _source(accelerator: Accelerator) -> str:
    """Return the publication that most values come from."""
    texts = (text for text in accelerator.sources.values() if not text.startswith(YOURS_TO_SET))
    counts = Counter(re.split(r"[,:;(]", text)[0].strip() for text in texts)
    return counts.most_common(1)[0][0] if counts else ""


def _print(rows: list[dict[str, str | int]]) -> None:
    titles = {"name": "preset", "technology": "technology", "cell_bits": "bits/cell", "yours_to_set": "to set"}
    columns = []
    for key in ("name", "technology", "rows", "cols", "cell_bits", "crossbars", "yours_to_set", "source"):
        values = [row[key] for row in rows]
        title = titles.get(key, key)
        if isinstance(values[0], int):
            columns.append(Column.of_counts(title, [int(value) for value in values]))
        else:
            columns.append(Column(title, tuple(map(str, values)), most=30))
    console = Console()
    print_columns(console, columns, ("to set",))
    console.print(
        "to set: values that no source gives. mho presets NAME shows every value with its source", style="dim"
    )

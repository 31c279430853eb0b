"""``mho inspect`` of an accelerator: its values, where each comes from, and which are the user's to set."""

from __future__ import annotations

import json
from decimal import Decimal

from pydantic import BaseModel
from rich import box
from rich.table import Table

from mho.cli.arguments import note_doubts
from mho.cost_model.area import area_chip
from mho.hardware.loading import list_presets, load_accelerator
from mho.hardware.spec import Accelerator
from mho.report.hardware_words import tell_conversion
from mho.terminal import Console, Text, echo, wide_console

_SOURCE_WIDTH = 90


def names_accelerator(target: str) -> bool:
    """Return whether a target is an accelerator: a preset or a TOML file."""
    return target.endswith(".toml") or target in list_presets()


def inspect_accelerator(target: str, *, as_json: bool) -> None:
    """Print an accelerator, as text or as JSON. Raises `InputFileError` and `ConfigError`."""
    accelerator = note_doubts(load_accelerator(target))
    if as_json:
        echo(json.dumps({**accelerator.to_json(), "keys_to_set": accelerator.keys_to_set}, indent=2))
    else:
        _print(accelerator)


def _print(accelerator: Accelerator) -> None:
    console = wide_console()
    console.print(Text.assemble((accelerator.name, "bold"), f"   {accelerator.description}"))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("key", "value", "source"):
        table.add_column(title, overflow="fold", max_width=_SOURCE_WIDTH if title == "source" else None)
    to_set = accelerator.keys_to_set
    for key in accelerator.value_keys():
        section, name = key.split(".")
        value = _show(getattr(getattr(accelerator, section), name))
        if value:
            source = accelerator.sources.get(key, "")
            table.add_row(Text(key), Text(value), Text(source, style="yellow" if key in to_set else "dim"))
    console.print(table)
    console.print(tell_conversion(accelerator), style="dim", soft_wrap=True)
    if accelerator.area.is_specified:
        _print_area(console, accelerator)
    if to_set:
        console.print(Text(f"yours to set: {', '.join(to_set)}", style="yellow"))


def _print_area(console: Console, accelerator: Accelerator) -> None:
    area = area_chip(accelerator)
    shares = (f"{component} {float(um2) / 1e6:,.2f}" for component, um2 in area.component_um2.items() if um2)
    line = Text.assemble("area ", (f"{area.total_mm2:,.2f} mm2", "bold"), f"   {'   '.join(shares)}")
    console.print(line)
    if area.unspecified:
        console.print(f"unspecified, and not counted: {', '.join(area.unspecified)}", style="dim")


def _show(value: object) -> str:
    """Return a value as TOML has it, more or less; nothing where it is unspecified."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, tuple):
        return ", ".join(map(_show, value))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, BaseModel):
        changed = {name: getattr(value, name) for name in type(value).model_fields if name in value.model_fields_set}
        return "; ".join(f"{name} {_show(one)}" for name, one in changed.items()) or "everything"
    return str(value)

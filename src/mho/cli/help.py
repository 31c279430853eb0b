"""How helps look: options under headings, no types beside flags, long lists of values in the text."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

from typer.core import TyperCommand, TyperGroup

MOST = 1_000_000_000
"""Of what options count."""

_PANELS = {
    "Bit widths and shapes": "policy bits input_shape",
    "Hardware": "accelerator accelerators hardware encoding cell_bits crossbars mapping max_error mapping_objective "
    "digital not_digital arithmetic digital_bits energy",
    "The chip that runs it": "seed chips elapsed_s temperature_k reads placement ranges corrections transferred "
    "chip_samples correct_channels",
    "Files and folders": "directory data_root weights fresh storage",
    "Workers": "processes ray",
    "Output": "output output_format as_json draw image trace timeline save_agent check quiet verbose help",
}
"""Heading -> the options below it, of all commands; others stand under "Options"."""
_PANEL_OF = {name: heading for heading, names in _PANELS.items() for name in names.split()}


class MhoCommand(TyperCommand):
    """A command whose help is laid out as the module says."""

    def __init__(self, name: str | None, **settings: Any) -> None:
        paragraphs = inspect.cleandoc(settings.get("help") or "").split("\n\n")
        settings["help"] = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
        super().__init__(name, **settings)

    def get_params(self, ctx: Any) -> Any:
        """Return the parameters, --help among them."""
        return _lay_out(super().get_params(ctx))


class MhoGroup(TyperGroup):
    """The same for ``mho`` itself."""

    def get_params(self, ctx: Any) -> Any:
        """Return the parameters, --help among them."""
        return _lay_out(super().get_params(ctx), with_panels=False)


def _lay_out(parameters: Sequence[Any], *, with_panels: bool = True) -> Sequence[Any]:
    for parameter in parameters:
        if parameter.param_type_name != "option":
            parameter.metavar = parameter.metavar or parameter.name.upper()
            continue
        if with_panels and parameter.rich_help_panel is None:
            parameter.rich_help_panel = _PANEL_OF.get(parameter.name)
        if parameter.is_flag or parameter.name in ("install_completion", "show_completion"):
            parameter.metavar = ""
        if getattr(parameter, "max", None) == MOST:  # it is checked all the same
            parameter.max = None
    order = {heading: number for number, heading in enumerate(_PANELS)}
    return sorted(parameters, key=lambda one: order.get(getattr(one, "rich_help_panel", None) or "", -1))


def one_of(values: Iterable[str]) -> str:
    """Return the values that an option takes, for its text where they are too many to stand beside it."""
    return f"One of {', '.join(values)}."

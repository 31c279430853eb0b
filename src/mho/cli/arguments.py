"""What several commands share: options, shapes, and networks with widths on accelerators.

An option that several commands have is declared here once, as an annotated type that their parameters take.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from mho.api.arguments import as_policy
from mho.cli.help import MOST, one_of
from mho.cost_model.layer_tables import LayerTable
from mho.errors import ConfigError, MhoError
from mho.hardware.chip import DigitalArithmetic
from mho.hardware.implausible_values import list_implausible_values
from mho.hardware.mapping_rules import MappingObjective
from mho.hardware.spec import Accelerator, Encoding
from mho.mapping.layer_mapping import MappingModel
from mho.network.graph import Network
from mho.policy import Policy
from mho.terminal import echo_note

NetworkArgument = Annotated[
    str, typer.Argument(help="An ONNX file, torchvision:NAME, or a name of mho's own networks.")
]


def complete_presets(incomplete: str) -> list[str]:
    """Return the presets that begin as a word does that a shell completes."""
    from mho.hardware.loading import list_presets

    return [name for name in list_presets() if name.startswith(incomplete)]


AcceleratorOption = Annotated[
    str,
    typer.Option(
        metavar="NAME|FILE", help="A preset (mho presets lists them) or a TOML file.", autocompletion=complete_presets
    ),
]
PolicyOption = Annotated[str | None, typer.Option(metavar="FILE", help="Bit widths of every MVM layer (JSON).")]
BitsOption = Annotated[
    str | None,
    typer.Option(metavar="W/A", help="The same widths for every layer; by default a quantized file's own, else 8/8."),
]
EncodingOption = Annotated[
    Encoding | None,
    typer.Option(
        metavar="ENCODING",
        help="The only encoding of weights; by default all allowed ones. The paper's mapping has the first three. "
        f"{one_of(Encoding)}",
    ),
]
MaxErrorOption = Annotated[
    str | None,
    typer.Option(
        metavar="ERROR",
        help="Error that cells and converters may cause at the output of each layer under the best mapping, RMS over "
        'the standard deviation of the exact output: a number, "auto", "none" or "least"; by default the '
        "accelerator's.",
    ),
]
MappingObjectiveOption = Annotated[
    MappingObjective | None,
    typer.Option(
        metavar="OBJECTIVE",
        help="Which mapping of a layer is the best, instead of the accelerator's mapping.objective. "
        f"{one_of(MappingObjective)}",
    ),
]
DigitalOption = Annotated[
    list[str] | None,
    typer.Option(
        "--digital",
        metavar="LAYER",
        help="A layer that the digital unit computes, instead of the accelerator's; repeat it.",
    ),
]
NotDigitalOption = Annotated[
    list[str] | None,
    typer.Option(
        "--not-digital",
        metavar="LAYER",
        help="A layer that lies in crossbars, instead of the accelerator's; repeat it.",
    ),
]
CellBitsOption = Annotated[int | None, typer.Option(metavar="N", help="Bits of a cell, instead of the accelerator's.")]
CrossbarsOption = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, help="Crossbars of the chip, instead of the accelerator's; cores keep their size."
    ),
]
MappingOption = Annotated[
    MappingModel, typer.Option(help="The cheapest exact mapping of each layer, or that of the paper.")
]
SharingBatchOption = Annotated[
    int, typer.Option(metavar="N", min=1, max=MOST, help="Inputs of one batch; they share the writes of weights.")
]
FollowingBatchOption = Annotated[
    int,
    typer.Option(
        metavar="N",
        min=1,
        max=MOST,
        help="Inputs of one batch; they follow each other, and share the writes of weights.",
    ),
]
InputShapeOption = Annotated[
    str | None, typer.Option(metavar="3,224,224", help="Shape of one sample, where the network leaves it open.")
]
ProcessesOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        max=1024,
        help="Processes that evaluate policies, by default 1, at most --proposals; results do not depend on them.",
    ),
]
RayOption = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Evaluate on a Ray cluster: host:port, auto, or local.")
]
DirectoryOption = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="Where results go, instead of the file's.")
]
DataRootOption = Annotated[
    Path | None, typer.Option(metavar="PATH", help="Where the data lies, instead of the file's.")
]
WeightsOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Trained float weights (.safetensors), instead of the file's.")
]
FreshOption = Annotated[bool, typer.Option("--fresh", help="Forget what earlier runs left in the directory.")]
EnergyOption = Annotated[
    bool, typer.Option("--energy", help="Energy and area, as far as the accelerator specifies them.")
]


class Format(StrEnum):
    """How a result is printed."""

    TEXT = "text"
    JSON = "json"


class TableFormat(StrEnum):
    """How a table is printed."""

    TEXT = "text"
    JSON = "json"
    CSV = "csv"


TableFormatOption = Annotated[TableFormat, typer.Option("--format", help="How to print it.")]
FormatOption = Annotated[Format, typer.Option("--format", help="How to print it.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print figures as JSON.")]
PrintedOption = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write what is printed into this file instead.")
]

Chosen = TypeVar("Chosen", Format, TableFormat)


def chosen_format(output_format: Chosen, *, as_json: bool) -> Chosen:
    """Return how to print: --json is short for --format json. Raises `ConfigError` where they differ."""
    kind: type[Chosen] = type(output_format)
    if not as_json or output_format == Format.JSON:
        return output_format
    if output_format != Format.TEXT:
        raise ConfigError(f"--json and --format {output_format} were given together", expected="one of them")
    return kind(Format.JSON)


def check_energy(accelerator: Accelerator) -> None:
    """Refuse energies of an accelerator that specifies none. Raises `ConfigError`."""
    if not accelerator.energy.is_specified:
        raise ConfigError(
            "the accelerator specifies no energies",
            where=accelerator.name,
            expected="values in its table [energy]",
            hint="mho inspect shows what an accelerator specifies; the presets isaac and puma specify most",
        )


def note_doubts(accelerator: Accelerator) -> Accelerator:
    """Print what of an accelerator is hardly meant, as notes, and return it."""
    for sentence in list_implausible_values(accelerator):
        echo_note(f"note: {accelerator.name}: {sentence}")
    return accelerator


Loaded = TypeVar("Loaded", Network, LayerTable)


def load_with_widths(
    load: Callable[..., Loaded], network: str, *, policy: str | None, bits: str | None, input_shape: str | None
) -> tuple[Loaded, Policy]:
    """Load a network, or its layers alone, and the widths that the options give.

    Args:
        load: `mho.load` or `mho.load_layers`.
        network: an ONNX file, ``torchvision:NAME`` or a name of `mho.models`.
        policy: a file of widths; None for `bits`.
        bits: one pair for all layers, such as ``4/8``; None for a quantized network's own, else 8/8.
        input_shape: of one sample, as text; None for the network's own.

    Raises:
        MhoError: something of it cannot be found or read, or the widths are not those of the network's layers.
    """
    if policy is not None and bits is not None:
        raise ConfigError("--policy and --bits were given together", expected="one of them")
    given = Policy.load(policy) if policy is not None else bits
    shape = parse_shape(input_shape)
    with hinting_at_batch_axis(shape):
        loaded = load(network, input_shape=shape)
    if isinstance(loaded, LayerTable) and loaded.note:
        echo_note(f"note: {loaded.note}")
    widths = as_policy(loaded, given)
    names = loaded.layer_names if isinstance(loaded, Network) else [layer.name for layer in loaded.layers]
    widths.check_against(names, where=str(policy))
    return loaded, widths


@contextmanager
def hinting_at_batch_axis(shape: tuple[int, ...] | None) -> Iterator[None]:
    """Say that a shape has no batch axis where a network refuses one that seems to have it."""
    try:
        yield
    except MhoError as error:
        if shape is None or len(shape) < 2 or (shape[0] != 1 and len(shape) < 4):
            raise
        hint = f"--input-shape is of one sample, without the batch axis: {','.join(map(str, shape[1:]))}"
        raise type(error)(error.what, where=error.where, expected=error.expected, hint=hint) from error


def parse_shape(text: str | None) -> tuple[int, ...] | None:
    """Read ``3,224,224`` or ``3x224x224``; None stays None. Raises `ConfigError`."""
    if text is None:
        return None
    parts = [part.strip() for part in text.strip("[]() ").replace("x", ",").split(",")]
    if not all(part.isdecimal() and len(part) <= len(str(MOST)) and int(part) > 0 for part in parts):
        raise ConfigError(
            f"{text!r} is not a shape",
            where="--input-shape",
            expected="positive whole numbers, such as 3,224,224",
            hint=f"did you mean {','.join(numbers)}?" if len(numbers := re.findall(r"\d+", text)) > 1 else "",
        )
    return tuple(int(part) for part in parts)


ArithmeticOption = Annotated[
    DigitalArithmetic | None,
    typer.Option(
        metavar="|".join(DigitalArithmetic),
        help="What digital units compute with between layers; by default digital.arithmetic of the accelerator.",
    ),
]


def read_rules(
    max_error: str | None,
    objective: MappingObjective | None,
    digital: list[str] | None,
    not_digital: list[str] | None,
    *,
    mapping: MappingModel = MappingModel.BEST,
) -> dict[str, Any]:
    """Return the rules of the mapping that options give, by the names of arguments of `mho.accelerator`.

    Raises:
        ConfigError: the mapping is the paper's, which has no such rules.
    """
    given = {"max-error": max_error, "mapping-objective": objective, "digital": digital, "not-digital": not_digital}
    used = [name for name, value in given.items() if value]
    if mapping is MappingModel.PAPER and used:
        raise ConfigError(f"--{used[0]} is a rule of the best mapping", expected="--mapping best beside it")
    return {
        "max_error": _read_max_error(max_error),
        "mapping_objective": objective,
        "always_digital": digital or None,
        "never_digital": not_digital or None,
    }


def _read_max_error(text: str | None) -> float | str | None:
    """Return the number that a bound on errors is, or the word."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text

"""What several commands share: options, shapes, and networks with widths on accelerators.

An option that several commands have is declared here once, as an annotated type that their parameters take.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, TypeVar

import typer

from mho.api.arguments import as_policy
from mho.cost_model.layer_tables import LayerTable
from mho.errors import ConfigError
from mho.hardware.spec import Accelerator, Encoding
from mho.mapping.layer_mapping import MappingModel
from mho.network.graph import Network
from mho.policy import Policy
from mho.terminal import echo

NetworkArgument = Annotated[
    str, typer.Argument(help="An ONNX file, torchvision:NAME, or a name of mho's own networks.")
]
AcceleratorOption = Annotated[str, typer.Option(metavar="NAME|FILE", help="A preset or a TOML file.")]
PolicyOption = Annotated[str | None, typer.Option(metavar="FILE", help="Bit widths of every MVM layer (JSON).")]
BitsOption = Annotated[
    str | None,
    typer.Option(metavar="W/A", help="The same widths for every layer; by default a quantized file's own, else 8/8."),
]
EncodingOption = Annotated[
    Encoding | None,
    typer.Option(help="The only encoding of weights; the paper's mapping supports the first three."),
]
CellBitsOption = Annotated[int | None, typer.Option(metavar="N", help="Instead of the accelerator's.")]
CrossbarsOption = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Instead of the accelerator's; cores keep their size.")
]
MappingOption = Annotated[
    MappingModel, typer.Option(help="The cheapest exact mapping of each layer, or that of the paper.")
]
MOST = 1_000_000_000
"""Of what options count."""
SharingBatchOption = Annotated[
    int, typer.Option(metavar="N", min=1, max=MOST, help="Samples that share the writes of weights.")
]
FollowingBatchOption = Annotated[int, typer.Option(metavar="N", min=1, max=MOST, help="Inputs that follow each other.")]
InputShapeOption = Annotated[
    str | None, typer.Option(metavar="3,224,224", help="Shape of one sample, where the network leaves it open.")
]
ProcessesOption = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, max=1024, help="That evaluate policies, at most batch; results do not depend on them."
    ),
]
RayOption = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Evaluate on a Ray cluster: host:port, auto, or local.")
]
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


def check_energy(accelerator: Accelerator) -> None:
    """Refuse energies of an accelerator that specifies none. Raises `ConfigError`."""
    if not accelerator.energy.is_specified:
        raise ConfigError(
            "the accelerator specifies no energies",
            where=accelerator.name,
            expected="values in its table [energy]",
            hint="mho inspect shows what an accelerator specifies; the presets isaac and puma specify most",
        )


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
    loaded = load(network, input_shape=parse_shape(input_shape))
    if isinstance(loaded, LayerTable) and loaded.note:
        echo(f"note: {loaded.note}", err=True)
    widths = as_policy(loaded, given)
    names = loaded.layer_names if isinstance(loaded, Network) else [layer.name for layer in loaded.layers]
    widths.check_against(names, where=str(policy))
    return loaded, widths


def parse_shape(text: str | None) -> tuple[int, ...] | None:
    """Read ``3,224,224`` or ``3x224x224``; None stays None. Raises `ConfigError`."""
    if text is None:
        return None
    parts = [part.strip() for part in text.replace("x", ",").split(",")]
    if not all(part.isdecimal() and len(part) <= len(str(MOST)) and int(part) > 0 for part in parts):
        raise ConfigError(
            f"{text!r} is not a shape", where="--input-shape", expected="positive whole numbers, such as 3,224,224"
        )
    return tuple(int(part) for part in parts)

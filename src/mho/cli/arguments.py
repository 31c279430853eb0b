"""What several commands understand alike: options, shapes, and networks with widths on accelerators.

An option that several commands have is declared here once, as an annotated type that their parameters take.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer

from mho.cache_folder import cache_folder
from mho.cost_model.layer_tables import load_layer_table, network_policy
from mho.errors import ConfigError
from mho.hardware.loading import load_accelerator, load_distinct, override
from mho.hardware.spec import Accelerator, Encoding
from mho.mapping.model import MappingModel
from mho.network.graph import Network
from mho.network.layers import MvmLayer
from mho.policy import UNIFORM_REFERENCE, BitWidths, Policy

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
    typer.Option(help="Hold weights so and in no other way; the paper's mapping has the first three."),
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
    typer.Option(metavar="N", min=1, max=1024, help="That evaluate policies, at most batch; they change no figure."),
]
RayOption = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Evaluate on a Ray cluster: host:port, auto, or local.")
]
EnergyOption = Annotated[bool, typer.Option("--energy", help="Energy and area, as far as the accelerator tells any.")]


class Format(StrEnum):
    """How an answer is printed."""

    TEXT = "text"
    JSON = "json"


FormatOption = Annotated[Format, typer.Option("--format", help="How to print it.")]


def check_energy(accelerator: Accelerator) -> None:
    """Refuse to tell energies of an accelerator that tells none. Raises `ConfigError`."""
    if not accelerator.energy.is_told:
        raise ConfigError(
            "the accelerator tells no energies",
            where=accelerator.name,
            expected="figures in its table [energy]",
            hint="mho inspect shows what an accelerator tells; the presets isaac and puma tell most",
        )


@dataclass(frozen=True)
class Mapped:
    """A network that is asked for on an accelerator.

    Attributes:
        layers: its MVM layers.
        policy: their widths.
        accelerator: overrides included.
        note: what the user should know about the cache, or nothing.
    """

    layers: tuple[MvmLayer, ...]
    policy: Policy
    accelerator: Accelerator
    note: str


def load_mapped(
    network: str,
    accelerator: str,
    *,
    policy: str | None,
    bits: str | None,
    encoding: Encoding | None,
    cell_bits: int | None,
    input_shape: str | None,
) -> Mapped:
    """Load a network's layers, its hardware and the widths that are asked for.

    Args:
        network: an ONNX file, ``torchvision:NAME`` or a name of `mho.models`.
        accelerator: a preset or a TOML file.
        policy: a file of widths; None for `bits`.
        bits: one pair for all layers, such as ``4/8``; None for a quantized network's own, else 8/8.
        encoding, cell_bits: instead of the accelerator's; None for its own.
        input_shape: of one sample, as text; None for the network's own.

    Raises:
        MhoError: something of it cannot be found, read or brought together.
    """
    widths = _Widths.read(policy, bits)
    hardware = override(load_accelerator(accelerator), cell_bits=cell_bits, encoding=encoding)
    table = load_layer_table(network, input_shape=parse_shape(input_shape), cache=cache_folder())
    chosen = widths.choose([layer.name for layer in table.layers], table.policy)
    return Mapped(table.layers, chosen, hardware, table.note)


@dataclass(frozen=True)
class Scheduled:
    """A network that is asked for on a chip: with all operations between its layers."""

    network: Network
    policy: Policy
    accelerator: Accelerator


def load_scheduled(
    network: str,
    accelerator: str,
    *,
    policy: str | None,
    bits: str | None,
    encoding: Encoding | None,
    cell_bits: int | None,
    input_shape: str | None,
) -> Scheduled:
    """Load a whole network, its hardware and the widths that are asked for. Arguments and errors: `load_mapped`."""
    from mho.network.loading import load_network

    widths = _Widths.read(policy, bits)
    hardware = override(load_accelerator(accelerator), cell_bits=cell_bits, encoding=encoding)
    loaded = load_network(network, input_shape=parse_shape(input_shape))
    return Scheduled(loaded, widths.choose(list(loaded.layer_names), network_policy(loaded)), hardware)


@dataclass(frozen=True)
class Compared:
    """A network that is asked for on several accelerators."""

    network: Network
    policy: Policy
    accelerators: tuple[Accelerator, ...]


def load_compared(
    network: str, accelerators: str, *, policy: str | None, bits: str | None, input_shape: str | None
) -> Compared:
    """Load a whole network, several accelerators and the widths that are asked for. See `load_mapped`.

    Args:
        network, policy, bits, input_shape: as there.
        accelerators: presets and TOML files, separated by commas.

    Raises:
        MhoError: something of it cannot be found, read or brought together, or an accelerator is named twice.
    """
    from mho.network.loading import load_network

    widths = _Widths.read(policy, bits)
    names = [name.strip() for name in accelerators.split(",")]
    if "" in names:
        raise ConfigError(
            "a name is missing", where="--accelerators", expected="presets and TOML files, such as hermes-pcm,neurram"
        )
    hardware = load_distinct(names, where="--accelerators")
    loaded = load_network(network, input_shape=parse_shape(input_shape))
    return Compared(loaded, widths.choose(list(loaded.layer_names), network_policy(loaded)), hardware)


@dataclass(frozen=True)
class _Widths:
    """Widths that are asked for: a policy and its file, or a pair for all layers, or nothing."""

    policy: Policy | None
    file: str
    uniform: BitWidths | None

    @classmethod
    def read(cls, policy: str | None, bits: str | None) -> _Widths:
        if policy is not None and bits is not None:
            raise ConfigError("--policy and --bits were given together", expected="one of them")
        given = Policy.load(policy) if policy is not None else None
        return cls(given, str(policy), BitWidths.parse(bits) if bits is not None else None)

    def choose(self, names: Sequence[str], own: Policy | None) -> Policy:
        """Return the widths of the named layers: what is asked for, else the network's own, else 8/8."""
        if self.policy is not None:
            self.policy.check_against(names, where=self.file)
            return self.policy
        if self.uniform is not None:
            return Policy.uniform(names, self.uniform)
        return own or Policy.uniform(names, UNIFORM_REFERENCE)


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

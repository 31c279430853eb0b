"""What several commands understand alike: shapes, and networks with widths on accelerators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mho.accelerator.loading import load_accelerator, override
from mho.accelerator.spec import Accelerator, Encoding
from mho.cache_folder import cache_folder
from mho.cost.layer_tables import load_layer_table, network_policy
from mho.errors import ConfigError
from mho.network.graph import Network
from mho.network.layers import MvmLayer
from mho.quantization.policy import UNIFORM_REFERENCE, BitWidths, Policy


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
    parts = text.replace("x", ",").split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise ConfigError(
            f"{text!r} is not a shape", where="--input-shape", expected="positive whole numbers, such as 3,224,224"
        )
    return tuple(int(part) for part in parts)

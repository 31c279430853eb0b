"""Bit widths by layer name: what the search proposes, training obeys, mapping counts.

A policy is a value: it holds layer names and widths, never a network. `Policy.check_against` compares it with the
layers of a network.
"""

from __future__ import annotations

import operator
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import total_ordering
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mho.argument_checks import check_arguments
from mho.display import Table, Tabular
from mho.errors import PolicyError, suggest
from mho.formats import plural
from mho.hardware.converters import MAX_ADC_BITS
from mho.input_files import read_json

MIN_BITS, MAX_BITS = 1, 8
REFERENCE_BITS = 16
"""Width of the full-precision reference: the only one above `MAX_BITS`."""
_KEYS = ("weight_bits", "act_bits", "adc_bits")
_SHOWN_WIDTHS = 4
"""Pairs of widths that the short text of a policy counts."""


def _check_width(key: str, value: Any, most: int, others: tuple[int, ...] = ()) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise PolicyError(f"{key} is {value!r}", expected="a whole number")
    if not (MIN_BITS <= value <= most or value in others):
        raise PolicyError(f"{key} is {value}", expected=", or ".join([f"{MIN_BITS}..{most}", *map(str, others)]))


@total_ordering
@dataclass(frozen=True)
class BitWidths:
    """Weight and activation bits of one MVM layer, and the bits with which its sums are converted.

    Widths are ordered by weight, activation and ADC bits; None comes last.

    Attributes:
        weight_bits: 1..8 or 16. 1 means {-1, +1}, 2 means {-1, 0, +1} (ternary), more the narrow symmetric range
            -(2^(w-1) - 1) .. 2^(w-1) - 1. In a product of two activations, of the operand that the crossbar stores.
        act_bits: 1..8 or 16.
        adc_bits: 1..16, at most `converters.adc_bits` of the accelerator; None means these. Only calibrated ADCs
            support bits for each layer (`mho.mapping.adc_resolution.layer_hardware`).

    Raises:
        PolicyError: a width is out of range.
    """

    weight_bits: int
    act_bits: int
    adc_bits: int | None = None

    def __post_init__(self) -> None:
        for key in ("weight_bits", "act_bits"):
            _check_width(key, getattr(self, key), MAX_BITS, (REFERENCE_BITS,))
        if self.adc_bits is not None:
            _check_width("adc_bits", self.adc_bits, MAX_ADC_BITS)

    def __str__(self) -> str:
        return write_widths(self.weight_bits, self.act_bits, self.adc_bits)

    def __lt__(self, other: object) -> bool:
        return self._place < other._place if isinstance(other, BitWidths) else NotImplemented

    def converts_as_finely(self, other: BitWidths) -> bool:
        """Return whether sums are converted with at least as many bits as `other` has; None means the most."""
        return self._place[2] >= other._place[2]

    @property
    def _place(self) -> tuple[int, int, int]:
        return self.weight_bits, self.act_bits, MAX_ADC_BITS + 1 if self.adc_bits is None else self.adc_bits

    @classmethod
    @check_arguments()
    def parse(cls, text: str) -> BitWidths:
        """Read ``weight/activation`` such as ``4/8``, or ``weight/activation/ADC`` such as ``4/8/6``.

        Raises:
            PolicyError: it is neither, or a width is out of range.
        """
        parts, numbers = [part.strip() for part in text.split("/")], re.findall(r"\d{1,2}", text)[:3]
        if len(parts) not in (2, 3) or not all(part.isdecimal() and len(part) <= 9 for part in parts):
            raise PolicyError(
                f"{text!r} is not a pair of bit widths",
                expected="WEIGHT/ACTIVATION, such as 8/8, or with /ADC",
                hint=f"did you mean {'/'.join((numbers * 2)[: max(2, len(numbers))])}?" if numbers else "",
            )
        return cls(*map(int, parts))

    def to_json(self) -> dict[str, int]:
        """Return what a policy file says of a layer: ADC bits only where they are specified."""
        widths = {"weight_bits": self.weight_bits, "act_bits": self.act_bits}
        return widths if self.adc_bits is None else {**widths, "adc_bits": self.adc_bits}


Widths = BitWidths | str | tuple[int, ...] | list[int] | Mapping[str, int]
"""What `as_widths` takes."""


def as_widths(value: Widths, *, where: str = "") -> BitWidths:
    """Return the widths that "4/8", (4, 8), {"weight_bits": 4, "act_bits": 8} or `BitWidths` stand for.

    Third numbers are ADC bits.

    Raises:
        PolicyError: it is none of these, or a width is out of range; names `where`.
    """
    if isinstance(value, BitWidths):
        return value
    if isinstance(value, Mapping):
        return _read_widths(dict(value), where)
    expected = 'a BitWidths, "4/8", (4, 8), or with ADC bits "4/8/6", (4, 8, 6)'
    try:
        if isinstance(value, str):
            return BitWidths.parse(value)
        if isinstance(value, tuple | list) and len(value) in (2, 3) and not any(isinstance(one, bool) for one in value):
            return BitWidths(*(operator.index(one) for one in value))
    except PolicyError as error:
        raise PolicyError(error.what, where=where, expected=error.expected, hint=error.hint) from error
    except TypeError:
        pass
    raise PolicyError(f"{value!r:.80} is not a pair of bit widths", where=where, expected=expected)


def write_widths(weight_bits: int, act_bits: int, adc_bits: int | None) -> str:
    """Return widths as people read them: 4/8, or 4/8/6."""
    return f"{weight_bits}/{act_bits}" + ("" if adc_bits is None else f"/{adc_bits}")


UNIFORM_REFERENCE = BitWidths(8, 8)
"""Widths of every layer in what policies are compared with: compilation for 8 bits."""


@dataclass(frozen=True)
class Policy(Tabular):
    """Bit widths of every MVM layer of a network.

    Attributes:
        layers: by layer name, in execution order; read-only.
    """

    layers: Mapping[str, BitWidths]

    def __post_init__(self) -> None:
        if not isinstance(self.layers, Mapping):
            raise PolicyError(f"{self.layers!r:.80} is not a policy", expected="a mapping of layer names to widths")
        for name, widths in self.layers.items():
            _check_name(name)
            if not isinstance(widths, BitWidths):
                hint = "Policy.of takes other forms"
                raise PolicyError(
                    f"{widths!r:.80} is not a pair of widths", where=name, expected="BitWidths", hint=hint
                )
        object.__setattr__(self, "layers", MappingProxyType(dict(self.layers)))

    def __getitem__(self, layer: str) -> BitWidths:
        if not isinstance(layer, str) or layer not in self.layers:
            raise PolicyError("unknown layer", where=f"{layer!s:.80}", hint=suggest(layer, self.layers))
        return self.layers[layer]

    def __hash__(self) -> int:
        return hash(tuple(sorted(self.layers.items())))

    def __repr__(self) -> str:
        return f"Policy({self._summary})"

    @property
    def _summary(self) -> str:
        counts = Counter(map(str, self.layers.values())).most_common()
        rest = len(counts) - _SHOWN_WIDTHS
        shown = ", ".join(f"{count} at {widths}" for widths, count in counts[:_SHOWN_WIDTHS])
        return f"{plural(len(self.layers), 'layer')}: {shown}" + (f", {rest} more widths" if rest > 0 else "")

    def table(self) -> Table:
        """Return one row a layer."""
        rows = ((name, own.weight_bits, own.act_bits, own.adc_bits) for name, own in self.layers.items())
        return Table(self._summary, ("layer", *_KEYS), tuple(rows))

    @classmethod
    def of(cls, layers: Mapping[str, Widths]) -> Policy:
        """Return a policy of widths in any form that `as_widths` takes. Raises `PolicyError`."""
        if not isinstance(layers, Mapping):
            raise PolicyError(f"layers are a {type(layers).__name__}", expected="a mapping of layer names to widths")
        return cls({name: as_widths(widths, where=f"{name}") for name, widths in layers.items()})

    @classmethod
    @check_arguments("bits")
    def uniform(cls, layer_names: Iterable[str], bits: Widths) -> Policy:
        """Give every layer the same widths. Raises `PolicyError` where `as_widths` does."""
        widths = as_widths(bits)
        return cls({_check_name(name): widths for name in layer_names})

    def replace(self, changes: Mapping[str, Widths]) -> Policy:
        """Return a policy with the named layers changed. Raises `PolicyError` for an unknown layer or no widths."""
        if not isinstance(changes, Mapping):
            raise PolicyError(f"changes are a {type(changes).__name__}", expected="a mapping of layer names to widths")
        self._check_layers(changes)
        return Policy({**self.layers, **{name: as_widths(widths, where=name) for name, widths in changes.items()}})

    def check_against(self, layer_names: Iterable[str], *, where: str = "policy") -> None:
        """Check that the policy names the MVM layers of a network.

        Raises:
            PolicyError: a layer is unknown or is not named.
        """
        names = list(layer_names)
        unknown = [name for name in self.layers if name not in set(names)]
        if unknown:
            hints = "; ".join(f"{name}: {found}" for name in unknown if (found := suggest(name, names)))
            raise PolicyError(f"unknown layers: {', '.join(unknown)}", where=where, hint=hints or _listing(names))
        missing = [name for name in names if name not in self.layers]
        if missing:
            raise PolicyError(
                f"layers without bit widths: {', '.join(missing)}", where=where, expected="every MVM layer named"
            )

    def to_json(self) -> dict[str, Any]:
        """Return the content of a policy file."""
        return {"layers": {name: bits.to_json() for name, bits in self.layers.items()}}

    @property
    def adc_bits(self) -> dict[str, int]:
        """ADC bits of the layers that have their own, by name."""
        return {name: bits.adc_bits for name, bits in self.layers.items() if bits.adc_bits is not None}

    def with_adc_bits(self, adc_bits: Mapping[str, int]) -> Policy:
        """Return a policy in which the named layers have ADC bits of their own. Raises `PolicyError`: unknown layer."""
        self._check_layers(adc_bits)
        return self.replace({name: replace(self.layers[name], adc_bits=bits) for name, bits in adc_bits.items()})

    def _check_layers(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.layers:
                raise PolicyError("unknown layer", where=name, hint=suggest(name, self.layers))

    @classmethod
    def from_json(cls, content: Any, *, where: str = "policy") -> Policy:
        """Read the content of a policy file: ``{"layers": {NAME: {"weight_bits": W, "act_bits": A}}}``.

        Beside both, a layer may have ``"adc_bits": B``.

        Raises:
            PolicyError: an unknown or missing key, or a width out of range; names the layer.
        """
        if not isinstance(content, dict) or not isinstance(content.get("layers"), dict):
            raise PolicyError(
                "not a policy", where=where, expected='{"layers": {NAME: {"weight_bits": W, "act_bits": A}}}'
            )
        if unknown := set(content) - {"layers"}:
            raise PolicyError(f"unknown key {min(unknown)!r}", where=where, expected="only 'layers'")
        return cls({str(name): _read_widths(entry, f"{where}: {name}") for name, entry in content["layers"].items()})

    @classmethod
    @check_arguments()
    def load(cls, path: str | Path) -> Policy:
        """Read a policy file. Raises `InputFileError` or `PolicyError`."""
        return cls.from_json(read_json(path, expected="a policy file"), where=str(path))


def policy_schema() -> dict[str, Any]:
    """Return the JSON schema of a policy file."""
    width = {"anyOf": [{"type": "integer", "minimum": MIN_BITS, "maximum": MAX_BITS}, {"const": REFERENCE_BITS}]}
    widths = {
        "type": "object",
        "properties": {
            "weight_bits": {
                **width,
                "description": "1: {-1, +1}; 2: {-1, 0, +1}; more: -(2^(w-1) - 1) .. 2^(w-1) - 1. "
                "In a product of two activations: of the operand that is stored in the crossbar.",
            },
            "act_bits": {**width, "description": "Bits of the layer's input."},
            "adc_bits": {
                "type": "integer",
                "minimum": 1,
                "maximum": MAX_ADC_BITS,
                "description": "Bits with which calibrated ADCs convert the layer's sums, at most the accelerator's "
                "converters.adc_bits, which is the default.",
            },
        },
        "required": ["weight_bits", "act_bits"],
        "additionalProperties": False,
    }
    return {
        "title": "Policy",
        "description": "Bit widths of every MVM layer of a network, by layer name.",
        "type": "object",
        "properties": {"layers": {"type": "object", "additionalProperties": widths}},
        "required": ["layers"],
        "additionalProperties": False,
    }


def _check_name(name: str) -> str:
    if not isinstance(name, str):
        raise PolicyError(f"{name!r:.80} is not the name of a layer", expected="a text")
    return name


def _read_widths(entry: Any, where: str) -> BitWidths:
    if not isinstance(entry, dict):
        raise PolicyError(
            f"{entry!r} is not a pair of widths", where=where, expected='{"weight_bits": W, "act_bits": A}'
        )
    for key in entry:
        if key not in _KEYS:
            expected, hint = "weight_bits, act_bits and, where it has its own, adc_bits", suggest(str(key), _KEYS)
            raise PolicyError(f"unknown key {key!r}", where=where, expected=expected, hint=hint)
    for key in ("weight_bits", "act_bits"):
        if key not in entry:
            raise PolicyError(f"{key} is missing", where=where)
    if "adc_bits" in entry and entry["adc_bits"] is None:
        raise PolicyError("adc_bits is null", where=where, expected="a whole number, or no such key")
    try:
        return BitWidths(**entry)
    except PolicyError as error:
        raise PolicyError(error.what, where=where, expected=error.expected, hint=error.hint) from error


def _listing(names: list[str]) -> str:
    shown = ", ".join(names[:12])
    return f"the network's MVM layers are: {shown}{', ...' if len(names) > 12 else ''}"

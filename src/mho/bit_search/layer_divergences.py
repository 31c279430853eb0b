"""How far each layer's bit widths alone move a float network's answers: measured once, for many allocations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mho.argument_checks import check_arguments
from mho.errors import ConfigError, InputFileError, MhoError, PolicyError
from mho.input_files import read_json
from mho.policy import MAX_BITS, BitWidths, as_widths
from mho.quantization.effort import Effort, parse_effort

DEFAULT_WIDTHS = ("4/8", "6/8", "8/8")
DEFAULT_PROBED = 64
_KEYS = {"divergences", "samples", "effort"}
_EXPECTED = "divergences of layers, as mho allocate --write-divergences writes them"


@dataclass(frozen=True)
class LayerDivergences:
    """What the widths of single layers do to a network's answers.

    Attributes:
        layers: by layer and widths, the mean divergence of the answers from float, >= 0: in nats a sample or position
            where the task has classes, else half of the squared distance.
        samples: on how many samples, 1 or more.
        effort: of quantization that was measured; beyond "fast" the network was smoothed first.

    Raises:
        ConfigError: a divergence is negative or not finite, or a layer has none; samples or effort out of range.
        PolicyError: widths out of range.
    """

    layers: Mapping[str, Mapping[BitWidths, float]]
    samples: int
    effort: Effort

    def __post_init__(self) -> None:
        if isinstance(self.samples, bool) or not isinstance(self.samples, int) or self.samples < 1:
            raise ConfigError(f"samples are {self.samples!r:.80}", where="divergences", expected="1 or more")
        if not isinstance(self.effort, str):
            raise ConfigError(f"effort is {self.effort!r:.80}", where="divergences", expected="a text")
        parse_effort(self.effort)
        if not isinstance(self.layers, Mapping):
            raise ConfigError(f"layers are {self.layers!r:.80}", where="divergences", expected="widths by layer")
        for name, own in self.layers.items():
            if not isinstance(name, str) or not isinstance(own, Mapping):
                raise ConfigError(
                    f"{name!r:.80} has {own!r:.80}", where="divergences", expected="a table of widths by layer"
                )
            check_choices(tuple(own), where=name)
            for bits, found in own.items():
                if isinstance(found, bool) or not isinstance(found, int | float) or not 0.0 <= found < math.inf:
                    raise ConfigError(f"{found!r:.80} at {bits}", where=name, expected="a divergence, 0 or more")
        kept = {name: MappingProxyType(dict(sorted(own.items()))) for name, own in self.layers.items()}
        object.__setattr__(self, "layers", MappingProxyType(kept))

    def to_json(self) -> dict[str, Any]:
        """Return plain tables, numbers and text, which `from_json` reads."""
        layers = {name: {str(bits): found for bits, found in own.items()} for name, own in self.layers.items()}
        return {"divergences": layers, "samples": self.samples, "effort": self.effort}

    @classmethod
    def from_json(cls, content: Any, *, where: str = "divergences") -> LayerDivergences:
        """Read what `to_json` returned. Raises `InputFileError`."""
        if not isinstance(content, dict) or set(content) != _KEYS or not isinstance(content["divergences"], dict):
            raise InputFileError(f"is not {_EXPECTED}", where=where)
        try:
            layers = {
                name: {as_widths(bits, where=name): found for bits, found in own.items()}
                if isinstance(own, dict)
                else own
                for name, own in content["divergences"].items()
            }
            return cls(layers, content["samples"], content["effort"])
        except MhoError as error:
            place = ": ".join(filter(None, (where, error.where)))
            raise InputFileError(error.what, where=place, expected=error.expected, hint=error.hint) from error

    @classmethod
    @check_arguments()
    def load(cls, path: str | Path) -> LayerDivergences:
        """Read a file of what `to_json` returned. Raises `InputFileError`."""
        return cls.from_json(read_json(path, expected=_EXPECTED), where=str(path))


def check_choices(widths: Sequence[BitWidths], *, where: str) -> None:
    """Refuse what is no choice of widths for a layer. Raises `ConfigError` or `PolicyError`."""
    if len(widths) < 2:
        raise ConfigError(f"{len(widths)} pairs of widths", where=where, expected="two or more to choose from")
    for one in widths:
        if not isinstance(one, BitWidths):
            raise ConfigError(f"{one!r:.80} are no bit widths", where=where, expected="mho.BitWidths")
        check_widths(one, where=where)


def check_widths(widths: BitWidths, *, where: str) -> None:
    """Refuse widths that no layer is allocated. Raises `PolicyError`."""
    if max(widths.weight_bits, widths.act_bits) > MAX_BITS or widths.adc_bits is not None:
        raise PolicyError(f"widths {widths}", where=where, expected=f"weights and activations, 1..{MAX_BITS}")

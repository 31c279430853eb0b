"""What a policy may be: ranges of widths, of all layers and of single ones, and widths that are held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from mho.errors import ConfigError, PolicyError, suggest
from mho.hardware.converters import MAX_ADC_BITS
from mho.policy import MAX_BITS, MIN_BITS, UNIFORM_REFERENCE, BitWidths

if TYPE_CHECKING:
    from mho.bit_search.array_errors import ArrayErrors


@dataclass(frozen=True)
class BitRange:
    """The bits that one layer may have.

    Attributes:
        weights, acts: fewest and most bits, 1..8, inclusive; None: as other layers.
    """

    weights: tuple[int, int] | None = None
    acts: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for kind in ("weights", "acts"):
            limits = getattr(self, kind)
            if limits is not None and not MIN_BITS <= limits[0] <= limits[1] <= MAX_BITS:
                raise ConfigError(
                    f"{kind} are {limits[0]}..{limits[1]}",
                    where="range of a layer",
                    expected=f"fewest and most bits, within {MIN_BITS}..{MAX_BITS}",
                )


@dataclass(frozen=True)
class SearchConstraints:
    """What a policy may be.

    Attributes:
        min_weight_bits, max_weight_bits, min_act_bits, max_act_bits: allowed range, 1..8 each, inclusive.
        hold_first_last: widths at which the first and the last layer are held; None searches them too; "auto": 8/8,
            and where policies are judged on arrays that are not ideal, those of the allowed ones that are predicted to
            err least there, rounding included.
        weight_bits_multiple: weight bits are multiples of it; the cell's bits where partly filled cells are to be
            avoided, 1 for no such limit.
        pins: widths of single layers, by name; they go before everything else.
        ranges: ranges of single layers, by name; they go before the general ones and before `hold_first_last`.
        adc_bits: with how many bits sums may be converted, ascending; empty: with the accelerator's, which are not
            searched. Widths that are held or pinned may specify their own; else these are searched.
    """

    min_weight_bits: int = 2
    max_weight_bits: int = 8
    min_act_bits: int = 2
    max_act_bits: int = 8
    hold_first_last: BitWidths | Literal["auto"] | None = "auto"
    weight_bits_multiple: int = 1
    pins: Mapping[str, BitWidths] = field(default_factory=dict)
    ranges: Mapping[str, BitRange] = field(default_factory=dict)
    adc_bits: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "pins", MappingProxyType(dict(self.pins)))
        object.__setattr__(self, "ranges", MappingProxyType(dict(self.ranges)))
        object.__setattr__(self, "adc_bits", tuple(sorted(set(self.adc_bits))))
        if self.adc_bits and not 1 <= self.adc_bits[0] <= self.adc_bits[-1] <= MAX_ADC_BITS:
            raise ConfigError(
                f"adc_bits are {', '.join(map(str, self.adc_bits))}",
                where="search constraints",
                expected=f"within 1..{MAX_ADC_BITS}",
            )
        for kind in ("weight", "act"):
            low, high = getattr(self, f"min_{kind}_bits"), getattr(self, f"max_{kind}_bits")
            if not MIN_BITS <= low <= high <= MAX_BITS:
                raise ConfigError(
                    f"min_{kind}_bits is {low} and max_{kind}_bits is {high}",
                    where="search constraints",
                    expected=f"{MIN_BITS} <= min_{kind}_bits <= max_{kind}_bits <= {MAX_BITS}",
                )
        if self.weight_bits_multiple < 1 or not self.weight_options():
            raise self._no_weights(self.min_weight_bits, self.max_weight_bits, "weight_bits_multiple")
        for name, own in self.ranges.items():
            if name in self.pins:
                raise ConfigError(
                    f"{name} has a pin and a range", where="search constraints", expected="one of them for each layer"
                )
            if not self.weight_options(name):
                raise self._no_weights(*(own.weights or (0, 0)), f"ranges: {name}")

    def _no_weights(self, low: int, high: int, where: str) -> ConfigError:
        return ConfigError(
            f"no weight bits in {low}..{high} are multiples of {self.weight_bits_multiple}",
            where=f"search constraints: {where}",
            hint="widen the range of weight bits, or set weight_bits_multiple to 1",
        )

    def weight_options(self, name: str | None = None) -> tuple[int, ...]:
        """Return the allowed weight bits, ascending: of a layer, or those of layers without a range of their own."""
        own = self.ranges[name].weights if name is not None and name in self.ranges else None
        low, high = own or (self.min_weight_bits, self.max_weight_bits)
        return tuple(bits for bits in range(low, high + 1) if bits % self.weight_bits_multiple == 0)

    def act_options(self, name: str | None = None) -> tuple[int, ...]:
        """Return the allowed activation bits, ascending, as `weight_options`."""
        own = self.ranges[name].acts if name is not None and name in self.ranges else None
        low, high = own or (self.min_act_bits, self.max_act_bits)
        return tuple(range(low, high + 1))

    def check_against(self, layer_names: Sequence[str]) -> None:
        """Check pins and ranges against the layers of a network. Raises `PolicyError`."""
        for kind, given in (("pins", self.pins), ("ranges", self.ranges)):
            for name in given:
                if name not in layer_names:
                    hint = suggest(name, layer_names)
                    raise PolicyError("unknown layer", where=f"search constraints: {kind}: {name}", hint=hint)
        for name, bits in self.pins.items():
            if max(bits.weight_bits, bits.act_bits) > MAX_BITS:
                raise PolicyError(f"{bits} is above {MAX_BITS} bits", where=f"search constraints: pins: {name}")

    def specified_adc_bits(self) -> tuple[int, ...]:
        """Return all bits of conversions that some layer may have of its own, ascending."""
        held = (self.hold_first_last,) if isinstance(self.hold_first_last, BitWidths) else ()
        fixed = (bits.adc_bits for bits in (*held, *self.pins.values()))
        return tuple(sorted({*self.adc_bits, *(bits for bits in fixed if bits is not None)}))

    def choices_for(self, name: str, *, is_end: bool, errors: ArrayErrors | None = None) -> tuple[BitWidths, ...]:
        """Return what a layer may take, by weight, activation and ADC bits.

        Args:
            name: of the layer.
            is_end: it is the first or the last one.
            errors: of arrays, where policies are judged on them.
        """
        if name in self.pins:
            return self._with_adc_bits(self.pins[name])
        pairs = [BitWidths(w, a) for w in self.weight_options(name) for a in self.act_options(name)]
        if is_end and self.hold_first_last is not None and name not in self.ranges:
            return self._with_adc_bits(self._held(name, pairs, errors))
        return tuple(bits for pair in pairs for bits in self._with_adc_bits(pair))

    def _held(self, name: str, pairs: Sequence[BitWidths], errors: ArrayErrors | None) -> BitWidths:
        """Return the widths at which the first or the last layer is held."""
        if isinstance(self.hold_first_last, BitWidths):
            return self.hold_first_last
        return UNIFORM_REFERENCE if errors is None else errors.least(name, pairs)

    def _with_adc_bits(self, bits: BitWidths) -> tuple[BitWidths, ...]:
        if bits.adc_bits is not None or not self.adc_bits:
            return (bits,)
        return tuple(replace(bits, adc_bits=own) for own in self.adc_bits)

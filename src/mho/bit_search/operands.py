"""What the loss of a layer is learned from: the bits of its operands, and the error of its array."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mho.policy import MAX_BITS, BitWidths

if TYPE_CHECKING:
    from mho.bit_search.array_errors import ArrayErrors
    from mho.bit_search.space import SearchSpace

BITS = ("weight", "activation")
"""Operands of every layer, in the order of all arrays of sensitivities."""
WITH_ADC = (*BITS, "ADC")
"""The same where a search chooses the bits of ADCs too."""
WITH_ARRAY = (*WITH_ADC, "array")
"""The same where policies are evaluated on arrays that are not ideal: their error counts as an operand of so many
equivalent bits (`mho.bit_search.array_errors.ArrayErrors.equivalent_bits`)."""


@dataclass(frozen=True, eq=False)
class Operands:
    """The operands of the layers of a space.

    Attributes:
        names: `BITS`, `WITH_ADC` or `WITH_ARRAY`.
        errors: of arrays; with `WITH_ARRAY`, else None.
    """

    names: tuple[str, ...] = BITS
    errors: ArrayErrors | None = None

    @classmethod
    def of(cls, space: SearchSpace) -> Operands:
        """Return the operands of a space."""
        if space.errors is not None:
            return cls(WITH_ARRAY, space.errors)
        return cls(WITH_ADC if space.adc_bits else BITS)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.names)

    def places_of(self, name: str, bits: BitWidths) -> tuple[int, ...]:
        """Return a layer's bits of each operand as 1..8: ADCs of more lose as little as those of 8."""
        adc_bits = MAX_BITS if bits.adc_bits is None else min(bits.adc_bits, MAX_BITS)
        places = (min(bits.weight_bits, MAX_BITS), min(bits.act_bits, MAX_BITS), adc_bits)[: len(self.names)]
        return places if self.errors is None else (*places, self.errors.equivalent_bits(name, bits))

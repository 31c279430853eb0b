"""How much of each layer's output is error of the array, by the widths of the layer: what searches on chips expect.

More bits round less, and on arrays that are not ideal they may add more error than that: more slices of a weight are
converted, more steps of an input are read, and the chosen mapping is another. So widths are compared by the error that
their mapping is predicted to cause (`mho.mapping.output_error`), beside their bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping

from mho.evaluation.chips import SampledChips
from mho.evaluation.machine_arrays import MachineArrays
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.mapping.output_error import is_exact, mapping_error
from mho.network.graph import Network
from mho.policy import MAX_BITS, BitWidths, Policy

SIMILAR = 1.05
"""Errors within this factor count as equal: the prediction is no better than that."""
_GRID = 6.0 / math.sqrt(12)
"""RMS error of a grid of one step over six standard deviations, in these; of b bits 2^b times less."""


class ArrayErrors:
    """Predicted errors of layers on the array, each found when it is first needed.

    Args:
        find: returns of each layer, by name, the RMS error of its output over the standard deviation of the output,
            where all layers have the given widths.
    """

    def __init__(self, find: Callable[[BitWidths], Mapping[str, float]]) -> None:
        self._find = find
        self._known: dict[BitWidths, Mapping[str, float]] = {}

    def of(self, name: str, bits: BitWidths) -> float:
        """Return the relative error of a layer at some widths, 0 or more."""
        if bits not in self._known:
            self._known[bits] = self._find(bits)
        return self._known[bits][name]

    def with_rounding(self, name: str, bits: BitWidths) -> float:
        """Return the relative error of a layer, that of rounding its weights and inputs to their bits included."""
        return math.hypot(self.of(name, bits), _GRID / 2**bits.weight_bits, _GRID / 2**bits.act_bits)

    def errs_no_more(self, name: str, one: BitWidths, other: BitWidths) -> bool:
        """Tell whether a layer errs no more at the widths `one` than at `other`, rounding included, to `SIMILAR`."""
        return self.with_rounding(name, one) <= SIMILAR * self.with_rounding(name, other)

    def equivalent_bits(self, name: str, bits: BitWidths) -> int:
        """Return the bits of a uniform grid over six deviations that rounds as much as the array errs, 1..8."""
        error = self.of(name, bits)
        return MAX_BITS if error <= _GRID / 2**MAX_BITS else max(1, round(math.log2(_GRID / error)))

    def least(self, name: str, choices: Collection[BitWidths]) -> BitWidths:
        """Return the widest of the choices whose error, rounding included, is similar to the least of them."""
        errors = {bits: self.with_rounding(name, bits) for bits in choices}
        similar = (bits for bits, error in errors.items() if error <= SIMILAR * min(errors.values()))
        return max(similar, key=lambda bits: (bits.weight_bits + bits.act_bits, bits.weight_bits))


def find_array_errors(
    network: Network, accelerator: Accelerator, chips: SampledChips | None, mapping: MappingModel
) -> ArrayErrors | None:
    """Return what the arrays of chips are predicted to do to layers; None where that is nothing.

    Args:
        network: its layers; weights do not matter.
        accelerator: that layers are mapped onto.
        chips: whose accuracy counts; None: that of exact integers does.
        mapping: how layers are laid into crossbars.
    """
    if chips is None:
        return None
    elapsed_s = chips.conditions.elapsed_s
    rules = accelerator.mapping.model_copy(update={"elapsed_s": elapsed_s})
    parts = {"array": chips.hardware.array, "converters": chips.hardware.converters, "mapping": rules}
    hardware = accelerator.model_copy(update=parts)
    if is_exact(hardware):
        return None
    machine = MachineArrays(accelerator, mapping)

    def find(bits: BitWidths) -> dict[str, float]:
        layers = machine.map_layers(network, Policy.uniform(network.layer_names, bits))
        return {name: mapping_error(one, hardware) for name, one in layers.items()}

    return ArrayErrors(find)

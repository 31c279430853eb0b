"""What the methods that Optuna proposes for share: policies as its parameters, and its talk kept quiet.

Studies live in memory: records of the evaluation log are replayed into them, so a search goes on after a kill as any
other. What a study gets depends on records alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning

from mho.bit_search.space import SearchSpace
from mho.hardware.converters import MAX_ADC_BITS
from mho.policy import BitWidths, Policy

KINDS = ("weight", "act", "adc")
"""Kinds of widths, in the order in which parameters are heard."""


class PolicyCodec:
    """Policies as whole numbers that grow with bits: one parameter for each width of a layer that has a choice.

    A parameter is the place of the width among those that some choice of the layer has. Parameters that no choice has
    together stand for the nearest choice: first in weight bits, then in activation bits, then in those of conversions.

    Attributes:
        distributions: of the parameters, by name, as Optuna takes them.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        places = [[_widths(bits) for bits in layer.choices] for layer in space.layers]
        self._options = [[sorted(set(kind)) for kind in zip(*widths, strict=True)] for widths in places]
        self._places = [
            [tuple(options.index(width) for options, width in zip(kinds, widths, strict=True)) for widths in choices]
            for kinds, choices in zip(self._options, places, strict=True)
        ]
        self.distributions: dict[str, BaseDistribution] = {
            f"{layer.name}:{kind}": IntDistribution(0, len(options) - 1)
            for layer, kinds in zip(space.layers, self._options, strict=True)
            for kind, options in zip(KINDS, kinds, strict=True)
            if len(options) > 1
        }

    def encode(self, policy: Policy) -> dict[str, int]:
        """Return the parameters of a policy of the space."""
        found: dict[str, int] = {}
        for layer, places in zip(self._space.layers, self._places, strict=True):
            place = places[layer.choices.index(policy[layer.name])]
            found |= {f"{layer.name}:{kind}": number for kind, number in zip(KINDS, place, strict=True)}
        return {name: number for name, number in found.items() if name in self.distributions}

    def decode(self, parameters: Mapping[str, int]) -> Policy:
        """Return the policy of parameters."""
        layers = {}
        for layer, kinds, places in zip(self._space.layers, self._options, self._places, strict=True):
            wanted = [parameters.get(f"{layer.name}:{kind}", 0) for kind in KINDS]
            widths = [options[number] for options, number in zip(kinds, wanted, strict=True)]
            distances = [
                [abs(options[number] - width) for options, number, width in zip(kinds, place, widths, strict=True)]
                for place in places
            ]
            layers[layer.name] = layer.choices[distances.index(min(distances))]
        return Policy(layers)


def _widths(bits: BitWidths) -> tuple[int, int, int]:
    """Return the widths of `KINDS`; ADC bits that a layer does not tell are the accelerator's, the most there are."""
    return bits.weight_bits, bits.act_bits, MAX_ADC_BITS + 1 if bits.adc_bits is None else bits.adc_bits


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna from writing about studies and lost connections, and from warning that its interface may change."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)

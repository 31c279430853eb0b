"""Spaces of search that are so small that all policies can be tried, and accuracies that follow no model."""

from __future__ import annotations

import itertools
import math

import numpy as np

from mho.bit_search.constraints import SearchConstraints
from mho.bit_search.evaluation import Measurement
from mho.bit_search.space import SearchSpace
from mho.policy import BitWidths, Policy


def drawn_space(seed: int, *, layers: int = 2, prune: bool = True) -> SearchSpace:
    """A space of a few layers of 4 or 8 bits each way, with latencies that rise with bits, by drawn amounts."""
    draws = np.random.default_rng(seed)
    steps = draws.integers(0, 40, (layers, 8, 8))
    latency = 10 + steps.cumsum(axis=1).cumsum(axis=2)
    constraints = SearchConstraints(
        min_weight_bits=4, max_weight_bits=8, min_act_bits=6, max_act_bits=8, weight_bits_multiple=4,
        hold_first_last=None,
    )  # fmt: skip
    names = [f"layer{number}" for number in range(layers)]
    features = draws.random((layers, 8)).astype(np.float32)
    return SearchSpace.build(names, latency, features, constraints, prune=prune)


def all_policies(space: SearchSpace) -> list[Policy]:
    """Return every policy of a space."""
    chosen = itertools.product(*(layer.choices for layer in space.layers))
    return [Policy(dict(zip(space.layer_names, bits, strict=True))) for bits in chosen]


class ArbitraryEvaluator:
    """Accuracy that follows nothing: drawn for each policy. The score orders policies as accuracy does."""

    fidelity = "arbitrary"

    def __init__(self, seed: int) -> None:
        self.seed, self.problem = seed, {"kind": "arbitrary", "seed": seed}

    def seed_for(self, policy: Policy) -> int:
        widths = [(b.weight_bits, b.act_bits) for _, b in sorted(policy.layers.items())]
        return int(np.random.default_rng([self.seed, *itertools.chain(*widths)]).integers(2**31))

    def evaluate(self, policy: Policy) -> Measurement:
        drawn = np.random.default_rng(self.seed_for(policy)).random()
        loss = 0.4 if set(policy.layers.values()) == {BitWidths(8, 8)} else 0.38 + 0.05 * drawn
        return Measurement.of(loss, math.exp(-loss))

"""Spaces of search that are so small that all policies can be tried, and accuracies that follow no model."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from functools import cache

import numpy as np
from accelerators import make_accelerator
from chip_networks import make_residual

from mho.bit_search.api import make_space
from mho.bit_search.constraints import SearchConstraints
from mho.bit_search.evaluation import Measurement
from mho.bit_search.objective import Objective
from mho.bit_search.space import SearchSpace
from mho.mapping.layer_mapping import MappingModel
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


NETWORK = make_residual()
ENERGY = {"mvm_pj": 3, "adc_pj": 0.5, "operation_pj": 0.1, "crossbar_leakage_uw": 2}
CHIP = make_accelerator(rows=16, cols=16, cell_bits=2, dac_bits=2, crossbars=48, energy=ENERGY)
NARROW = make_accelerator(rows=16, cols=4, cell_bits=1, dac_bits=2, crossbars=48)
LIMITS = SearchConstraints(
    min_weight_bits=2, min_act_bits=2, max_weight_bits=4, max_act_bits=4, weight_bits_multiple=2,
    pins={NETWORK.layer_names[-1]: BitWidths(8, 8)}, hold_first_last=None,
)  # fmt: skip


@cache
def objective_space(objective: Objective, *, prune: bool = True) -> SearchSpace:
    """The space of a small network on a chip under an objective."""
    if objective is Objective.CROSSBARS:  # only on narrow crossbars these small layers take more with more bits
        limits = replace(LIMITS, max_weight_bits=8, min_act_bits=3)
        return make_space(NETWORK, NARROW, limits, prune=prune, objective=objective)
    return make_space(NETWORK, CHIP, LIMITS, prune=prune, objective=objective)


def adc_space(
    *, prune: bool = True, objective: Objective = Objective.LATENCY, mapping: MappingModel = MappingModel.BEST,
    converters: dict | None = None, **limits,
) -> SearchSpace:  # fmt: skip
    """The space of the same network where layers choose the bits of their ADCs too."""
    own = {"adc_range": "calibrated-layer", "adc_latency_us_per_bit": 0.2, "columns_per_adc": 4}
    prices = {"adc_pj_per_bit": 1, "mvm_pj": 2}
    hardware = make_accelerator(32, 32, 2, **{"adc_bits": 8, "converters": own | (converters or {}), "energy": prices})
    hardware = hardware.with_max_error("none")  # so that fewer bits never take longer
    limits = {"adc_bits": (3, 5, 8), "min_weight_bits": 3, "min_act_bits": 6, "hold_first_last": None, **limits}
    return make_space(NETWORK, hardware, SearchConstraints(**limits), prune=prune, objective=objective, mapping=mapping)


class AdcEvaluator:
    """Loss that every width causes, of ADCs the more the later the layer."""

    fidelity = "smooth"
    problem = {"kind": "smooth"}  # noqa: RUF012 - never changed

    def seed_for(self, policy: Policy) -> int:  # noqa: ARG002 - the protocol's
        return 0

    def evaluate(self, policy: Policy) -> Measurement:
        increase = sum(
            4.0 ** (2 - bits.weight_bits)
            + 4.0 ** (2 - bits.act_bits)
            + (number + 1) * 4.0 ** (3 - (bits.adc_bits or 8))
            for number, bits in enumerate(policy.layers.values())
        )
        return Measurement(0.02 * increase, 0.9 * math.exp(-0.02 * increase))


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

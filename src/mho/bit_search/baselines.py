"""`uniform` and `random`: the two baselines, which learn nothing."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from mho.bit_search.evaluation import EvaluationRecord
from mho.bit_search.goal import Goal
from mho.bit_search.space import SearchSpace
from mho.bit_search.space_policies import draw_within
from mho.policy import BitWidths, Policy


class UniformSearch:
    """Tries the same widths for all layers at a time (held and pinned layers stay), from expensive to cheap."""

    def __init__(self, space: SearchSpace, goal: Goal, budget: int, generator: np.random.Generator) -> None:
        del budget, generator
        pairs = sorted({bits for layer in space.layers if len(layer.choices) > 1 for bits in layer.choices})
        policies = dict.fromkeys(nearest_policy(space, pair) for pair in pairs or [space.layers[0].choices[0]])
        self._left = sorted((p for p in policies if goal.allows(space.cost_of(p))), key=space.cost_of)

    def ask(self, pending: Collection[Policy] = ()) -> Policy | None:
        """Return the most expensive policy that is left."""
        del pending
        return self._left.pop() if self._left else None

    def tell(self, record: EvaluationRecord) -> None:
        """Learn nothing."""


def nearest_policy(space: SearchSpace, wanted: BitWidths) -> Policy:
    """Give every layer, of its choices, the first that has at least the wanted widths, else the widest one."""

    def pick(choices: tuple[BitWidths, ...]) -> BitWidths:
        enough = (
            c
            for c in choices
            if c.weight_bits >= wanted.weight_bits and c.act_bits >= wanted.act_bits and c.converts_as_finely(wanted)
        )
        return next(enough, choices[-1])

    return Policy({layer.name: pick(layer.choices) for layer in space.layers})


class RandomSearch:
    """Draws policies at random, spread over costs: each draw first takes a level, then each layer a width around it.

    Independent draws of every layer would all have nearly the same cost, by the law of large numbers; the level
    spreads them over the whole range.
    """

    def __init__(
        self,
        space: SearchSpace,
        goal: Goal,
        budget: int,
        generator: np.random.Generator,
        *,
        spread: bool = True,
    ) -> None:
        del budget
        self._space, self._goal, self._generator, self._spread = space, goal, generator, spread

    def ask(self, pending: Collection[Policy] = ()) -> Policy:
        """Draw a policy; one that may win, where only costs are limited."""
        del pending
        return draw_within(self._space, self._goal, self._generator, spread=self._spread)

    def tell(self, record: EvaluationRecord) -> None:
        """Learn nothing."""

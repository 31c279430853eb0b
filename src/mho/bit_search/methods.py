"""What a search method is, by which names methods are known, and the two baselines that learn nothing.

A method is asked for a policy and told the record of each; whoever runs it (`bit_search.runner`) evaluates, counts and
logs. A method must be deterministic under its generator: a search goes on after a kill by replaying it against the log.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from mho.bit_search.evaluation import EvaluationRecord
from mho.bit_search.goal import Goal
from mho.bit_search.method_options import MethodOptions
from mho.bit_search.space import SearchSpace
from mho.errors import ConfigError, suggest
from mho.policy import BitWidths, Policy

if TYPE_CHECKING:
    from mho.bit_search.agent_file import SavedAgent

AUTO = "auto"
"""Stands for the method that suits a space and a budget, see `mho.bit_search.auto`."""
METHODS = ("rl", "rl-paper", "exact", "evolution", "tpe", "uniform", "random")


class SearchMethod(Protocol):
    """Proposes policies and learns from what they turned out to be."""

    def ask(self, pending: Collection[Policy] = ()) -> Policy | None:
        """Return the next policy to evaluate; None where nothing is left to propose.

        Args:
            pending: policies that were asked for since, in this batch, and that are not told yet. A method that does
                not propose what it was told of does not propose these either.
        """
        ...

    def tell(self, record: EvaluationRecord) -> None:
        """Learn from the record of the policy that was asked for last.

        The reference's comes first, unasked, then those of earlier searches. Where another seed has measured a policy,
        `TAUGHT` methods are told of it again, by the record of the mean.
        """
        ...


@runtime_checkable
class Learned(Protocol):
    """A method whose agent can be kept."""

    def save(self) -> SavedAgent:
        """Return what it has learned."""
        ...


MethodFactory = Callable[[SearchSpace, Goal, int, np.random.Generator], SearchMethod]
"""Makes a method for a space, a goal, a budget (distinct evaluations that it may use) and a generator."""


def method_factory(name: str, options: MethodOptions | None = None) -> MethodFactory:
    """Return what makes the method of that name.

    Raises:
        ConfigError: unknown, or it does not take one of the options.
    """
    make = _find_method(name)
    given = {} if options is None else options.of(name)
    return partial(make, **given) if given else make


def _find_method(name: str) -> Callable[..., SearchMethod]:
    if name == "uniform":
        return UniformSearch
    if name == "random":
        return RandomSearch
    if name in ("rl", "rl-paper"):
        from mho.bit_search.paper_agent import PaperAgent
        from mho.bit_search.planning_agent import PlanningAgent

        return PlanningAgent if name == "rl" else PaperAgent
    if name == "exact":
        from mho.bit_search.exact import ExactSearch

        return ExactSearch
    if name == "evolution":
        from mho.bit_search.evolution import EvolutionSearch

        return EvolutionSearch
    if name == "tpe":
        from mho.bit_search.tpe import TpeSearch

        return TpeSearch
    raise ConfigError(
        f"unknown search method {name!r}",
        where="method",
        expected=", ".join((AUTO, *METHODS)),
        hint=suggest(name, (AUTO, *METHODS)),
    )


FRONT_METHODS = ("rl", "exact", "evolution", "tpe")
"""Methods that can look for the whole front."""


TAUGHT = ("rl", "exact", "evolution", "tpe")
"""Methods that learn from evaluations that they did not ask for, and from repeated ones."""


def check_given(method: str, given: Sequence[EvaluationRecord]) -> None:
    """Raise `ConfigError` where a method is given records of earlier searches and learns only from its own."""
    if given and method not in TAUGHT:
        raise ConfigError(
            f"{method} learns from nothing but its own evaluations",
            where="search method",
            expected=f"{', '.join(TAUGHT)}, or no warm start",
        )


def check_goal(method: str, space: SearchSpace, *, cost_budget: int | None, whole_front: bool) -> None:
    """Hold what is looked for against a method and a space, before anything is evaluated.

    Args:
        method: one of `METHODS`.
        space: what may be proposed.
        cost_budget, whole_front: as of `Goal`.

    Raises:
        ConfigError: the method looks for single policies and the whole front is wanted, or no policy of the space may
            cost as little as the budget.
    """
    if whole_front and method not in (*FRONT_METHODS, AUTO):
        raise ConfigError(
            f"{method} looks for one policy, not for the whole front",
            where="search method",
            expected=", ".join(FRONT_METHODS),
        )
    if cost_budget is not None and cost_budget < (cheapest := space.cost_of(cheapest_policy(space))):
        raise ConfigError(
            f"the cost budget is {cost_budget} {space.objective.unit}, the cheapest policy costs {cheapest}",
            where="search: cost_budget",
            hint="raise it, allow fewer bits, or take pins away",
        )


def cheapest_policy(space: SearchSpace) -> Policy:
    """Give every layer the choice that costs least by itself; of equals the widest."""
    pairs = ((layer, min(range(len(layer.costs)), key=lambda k: (layer.costs[k], -k))) for layer in space.layers)
    return Policy({layer.name: layer.choices[number] for layer, number in pairs})


class UniformSearch:
    """Tries the same widths for all layers at a time (held and pinned layers stay), from dear to cheap."""

    def __init__(self, space: SearchSpace, goal: Goal, budget: int, generator: np.random.Generator) -> None:
        del budget, generator
        pairs = sorted({bits for layer in space.layers if len(layer.choices) > 1 for bits in layer.choices})
        policies = dict.fromkeys(nearest_policy(space, pair) for pair in pairs)
        self._left = sorted((p for p in policies if goal.allows(space.cost_of(p))), key=space.cost_of)

    def ask(self, pending: Collection[Policy] = ()) -> Policy | None:
        """Return the dearest policy that is left."""
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


def draw_policy(space: SearchSpace, generator: np.random.Generator, *, spread: bool) -> Policy:
    """Draw a policy; `spread` over levels of cost, else each layer's choice uniformly."""
    level = generator.random()
    layers = {}
    for layer in space.layers:
        by_cost = np.argsort(layer.costs, kind="stable")
        share = generator.random()
        if spread:
            share = min(max(level + 0.5 * (share - 0.5), 0.0), 1.0)
        layers[layer.name] = layer.choices[by_cost[min(int(share * len(by_cost)), len(by_cost) - 1)]]
    return Policy(layers)


MAX_DRAWS = 100
"""Policies that are drawn until one costs no more than it may, or is new."""
MAX_LISTED = 4096
"""Spaces of so many policies are gone through where draws find nothing new."""
LISTED_PER_EVALUATION = 4
"""Policies for each evaluation of the budget that a space may have, to be searched to the optimum."""


def searches_all(space: SearchSpace, budget: int) -> bool:
    """Tell whether a space is so small that `exact` searches it to its proven optimum."""
    return space.size <= min(MAX_LISTED, LISTED_PER_EVALUATION * budget)


def draw_within(space: SearchSpace, goal: Goal, generator: np.random.Generator, *, spread: bool) -> Policy:
    """Draw a policy that costs no more than the goal's cost budget, as `draw_policy`; in the end the cheapest.

    Where budgets are so tight that such draws fail, layers take their cheapest choice more and more often.
    """
    for number in range(MAX_DRAWS):
        policy = _draw_cheaper(space, generator, number / MAX_DRAWS, spread=spread)
        if is_within(space, goal, policy):
            return policy
    return cheapest_policy(space)


def draw_new(
    space: SearchSpace, goal: Goal, generator: np.random.Generator, known: Collection[Policy]
) -> Policy | None:
    """Draw a policy that is not known and costs no more than the goal's cost budget; None where none is found.

    None means that there is none where the space has at most `MAX_LISTED` policies, and else that a hundred draws
    found none.
    """
    share = 0.0 if goal.cost_budget is None else 1.0 / MAX_DRAWS
    for number in range(MAX_DRAWS):
        policy = _draw_cheaper(space, generator, number * share, spread=False)
        if policy not in known and is_within(space, goal, policy):
            return policy
    listed = list_policies(space) if space.size <= MAX_LISTED else ()
    return next((policy for policy in listed if policy not in known and is_within(space, goal, policy)), None)


def list_policies(space: SearchSpace) -> Iterator[Policy]:
    """Yield every policy of a space."""
    for chosen in itertools.product(*(layer.choices for layer in space.layers)):
        yield Policy(dict(zip(space.layer_names, chosen, strict=True)))


def _draw_cheaper(space: SearchSpace, generator: np.random.Generator, share: float, *, spread: bool) -> Policy:
    """Draw a policy, then give a share of its layers, drawn too, their cheapest choices."""
    policy = draw_policy(space, generator, spread=spread)
    if share == 0.0:
        return policy
    cheapest = cheapest_policy(space)
    return Policy({name: cheapest[name] if generator.random() < share else policy[name] for name in space.layer_names})


def is_within(space: SearchSpace, goal: Goal, policy: Policy) -> bool:
    """Tell whether a policy costs no more than the goal's cost budget; without one, nothing is asked of its cost."""
    return goal.cost_budget is None or goal.allows(space.cost_of(policy))

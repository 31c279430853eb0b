"""The search methods by name: the one list of them, what each supports, and the options that it takes.

A new method is a module with a class (`bit_search.method.SearchMethod`) and an entry of `METHODS`. In place
of a name, functions take a user's own method (`bit_search.own_method.OwnMethod`). Nothing heavy is imported before a
method is made.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal

from mho.bit_search.own_method import OwnMethod
from mho.errors import ConfigError, suggest
from mho.formats import format_cost

if TYPE_CHECKING:
    import numpy as np

    from mho.bit_search.agent_file import SavedAgent
    from mho.bit_search.evaluation import EvaluationRecord
    from mho.bit_search.goal import Goal
    from mho.bit_search.learners import Algorithm
    from mho.bit_search.method import SearchMethod
    from mho.bit_search.sensitivity import SensitivityPrior
    from mho.bit_search.space import SearchSpace

AUTO: Final = "auto"
"""Stands for the method that suits a space and a budget, see `mho.bit_search.auto`."""


@dataclass(frozen=True)
class MethodEntry:
    """A search method.

    Attributes:
        place: module of `mho.bit_search` and class, "module:Class"; the class takes a space, a goal, a budget (distinct
            evaluations that it may use) and a generator.
        supports_warm_start: it learns from evaluations that it did not propose, and from repeated ones.
        supports_front: it can look for the whole front.
        options: fields of `MethodOptions` that it takes.
        prunes: it searches a space without dominated choices.
    """

    place: str
    supports_warm_start: bool = False
    supports_front: bool = False
    options: tuple[str, ...] = ()
    prunes: bool = True

    def load(self) -> Callable[..., SearchMethod]:
        """Return the class."""
        found: Callable[..., SearchMethod] = pkgutil.resolve_name(f"mho.bit_search.{self.place}")
        return found


METHODS: Mapping[str, MethodEntry] = MappingProxyType(
    {
        "rl": MethodEntry("agent:PlanningAgent", True, True, ("algorithm", "saved", "prior")),
        "rl-paper": MethodEntry("paper_agent:PaperAgent", prunes=False),
        "exact": MethodEntry("exact:ExactSearch", True, True, ("prior",)),
        "evolution": MethodEntry("evolution:EvolutionSearch", True, True, ("prior",)),
        "tpe": MethodEntry("tpe:TpeSearch", True, True, ("prior",)),
        "greedy": MethodEntry("greedy:GreedySearch"),
        "uniform": MethodEntry("baselines:UniformSearch"),
        "random": MethodEntry("baselines:RandomSearch"),
    }
)
SUPPORTS_FRONT = tuple(name for name, entry in METHODS.items() if entry.supports_front)
"""Methods that can look for the whole front."""
SUPPORTS_WARM_START = tuple(name for name, entry in METHODS.items() if entry.supports_warm_start)
"""Methods that learn from evaluations that they did not propose, and from repeated ones."""

MethodName = Literal["auto", "rl", "rl-paper", "exact", "evolution", "tpe", "greedy", "uniform", "random"]
"""Of a method, or "auto": `AUTO` and the keys of `METHODS`."""
GIVEN = "given"
"""What results call the method where nothing was searched: the user gave the policy."""
if TYPE_CHECKING:
    PrunedMethodName = str
else:
    PrunedMethodName = Literal[tuple(name for name, entry in METHODS.items() if entry.prunes)]
    """Of a method that searches spaces without dominated choices."""

_WORDS = MappingProxyType({"algorithm": "algorithm", "saved": "saved agent", "prior": "prior of sensitivities"})


@dataclass(frozen=True, eq=False)
class MethodOptions:
    """Options of methods; None leaves one out.

    Attributes:
        algorithm: how the agent of `rl` learns; left out: as the saved one, or DDPG.
        saved: an agent that `rl` starts from.
        prior: of the layers' sensitivities, such as that of `bit_search.sensitivity_probes.Probes`. It goes
            before what a saved agent knows.
    """

    algorithm: Algorithm | None = None
    saved: SavedAgent | None = None
    prior: SensitivityPrior | None = None

    def given(self) -> dict[str, Any]:
        """Return the options that are not left out, by name."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in found.items() if value is not None}


def takers_of(option: str) -> tuple[str, ...]:
    """Return the methods that take an option, by the name of its field."""
    return tuple(name for name, entry in METHODS.items() if option in entry.options)


def name_of(method: str | OwnMethod) -> str:
    """Return what logs and results call a method."""
    return method if isinstance(method, str) else method.name


def find_method(method: str | OwnMethod) -> MethodEntry | OwnMethod:
    """Return what a method supports and how it is made.

    Raises:
        ConfigError: unknown, or one's own has the name of a built-in one.
    """
    if isinstance(method, str):
        if method in METHODS:
            return METHODS[method]
        raise ConfigError(
            f"unknown search method {method!r}",
            where="method",
            expected=", ".join((AUTO, *METHODS)),
            hint=suggest(method, (AUTO, *METHODS)) or "mho.bit_search.own_method.OwnMethod makes one of your own",
        )
    if not isinstance(method, OwnMethod):
        raise ConfigError(
            f"{method!r} is no search method", where="method", expected="a name, or OwnMethod(name, class)"
        )
    if method.name in (AUTO, *METHODS):
        raise ConfigError(f"{method.name!r} is a built-in method", where="OwnMethod", hint="give yours another name")
    return method


def prunes(method: str | OwnMethod) -> bool:
    """Tell whether a method, or `AUTO`, searches a space without dominated choices."""
    return method == AUTO or find_method(method).prunes


def method_factory(
    method: str | OwnMethod, options: MethodOptions | None = None
) -> Callable[[SearchSpace, Goal, int, np.random.Generator], SearchMethod]:
    """Return what makes a method.

    Raises:
        ConfigError: unknown, or it does not take one of the options.
    """
    entry = find_method(method)
    given = {} if options is None else options.given()
    for option in given:
        if option not in entry.options:
            raise ConfigError(
                f"{name_of(method)} takes no {_WORDS[option]}",
                where="search method",
                expected=f"{' or '.join(takers_of(option))}, or none of it",
            )
    return partial(entry.load(), **given)


def supports_warm_start(method: str | OwnMethod) -> bool:
    """Tell whether a method learns from evaluations that it did not propose, and from repeated ones."""
    return find_method(method).supports_warm_start


def check_given(method: str | OwnMethod, given: Sequence[EvaluationRecord]) -> None:
    """Raise `ConfigError` where a method is given records of earlier searches and learns only from its own."""
    if given and not supports_warm_start(method):
        raise ConfigError(
            f"{name_of(method)} learns from nothing but its own evaluations",
            where="search method",
            expected=f"{', '.join(SUPPORTS_WARM_START)}, or no warm start",
        )


def check_goal(method: str | OwnMethod, space: SearchSpace, *, cost_budget: int | None, whole_front: bool) -> None:
    """Check a goal against a method and a space, before anything is evaluated.

    Args:
        method: one of `METHODS`, `AUTO`, or one's own.
        space: what may be proposed.
        cost_budget, whole_front: as of `Goal`.

    Raises:
        ConfigError: the method looks for single policies and the whole front is wanted, or no policy of the space may
            cost as little as the budget.
    """
    if whole_front and method != AUTO and not find_method(method).supports_front:
        raise ConfigError(
            f"{name_of(method)} looks for one policy, not for the whole front",
            where="search method",
            expected=", ".join(SUPPORTS_FRONT),
        )
    if cost_budget is not None and cost_budget < (cheapest := space.cost_of(space.cheapest_policy)):
        wanted, least = (format_cost(cost, space.objective.unit) for cost in (cost_budget, cheapest))
        raise ConfigError(
            f"the cost budget is {wanted}, the cheapest policy costs {least}",
            where="search: cost_budget",
            hint="raise it, allow fewer bits, or take pins away",
        )

"""A search method of the user's own: what `mho.search` takes in place of a built-in method's name."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from mho.errors import ConfigError
from mho.policy import Policy

if TYPE_CHECKING:
    import numpy as np

    from mho.bit_search.evaluation import EvaluationRecord
    from mho.bit_search.goal import Goal
    from mho.bit_search.method import SearchMethod
    from mho.bit_search.space import SearchSpace

_NAME = re.compile(r"[A-Za-z][\w-]{0,39}", re.ASCII)


class MethodMaker(Protocol):
    """A class of search methods, or a function that makes one."""

    def __call__(self, space: SearchSpace, goal: Goal, budget: int, generator: np.random.Generator) -> SearchMethod:
        """Make a method for one search.

        Args:
            space: what may be proposed, and what it costs.
            goal: the reference, which is measured by then, and what the best policy may lose or cost.
            budget: distinct evaluations that the search may use, the reference's counted in.
            generator: the only source of randomness, so that an interrupted search can be replayed.
        """
        ...


@dataclass(frozen=True)
class OwnMethod:
    """A search method of your own, for `mho.search(..., method=OwnMethod("name", Class))`.

    Attributes:
        name: what logs and results call it: a letter, then letters, digits, dashes and underscores, at most 40; not the
            name of a built-in method.
        make: the class, or a function, that makes the method from a space, a goal, a budget and a generator.
        supports_warm_start: it learns from evaluations that it did not propose, and from repeated ones.
        supports_front: it can look for the whole front.

    Raises:
        ConfigError: the name is not such a name, or nothing can be made with `make`.
    """

    name: str
    make: MethodMaker
    supports_warm_start: bool = False
    supports_front: bool = False
    options: ClassVar[tuple[str, ...]] = ()
    prunes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"a search method is called {self.name!r}",
                where="OwnMethod",
                expected="a letter, then letters, digits, dashes and underscores, at most 40",
            )
        if not callable(self.make):
            raise ConfigError(
                f"{self.make!r} makes no search method",
                where=f"OwnMethod {self.name}",
                expected="a class or a function of space, goal, budget, generator",
            )

    def load(self) -> MethodMaker:
        """Return what makes the method; proposals outside of the space are errors."""

        def make(space: SearchSpace, goal: Goal, budget: int, generator: np.random.Generator) -> SearchMethod:
            return _CheckedMethod(self.name, space, self.make(space, goal, budget, generator))

        return make


class _CheckedMethod:
    """A method whose proposals are checked against the space."""

    def __init__(self, name: str, space: SearchSpace, method: SearchMethod) -> None:
        if missing := [part for part in ("ask", "tell") if not callable(getattr(method, part, None))]:
            raise ConfigError(
                f"{type(method).__name__} has no {' and no '.join(missing)}",
                where=f"search method {name}",
                expected="ask(pending) and tell(record), see mho.bit_search.method.SearchMethod",
            )
        self._name, self._space, self._method = name, space, method

    def ask(self, pending: Collection[Policy] = ()) -> Policy | None:
        policy = self._method.ask(pending)
        if policy is None or (isinstance(policy, Policy) and self._space.contains(policy)):
            return policy
        raise ConfigError(
            f"it proposed {policy!r}, which the space does not have",
            where=f"search method {self._name}",
            expected="a mho.Policy of every layer in space.layers, with widths among the layer's choices",
        )

    def tell(self, record: EvaluationRecord) -> None:
        self._method.tell(record)

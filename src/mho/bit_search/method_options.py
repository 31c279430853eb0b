"""What a search method may be told beside space, goal, budget and randomness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mho.errors import ConfigError

if TYPE_CHECKING:
    from mho.bit_search.agent_file import SavedAgent
    from mho.bit_search.learners import Algorithm
    from mho.bit_search.sensitivity import Knowledge

TAKEN: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "rl": ("algorithm", "saved", "knowledge"),
        "exact": ("knowledge",),
        "evolution": ("knowledge",),
        "tpe": ("knowledge",),
    }
)
"""Which options a method takes; methods that are not named take none."""

_WORDS = MappingProxyType({"algorithm": "algorithm", "saved": "saved agent", "knowledge": "knowledge of sensitivities"})


@dataclass(frozen=True, eq=False)
class MethodOptions:
    """Options of methods; None leaves one out.

    Attributes:
        algorithm: how the agent of `rl` learns; left out: as the saved one, or DDPG.
        saved: an agent that `rl` starts from.
        knowledge: of the layers' sensitivities, such as that of `bit_search.probes.Probes`. It goes before what a saved
            agent knows.
    """

    algorithm: Algorithm | None = None
    saved: SavedAgent | None = None
    knowledge: Knowledge | None = None

    def of(self, method: str) -> dict[str, Any]:
        """Return what is given, by name.

        Raises:
            ConfigError: the method does not take one of them.
        """
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        given = {name: value for name, value in given.items() if value is not None}
        for name in given:
            if name not in TAKEN.get(method, ()):
                takers = [method for method, names in TAKEN.items() if name in names]
                raise ConfigError(
                    f"{method} takes no {_WORDS[name]}",
                    where="search method",
                    expected=f"{' or '.join(takers)}, or none of it",
                )
        return given

"""Which crossbars, and so which cores, hold which copy of which layer.

Copies are laid out in the order of the network, crossbar after crossbar. A copy that would lie in more cores than it
must begins a new core, while crossbars are left over for that; later copies fill the gaps. So the minimal number of
crossbars always suffices, and some more keep copies together. A copy on several cores gathers its partial sums at the
first of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mho.accelerator.chip import Chip
from mho.errors import ScheduleError
from mho.scheduling.asap import check_copies
from mho.scheduling.work import LayerWork, WorkGraph


@dataclass(frozen=True)
class CopyPlace:
    """One copy of a layer.

    Attributes:
        layer: its name.
        number: of the copy, from 0 on.
        crossbars: numbers of the crossbars that hold its tiles, ascending.
        cores: numbers of their cores, without repeats; the first is where its sums are gathered.
    """

    layer: str
    number: int
    crossbars: tuple[int, ...]
    cores: tuple[int, ...]

    @property
    def home(self) -> int:
        """The core where its sums are gathered."""
        return self.cores[0]


@dataclass(frozen=True)
class ChipPlan:
    """Where every copy of every layer lies.

    Attributes:
        chip: crossbars and cores.
        places: copies of each layer, by its name, in execution order of the layers.
    """

    chip: Chip
    places: Mapping[str, tuple[CopyPlace, ...]]

    @property
    def copies(self) -> dict[str, int]:
        """How many copies each layer has."""
        return {name: len(places) for name, places in self.places.items()}

    @property
    def used_crossbars(self) -> int:
        """Crossbars that hold something."""
        return sum(len(place.crossbars) for places in self.places.values() for place in places)


def place_copies(graph: WorkGraph, copies: Mapping[str, int], chip: Chip) -> ChipPlan:
    """Place all copies of all layers.

    Args:
        graph: the layers.
        copies: of every layer, 1 or more.
        chip: crossbars and cores.

    Raises:
        ScheduleError: the copies need more crossbars than there are; states both.
    """
    check_copies(graph, copies)
    demand = sum(layer.crossbars * copies[layer.name] for layer in graph.layers)
    if demand > chip.crossbars:
        raise ScheduleError(
            f"the copies take {demand} crossbars",
            where=graph.name,
            expected=f"at most the chip's {chip.crossbars} (the minimum is {graph.minimal_crossbars})",
            hint="take fewer copies, fewer weight bits, or set chip.crossbars higher",
        )
    filler = _Filler(chip, spare=chip.crossbars - demand)
    places = {layer.name: filler.place(layer, copies[layer.name]) for layer in graph.layers}
    return ChipPlan(chip, places)


@dataclass
class _Filler:
    """Hands out crossbars in order.

    Attributes:
        chip: crossbars and cores.
        spare: crossbars that may be left empty, so that copies lie in few cores.
        next: the first crossbar that nothing lies in or behind.
        gaps: crossbars before it that were left empty, each within one core.
    """

    chip: Chip
    spare: int
    next: int = 0
    gaps: list[range] = field(default_factory=list)

    def place(self, layer: LayerWork, copies: int) -> tuple[CopyPlace, ...]:
        """Place all copies of a layer."""
        return tuple(self._place_one(layer, number) for number in range(copies))

    def _place_one(self, layer: LayerWork, number: int) -> CopyPlace:
        size = self.chip.crossbars_per_core
        crossbars = tuple(self._take(layer.crossbars))
        cores = tuple(dict.fromkeys(crossbar // size for crossbar in crossbars))
        if not crossbars:
            cores = (min(self.next, self.chip.crossbars - 1) // size,)
        return CopyPlace(layer.name, number, crossbars, cores)

    def _take(self, count: int) -> range:
        """Take so many neighbouring crossbars: the smallest gap that holds them, or those that come next."""
        fitting = [index for index, gap in enumerate(self.gaps) if len(gap) >= count]
        if fitting and count:
            index = min(fitting, key=lambda index: len(self.gaps[index]))
            gap = self.gaps[index]
            self.gaps[index] = gap[count:]
            self.spare += count
            return gap[:count]
        size = self.chip.crossbars_per_core
        left = -self.next % size
        if count > left and -(-count // size) < 1 + -(-(count - left) // size) and 0 < left <= self.spare:
            self.gaps.append(range(self.next, self.next + left))
            self.next, self.spare = self.next + left, self.spare - left
        taken = range(self.next, self.next + count)
        self.next += count
        return taken

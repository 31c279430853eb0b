"""Which crossbars, and so which cores, hold which copy of which layer.

Copies are laid out in the order of the network, crossbar after crossbar. A copy that would lie in more cores than it
must begins a new core, while crossbars are left over for that; later copies fill the gaps. So the minimal number of
crossbars always suffices, and some more keep copies together. A copy on several cores gathers its partial sums at the
first of them. Where input buffers would not hold what lies in a core, it is spread over more.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from mho.errors import ScheduleError
from mho.hardware.chip import Chip
from mho.scheduling.asap import check_copies
from mho.scheduling.buffer_demand import BufferDemand, Share
from mho.scheduling.work_graph import LayerWork, WorkGraph


@dataclass(frozen=True)
class CopyPlace:
    """One copy of a layer.

    Attributes:
        layer: its name.
        number: of the copy, from 0 on.
        crossbars: numbers of the crossbars that hold its tiles: group after group, column of tiles after column, so
            that what adds up lies together and few sums go from core to core.
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


def list_gathered(layer: LayerWork, place: CopyPlace, crossbars_per_core: int) -> tuple[tuple[int, int], ...]:
    """Return what one window of a copy sends to where its sums are gathered.

    Tiles of one core add up what they share; each core but the first sends the sums that its tiles give a part of.

    Returns:
        For each core but the first, in the order of `place.cores`: that core, and bytes of sums.
    """
    if len(place.cores) == 1:
        return ()
    crossbars, first, size = place.crossbars, place.crossbars[0], crossbars_per_core
    if crossbars == tuple(range(first, first + len(crossbars))):
        counts = [_count_columns(layer, core * size - first, size) for core in place.cores[1:]]
    else:
        columns: dict[int, set[int]] = {core: set() for core in place.cores}
        for tile, crossbar in enumerate(crossbars):
            columns[crossbar // size].add(tile // layer.row_tiles)
        counts = [len(columns[core]) for core in place.cores[1:]]
    return tuple(
        (core, min(count * layer.tile_sum_bytes, layer.sum_bytes))
        for core, count in zip(place.cores[1:], counts, strict=True)
    )


def _count_columns(layer: LayerWork, tile: int, count: int) -> int:
    """Return how many columns neighbouring tiles are of, from one on, as far as there are so many."""
    last = min(tile + count, layer.crossbars) - 1
    return last // layer.row_tiles - tile // layer.row_tiles + 1


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


def place_copies(
    graph: WorkGraph, copies: Mapping[str, int], chip: Chip, *, input_bytes: int | None = None
) -> ChipPlan:
    """Place all copies of all layers.

    Args:
        graph: the layers.
        copies: of every layer, 1 or more.
        chip: crossbars and cores.
        input_bytes: of the input buffer of a core; None for any number. Where what lies in a core would need more, so
            that it might stop for good, copies are spread over more cores, as far as crossbars are left over.

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
    filler = _Filler(chip, chip.crossbars - demand)
    places = {layer.name: filler.place(layer, copies[layer.name]) for layer in graph.layers}
    if input_bytes is None or demand == chip.crossbars:
        return ChipPlan(chip, places)
    if has_room(graph, ChipPlan(chip, places), input_bytes):
        return ChipPlan(chip, places)
    fullness = _Fullness(BufferDemand(graph), input_bytes, chip.crossbars_per_core)
    for layer in graph.layers:
        if layer.unit is not None:
            fullness.add_digital(layer, layer.unit)
    spreader = _Spreader(chip, chip.crossbars - demand, fullness)
    return ChipPlan(chip, {layer.name: spreader.place(layer, copies[layer.name]) for layer in graph.layers})


def has_room(graph: WorkGraph, plan: ChipPlan, input_bytes: int) -> bool:
    """Tell whether the input buffers of all cores, of so many bytes, hold what keeps a plan from stopping for good."""
    fullness = _Fullness(BufferDemand(graph), input_bytes, plan.chip.crossbars_per_core)
    for layer in graph.layers:
        for place in plan.places[layer.name]:
            for tile, crossbar in enumerate(place.crossbars):
                fullness.add(layer, tile, crossbar)
            if not place.crossbars:
                fullness.add_digital(layer, place.home)
    return not fullness.is_exceeded


class _Fullness:
    """What the input buffers of cores must hold.

    Args:
        demand: what layers need.
        input_bytes: what a buffer holds.
        size: crossbars of a core.
    """

    def __init__(self, demand: BufferDemand, input_bytes: int, size: int) -> None:
        self.demand, self._input_bytes, self._size = demand, input_bytes, size
        self._tiles: dict[int, dict[str, set[int]]] = {}
        self._used: dict[int, int] = {}

    @property
    def is_exceeded(self) -> bool:
        """True where a core needs more than its buffer holds."""
        return any(used > self._input_bytes for used in self._used.values())

    def has_room(self, layer: LayerWork, tile: int, crossbar: int) -> bool:
        """Tell whether a tile of a layer may lie in a crossbar; always where its core is empty."""
        core = crossbar // self._size
        if core not in self._tiles:
            return True
        return self._used[core] + self._count_more(layer, tile, core) <= self._input_bytes

    def add(self, layer: LayerWork, tile: int, crossbar: int) -> None:
        """Let a tile of a layer lie in a crossbar."""
        self._add(layer, tile, crossbar // self._size)

    def add_digital(self, layer: LayerWork, core: int) -> None:
        """Let the digital unit of a core compute a layer, which reads all of its input."""
        self._add(layer, 0, core)

    def _add(self, layer: LayerWork, tile: int, core: int) -> None:
        self._used[core] = self._used.get(core, 0) + self._count_more(layer, tile, core)
        self._tiles.setdefault(core, {}).setdefault(layer.name, set()).add(tile)

    def _count_more(self, layer: LayerWork, tile: int, core: int) -> int:
        tiles = self._tiles.get(core, {}).get(layer.name, set())
        if tile in tiles:
            return 0
        before = self.demand.count(layer, Share.of(layer, tiles)) if tiles else 0
        return self.demand.count(layer, Share.of(layer, {*tiles, tile})) - before


@dataclass
class _Layout(ABC):
    """Hands out crossbars in order.

    Attributes:
        chip: crossbars and cores.
        spare: crossbars that may be left empty.
        next: the first crossbar that nothing lies in or behind.
    """

    chip: Chip
    spare: int
    next: int = field(default=0, kw_only=True)

    def place(self, layer: LayerWork, copies: int) -> tuple[CopyPlace, ...]:
        """Place all copies of a layer."""
        size, places = self.chip.crossbars_per_core, []
        for number in range(copies):
            taken = self.take(layer)
            crossbars = tuple(taken)
            if isinstance(taken, range) and taken:
                cores = tuple(range(taken[0] // size, taken[-1] // size + 1))
            else:
                cores = tuple(dict.fromkeys(crossbar // size for crossbar in crossbars))
            if not crossbars:
                cores = (min(self.next, self.chip.crossbars - 1) // size if layer.unit is None else layer.unit,)
            places.append(CopyPlace(layer.name, number, crossbars, cores))
        return tuple(places)

    @abstractmethod
    def take(self, layer: LayerWork) -> Iterable[int]:
        """Take the crossbars of one copy."""


@dataclass
class _Spreader(_Layout):
    """Begins a new core where the buffer of the old one would be too small.

    Attributes:
        fullness: of the cores.
    """

    fullness: _Fullness

    def take(self, layer: LayerWork) -> Iterator[int]:
        """Yield one crossbar after the other."""
        for tile in range(layer.crossbars):
            left = -self.next % self.chip.crossbars_per_core
            if 0 < left <= self.spare and not self.fullness.has_room(layer, tile, self.next):
                self.next, self.spare = self.next + left, self.spare - left
            self.fullness.add(layer, tile, self.next)
            self.next += 1
            yield self.next - 1


@dataclass
class _Filler(_Layout):
    """Leaves crossbars empty so that copies lie in few cores, and fills them later.

    Attributes:
        gaps: crossbars before the next that were left empty, each within one core.
    """

    gaps: list[range] = field(default_factory=list)

    def take(self, layer: LayerWork) -> range:
        """Take neighbouring crossbars: the smallest gap that holds them, or those that come next."""
        count, size = layer.crossbars, self.chip.crossbars_per_core
        fitting = [index for index, gap in enumerate(self.gaps) if len(gap) >= count]
        if fitting and count:
            index = min(fitting, key=lambda index: len(self.gaps[index]))
            gap = self.gaps[index]
            self.gaps[index] = gap[count:]
            self.spare += count
            return gap[:count]
        left = -self.next % size
        if count > left and -(-count // size) < 1 + -(-(count - left) // size) and 0 < left <= self.spare:
            self.gaps.append(range(self.next, self.next + left))
            self.next, self.spare = self.next + left, self.spare - left
        taken = range(self.next, self.next + count)
        self.next += count
        return taken

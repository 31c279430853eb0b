"""Which tiles stay, and how many crossbars share a tile's windows: chosen by simulated time.

For each of many numbers of rotating crossbars, dynamic programming over the crossbars that stay gives the least sum of
layers' own times; the plans are then timed, and the best are improved layer by layer, each change timed too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from mho.scheduling.exact_search import deal_out
from mho.scheduling.reload_tiles import NetworkTiles, TileGroup
from mho.scheduling.reload_timing import ReloadPlan, time_reload
from mho.scheduling.reload_writes import count_writes

_TIMED_TILES = 100_000
"""Tiles that the improvement of one plan may time, a plan's tiles counted for each time it is timed."""
_IMPROVED = 2
_ROUNDS = (1, 2, 3, 4, 6, 8, 16, 32)
"""Rounds of the rotating crossbars in one layer that are tried beside the most there may be."""
_GRID = 40
"""Numbers of staying crossbars that are tried for one layer, about."""


def find_plan(work: NetworkTiles, crossbars: int, *, known: Iterable[ReloadPlan] = ()) -> ReloadPlan:
    """Search the fastest plan. Deterministic; never slower than the plans of `list_simple_plans` and those known.

    Args:
        work: the tiles.
        crossbars: of the chip, at least 1.
        known: plans to start from; those that need more crossbars are passed over.
    """
    pool = _Pool(work)
    for plan in (*list_simple_plans(work, crossbars), *known):
        if plan.crossbars <= crossbars:
            pool.time(plan)
    if crossbars > 1:
        for rotating in _list_rotating(work, crossbars):
            planner = Planner(work, crossbars, rotating)
            for cautious in (False, True):
                pool.time(planner.plan(cautious=cautious))
        for plan in pool.best(_IMPROVED):
            _improve(pool, Planner(work, crossbars, plan.rotating), plan)
    _spare_writes(pool, crossbars)
    return pool.best(1)[0]


def list_simple_plans(work: NetworkTiles, crossbars: int) -> list[ReloadPlan]:
    """List plans that need no search: all rotate; all but one hold the first tiles; those that are read longest."""
    one = (1,) * len(work.groups)
    if work.fits(crossbars):
        return [ReloadPlan(0, one, tuple(group.tiles for group in work.groups))]
    order = sorted(range(len(work.groups)), key=lambda number: -work.groups[number].held_ps)
    plans = [ReloadPlan(crossbars, one, (0,) * len(one))]
    for staying, numbers in ((crossbars - 1, range(len(one))), (crossbars // 2, order)):
        plans.append(ReloadPlan(crossbars - staying, one, _fill(work.groups, one, numbers, staying)))
    return plans


def _fill(groups: Sequence[TileGroup], copies: Sequence[int], numbers: Iterable[int], staying: int) -> tuple[int, ...]:
    """Let as many tiles stay as there are crossbars for, group after group."""
    taken = [0] * len(groups)
    for number in numbers:
        group = groups[number]
        taken[number] = min(staying, group.tiles * copies[number]) if group.can_stay else 0
        staying -= taken[number]
    return tuple(taken)


class _Pool:
    """Plans that were timed."""

    def __init__(self, work: NetworkTiles) -> None:
        self.work = work
        self._times: dict[ReloadPlan, int] = {}

    def time(self, plan: ReloadPlan) -> int:
        """Return the interval of a plan."""
        if plan not in self._times:
            self._times[plan] = time_reload(self.work, plan).interval_ps
        return self._times[plan]

    def best(self, count: int) -> list[ReloadPlan]:
        """Return the fastest plans, of equal ones those with the fewest writes, then those timed first."""
        return sorted(self._times, key=lambda plan: (self._times[plan], count_writes(self.work, plan)))[:count]


def _list_rotating(work: NetworkTiles, crossbars: int) -> list[int]:
    """List numbers of rotating crossbars to try: all where there are few, else closer together at both ends."""
    first = 0 if work.fits(crossbars) else 1
    if crossbars <= 8:
        return list(range(first, crossbars + 1))
    low = {round(crossbars ** (step / 8)) for step in range(9)}
    return sorted({first} | low | {crossbars - one for one in low if one < crossbars} | {crossbars // 2})


@dataclass(frozen=True)
class Option:
    """How one layer may be served: crossbars that stay, copies of each tile; its time by itself, ps."""

    staying: int
    copies: int
    time_ps: int
    caution_ps: int


KnownOptions = dict[tuple[int, int, tuple[TileGroup, ...]], list[Option]]
"""Options of layers by rotating crossbars, others, and tiles (as those of layer 0)."""


class Planner:
    """Plans with one number of rotating crossbars."""

    def __init__(self, work: NetworkTiles, crossbars: int, rotating: int, known: KnownOptions | None = None) -> None:
        self._work, self._rotating = work, rotating
        self._known = {} if known is None else known
        self._budget = crossbars - rotating
        self._numbers: list[list[int]] = [[] for _ in work.layers]
        for number, group in enumerate(work.groups):
            self._numbers[group.layer].append(number)
        self.layers = [layer for layer, numbers in enumerate(self._numbers) if numbers]
        self.options = {layer: self._get_options(layer) for layer in self.layers}

    def plan(self, *, cautious: bool) -> ReloadPlan:
        """Return the plan with the least sum of times; with the time to write ahead and the link in it, or without."""
        choices = [
            [
                (option.staying, option.time_ps + (option.caution_ps if cautious else 0))
                for option in self.options[layer]
            ]
            for layer in self.layers
        ]
        dealt = zip(self.layers, deal_out(choices, self._budget), strict=True)
        return self.build({layer: self.options[layer][number] for layer, number in dealt})

    def build(self, chosen: dict[int, Option]) -> ReloadPlan:
        """Return the plan of one option a layer; crossbars that are left over rotate."""
        copies, staying = [1] * len(self._work.groups), [0] * len(self._work.groups)
        for layer, option in chosen.items():
            numbers = self._numbers[layer]
            groups = [self._work.groups[number] for number in numbers]
            own = [min(option.copies, group.most_copies) for group in groups]
            filled = _fill(groups, own, range(len(groups)), option.staying)
            for number, one, stays in zip(numbers, own, filled, strict=True):
                copies[number], staying[number] = one, stays
        all_stay = all(
            group.tiles * one == stays for group, one, stays in zip(self._work.groups, copies, staying, strict=True)
        )
        rotating = 0 if all_stay else self._rotating + self._budget - sum(staying)
        return ReloadPlan(rotating, tuple(copies), tuple(staying))

    def fits(self, chosen: dict[int, Option]) -> bool:
        """Return True where the options leave as many crossbars as rotate."""
        return sum(option.staying for option in chosen.values()) <= self._budget

    def _get_options(self, layer: int) -> list[Option]:
        """Return the options of a layer; those of equal tiles are listed once for all networks that share `known`."""
        groups = tuple(replace(self._work.groups[number], layer=0) for number in self._numbers[layer])
        key = self._rotating, self._budget, groups
        if key not in self._known:
            self._known[key] = self._list_options(layer)
        return self._known[key]

    def _list_options(self, layer: int) -> list[Option]:
        """List options of one layer that no other beats, from the fewest staying crossbars on."""
        groups = [self._work.groups[number] for number in self._numbers[layer]]
        tiles = sum(group.tiles for group in groups)
        most_copies = min(group.most_copies for group in groups)
        can_stay = groups[0].can_stay
        found = {}
        for staying in _list_grid(min(self._budget, tiles * most_copies) if can_stay else 0):
            for used in {self._rotating, self._rotating // 2} - {0}:
                longest = -(-max(0, tiles * most_copies - staying) // used)
                for rounds in {0, *(r for r in _ROUNDS if r <= longest), -(-max(0, tiles - staying) // used)}:
                    copies = min((staying + rounds * used) // tiles, most_copies)
                    if copies:
                        option = self._weigh(groups, tiles, max(0, tiles * copies - rounds * used), copies, used)
                        found[option.staying, option.copies, used] = option
            if not self._rotating and (copies := min(staying // tiles, most_copies)):
                found[tiles * copies, copies, 0] = self._weigh(groups, tiles, tiles * copies, copies, 1)
        return _drop_beaten(found.values())

    def _weigh(self, groups: list[TileGroup], tiles: int, staying: int, copies: int, used: int) -> Option:
        held = max(group.read_ps(copies) + group.digital_of_tile_ps(copies) for group in groups)
        write = max(group.write_ps for group in groups)
        digital = sum(g.tiles * copies * g.digital_of_tile_ps(copies) for g in groups)
        rounds = -(-(tiles * copies - staying) // used)
        by_rounds = rounds * held + max(0, rounds - 1) * write
        if not groups[0].can_stay:
            by_rounds += write
        is_wide = rounds > 0 and min(used, tiles * copies - staying) > self._rotating // 2
        time = max(held if staying else 0, by_rounds, digital)
        # What the link brings for one layer may come while others are read, but all of it takes its time.
        link = max(group.transfer_ps for group in groups) * (tiles * copies - staying)
        return Option(staying, copies, time, max(write if is_wide else 0, link - time))


def _list_grid(most: int) -> list[int]:
    """List numbers 0 .. most: all where there are few, else further and further apart."""
    if most <= _GRID:
        return list(range(most + 1))
    return sorted({0, most} | {round(most ** (step / _GRID)) for step in range(_GRID)})


def _drop_beaten(options: Iterable[Option]) -> list[Option]:
    """Keep options for which no other stays on as few crossbars and takes as little time, with and without caution."""
    kept: list[Option] = []
    for option in sorted(options, key=lambda one: (one.staying, one.time_ps, one.caution_ps, one.copies)):
        careful = option.time_ps + option.caution_ps
        if not any(o.time_ps <= option.time_ps and o.time_ps + o.caution_ps <= careful for o in kept):
            kept.append(option)
    return kept


def _improve(pool: _Pool, planner: Planner, plan: ReloadPlan) -> None:
    """Change one layer's option at a time, and trade a staying crossbar of one layer for another's, while it helps."""
    budget = max(4, _TIMED_TILES // max(1, count_writes(pool.work, plan) + sum(plan.staying)))
    best = {layer: _nearest(pool.work, planner.options[layer], plan, layer) for layer in planner.layers}
    if not planner.fits(best):
        return
    least = pool.time(planner.build(best))
    has_improved = True
    while has_improved:
        has_improved = False
        for layer in planner.layers:
            for option in _neighbours(planner.options[layer], best[layer]):
                changed = best | {layer: option}
                if budget <= 0:
                    return
                if not planner.fits(changed):
                    continue
                budget -= 1
                if (time := pool.time(planner.build(changed))) < least:
                    best, least, has_improved = changed, time, True


def _spare_writes(pool: _Pool, crossbars: int) -> None:
    """Time the fastest plan with more tiles that stay: where that is as fast, fewer are written."""
    (best,) = pool.best(1)
    groups = pool.work.groups
    rotating = 1
    while rotating < best.rotating:
        left, staying = crossbars - rotating - sum(best.staying), list(best.staying)
        for number, group in enumerate(groups):
            more = min(left, group.tiles * best.copies[number] - staying[number]) if group.can_stay else 0
            staying[number], left = staying[number] + more, left - more
        pool.time(ReloadPlan(rotating, best.copies, tuple(staying)))
        rotating *= 2


def _nearest(work: NetworkTiles, options: list[Option], plan: ReloadPlan, layer: int) -> Option:
    """Return the option that a plan takes for a layer, or the nearest that stays on no more crossbars."""
    own = [number for number, group in enumerate(work.groups) if group.layer == layer]
    staying, copies = sum(plan.staying[number] for number in own), max(plan.copies[number] for number in own)
    able = [option for option in options if option.staying <= staying] or options[:1]
    return min(able, key=lambda option: (staying - option.staying, abs(option.copies - copies)))


def _neighbours(options: list[Option], option: Option) -> list[Option]:
    at = options.index(option)
    order = [at - 1, at + 1, at - 2, at + 2, at - 4, at + 4, at - 8, at + 8]
    return [options[number] for number in order if 0 <= number < len(options)]

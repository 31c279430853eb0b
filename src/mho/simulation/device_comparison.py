"""How the counts of a device differ from those that its drives and cells give: where first, how, and what it may be.

Each read is compared on its own: what is expected follows from the drives that were sent and the cells that were
written, so that one difference does not make others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.display import Table, Tabular
from mho.formats import plural

Integers = NDArray[np.int64]

_KEPT = 256
"""Reads of a crossbar and layer that are kept for a diagnosis."""

_TILES = 4
"""Tiles of a crossbar and layer whose reads are kept."""

_MOST_LISTED = 8
"""Columns, crossbars and layers that a line lists."""


@dataclass(frozen=True)
class ReadPlace:
    """Where a read is.

    Attributes:
        sample: its number.
        instruction: number of the executed instruction of the sample, from 0.
        layer, crossbar: whose.
        variables: of the enclosing loops.
    """

    sample: int
    instruction: int
    layer: str
    crossbar: int
    variables: Mapping[str, int]

    def __str__(self) -> str:
        loops = ", ".join(f"{name} = {value}" for name, value in self.variables.items())
        return (
            f"sample {self.sample}, instruction {self.instruction:,}, layer {self.layer}"
            f"{f' ({loops})' if loops else ''}, crossbar {self.crossbar}"
        )


@dataclass(frozen=True)
class FirstDifference:
    """The first count that is another than expected.

    Attributes:
        place: of its read.
        column: of the crossbar.
        expected, found: counts.
    """

    place: ReadPlace
    column: int
    expected: int
    found: int

    def __str__(self) -> str:
        return f"{self.place}, column {self.column}: {self.found} instead of {self.expected}"


@dataclass(frozen=True)
class Finding:
    """Something that explains differences of a crossbar in a layer.

    Attributes:
        layer, crossbar: where.
        kind: such as "stuck column".
        text: a sentence.
    """

    layer: str
    crossbar: int
    kind: str
    text: str


@dataclass(frozen=True, repr=False)
class Comparison(Tabular):
    """All counts of a run beside what is expected.

    Attributes:
        counts: how many were compared.
        different: how many of them differ.
        first: the first that does; None where none does.
        by_layer: differing counts and all, by layer.
        by_column: differing counts by crossbar and column.
        sizes: how often a count is off by how much, found less expected.
        findings: what explains differences.
    """

    counts: int
    different: int
    first: FirstDifference | None
    by_layer: Mapping[str, tuple[int, int]]
    by_column: Mapping[tuple[int, int], int]
    sizes: Mapping[int, int]
    findings: tuple[Finding, ...]

    def __repr__(self) -> str:
        return f"Comparison({self.different:,} of {self.counts:,} counts differ)"

    @property
    def mean(self) -> float:
        """Mean of found less expected, over all counts."""
        return sum(size * count for size, count in self.sizes.items()) / max(self.counts, 1)

    @property
    def deviation(self) -> float:
        """Root of the mean square of found less expected, over all counts."""
        return float((sum(size**2 * count for size, count in self.sizes.items()) / max(self.counts, 1)) ** 0.5)

    def table(self) -> Table:
        """Return one row a layer."""
        rows = ((name, different, counts) for name, (different, counts) in self.by_layer.items())
        return Table(repr(self), ("layer", "different", "counts"), tuple(rows))

    def describe(self) -> Iterator[str]:
        """Yield lines that tell all of it."""
        if self.first is None:
            yield f"all {self.counts:,} counts of the device are as expected"
            return
        share = 100 * self.different / self.counts
        yield f"{self.different:,} of {self.counts:,} counts differ ({share:.3g} %)"
        yield f"first: {self.first}"
        off = sorted(self.sizes.items(), key=lambda pair: (-pair[1], pair[0]))
        listed = ", ".join(f"{size:+d}: {count:,}" for size, count in off[:8])
        yield f"off by {listed}{', ...' if len(off) > 8 else ''}; mean {self.mean:+.3g}, rms {self.deviation:.3g}"
        for name, (different, counts) in self.by_layer.items():
            if different:
                yield f"layer {name}: {different:,} of {counts:,}"
        columns = sorted(self.by_column.items(), key=lambda pair: (-pair[1], pair[0]))
        listed = ", ".join(f"{crossbar}/{column}: {count:,}" for (crossbar, column), count in columns[:8])
        yield f"crossbar/column with most: {listed}{', ...' if len(columns) > 8 else ''}"
        places: dict[str, list[Finding]] = {}
        for finding in self.findings:
            places.setdefault(finding.text, []).append(finding)
        for text, findings in sorted(places.items(), key=lambda pair: -len(pair[1])):
            crossbars = _list(dict.fromkeys(finding.crossbar for finding in findings), "crossbar")
            yield f"{text}, in {crossbars} of {_list(dict.fromkeys(finding.layer for finding in findings), 'layer')}"
        if not self.findings:
            yield "no single fault explains them (stuck, swapped or inverted lines, offsets, clipping were tried)"


@dataclass
class _Kept:
    """Reads of one crossbar in one layer."""

    drives: list[Integers] = field(default_factory=list)
    cells: list[NDArray[Any]] = field(default_factory=list)
    expected: list[Integers] = field(default_factory=list)
    found: list[Integers] = field(default_factory=list)

    def add(self, drives: Integers, cells: NDArray[Any], expected: Integers, found: Integers) -> None:
        """Keep a read, unless there are enough of it and of tiles; cells of one array are held once."""
        if self.found and (len(self.found) >= _KEPT or self.found[0].shape != found.shape):
            return
        tiles = {id(tile.base): tile for tile in self.cells}
        if len(tiles) >= _TILES and id(cells.base) not in tiles:
            return
        self.drives.append(drives)
        self.cells.append(tiles.get(id(cells.base), cells))
        self.expected.append(expected)
        self.found.append(found)


@dataclass
class Comparer:
    """Collects reads of crossbars of so many rows."""

    rows: int
    _counts: Counter[str] = field(default_factory=Counter)
    _different: Counter[str] = field(default_factory=Counter)
    _columns: Counter[tuple[int, int]] = field(default_factory=Counter)
    _sizes: Counter[int] = field(default_factory=Counter)
    _first: FirstDifference | None = None
    _kept: dict[tuple[str, int, int], _Kept] = field(default_factory=dict)

    def add(
        self,
        place: ReadPlace,
        first_col: int,
        drives: Integers,
        cells: NDArray[Any],
        expected: Integers,
        found: Integers,
    ) -> None:
        """Compare one read.

        Args:
            place: where it is.
            first_col: of the crossbar, that of the first count.
            drives: int64 [rows].
            cells: whole numbers [rows, columns], a view of the same array as long as they are the same.
            expected, found: int64 [columns].
        """
        off = found - expected
        columns = np.flatnonzero(off)
        self._counts[place.layer] += len(off)
        self._different[place.layer] += len(columns)
        if len(columns) and self._first is None:
            one = int(columns[0])
            self._first = FirstDifference(place, first_col + one, int(expected[one]), int(found[one]))
        for column in columns.tolist():
            self._columns[place.crossbar, first_col + column] += 1
            self._sizes[int(off[column])] += 1
        key = place.layer, place.crossbar, first_col
        self._kept.setdefault(key, _Kept()).add(drives, cells, expected, found)

    def finish(self) -> Comparison:
        """Return the comparison, with what explains the differences."""
        findings = [
            Finding(layer, crossbar, kind, text)
            for (layer, crossbar, first_col), kept in self._kept.items()
            for kind, text in diagnose(kept.drives, kept.cells, kept.expected, kept.found, first_col, self.rows)
        ]
        return Comparison(
            self._counts.total(),
            self._different.total(),
            self._first,
            {name: (self._different[name], count) for name, count in self._counts.items()},
            dict(self._columns),
            dict(self._sizes),
            tuple(findings),
        )


def diagnose(
    drives: list[Integers],
    cells: list[NDArray[Any]],
    expected: list[Integers],
    found: list[Integers],
    first_col: int = 0,
    rows: int = 0,
) -> list[tuple[str, str]]:
    """Return faults, each of which explains all differences of one column or of the whole crossbar.

    Args:
        drives: int64 [rows] of each read.
        cells: whole numbers [rows, columns] of each read.
        expected, found: int64 [columns] of each read.
        first_col: of the crossbar.
        rows: of the crossbar; those beyond `drives` and `cells` are not driven and empty.

    Returns:
        Kinds and sentences; empty where nothing differs, or nothing explains it.
    """
    wanted, got = np.stack(expected), np.stack(found)
    if (wanted == got).all():
        return []
    rows = max(rows, *(len(one) for one in (*drives, *cells)))
    whole_drives = [np.pad(one, (0, rows - len(one))) for one in drives]
    known = {id(one): np.pad(one.astype(np.int64), ((0, rows - len(one)), (0, 0))) for one in cells}
    if swapped := _find_rows(whole_drives, [known[id(one)] for one in cells], got - wanted):
        return [swapped]
    found_faults: dict[tuple[str, str], list[int]] = {}
    for column in np.flatnonzero((wanted != got).any(axis=0)).tolist():
        for kind, explain in _OF_COLUMNS.items():
            if (value := explain(wanted[:, column], got[:, column])) is not None:
                found_faults.setdefault((kind, value), []).append(first_col + column)
                break
        else:
            partner = _find_partner(wanted, got, column)
            if partner is not None and partner > column:
                pair = f"columns {first_col + column} and {first_col + partner} are swapped"
                found_faults[("swapped columns", pair)] = []
    return [(kind, _name(kind, value, columns)) for (kind, value), columns in found_faults.items()]


def _name(kind: str, value: str, columns: list[int]) -> str:
    return f"{kind}: {value}, {_list(columns, 'column')}" if columns else value


def _list(names: Collection[int | str], noun: str) -> str:
    listed = ", ".join(map(str, list(names)[:_MOST_LISTED])) + (", ..." if len(names) > _MOST_LISTED else "")
    return f"{plural(len(names), noun)} ({listed})"


def _is_stuck(expected: Integers, found: Integers) -> str | None:
    if (found != found[0]).any() or (expected == expected[0]).all():
        return None
    return f"always {found[0]}"


def _is_negated(expected: Integers, found: Integers) -> str | None:
    return "counts have the opposite sign" if (found == -expected).all() else None


def _is_off(expected: Integers, found: Integers) -> str | None:
    off = found - expected
    return f"counts are off by {off[0]:+d}" if len(off) > 1 and (off == off[0]).all() else None


def _is_clipped(expected: Integers, found: Integers) -> str | None:
    low, high = int(found.min()), int(found.max())
    if low < high and (found == np.clip(expected, low, high)).all():
        return f"counts end at {high}" if (expected > high).any() else f"counts begin at {low}"
    return None


_OF_COLUMNS: Mapping[str, Callable[[Integers, Integers], str | None]] = {
    "stuck column": _is_stuck,
    "wrong sign": _is_negated,
    "offset": _is_off,
    "clipped": _is_clipped,
}


def _find_partner(expected: Integers, found: Integers, column: int) -> int | None:
    """Return the column that was exchanged with this one."""
    for other in range(expected.shape[1]):
        if other != column and (found[:, column] == expected[:, other]).all():
            return other if (found[:, other] == expected[:, column]).all() else None
    return None


def _find_rows(drives: list[Integers], cells: list[Integers], off: Integers) -> tuple[str, str] | None:
    """Return the one or two rows that explain all differences.

    A row that is not driven adds -d g where it should add d g less of it, one of the wrong polarity -2 d g; two rows
    that are swapped add (d_i - d_j) (g_j - g_i). The first read that differs says which may be meant.
    """
    number = int(np.flatnonzero(off.any(axis=1))[0])
    here, drive, first = cells[number], drives[number], off[number]
    for factor, kind, words in ((-1, "dead row", "is not driven"), (-2, "wrong sign", "is driven with the wrong sign")):
        for row in np.flatnonzero((factor * drive[:, None] * here == first).all(axis=1)).tolist():
            if all((factor * d[row] * g[row] == o).all() for d, g, o in zip(drives, cells, off, strict=True)):
                return kind, f"{kind}: row {row} {words}"
    numbers: dict[bytes, list[int]] = {}
    for row, line in enumerate(here):
        numbers.setdefault(line.tobytes(), []).append(row)
    for row in range(len(here)):
        for gap in np.unique(drive[row] - drive).tolist():
            if not gap or (first % gap).any():
                continue
            for other in numbers.get(np.ascontiguousarray(here[row] + first // gap).tobytes(), []):
                if drive[row] - drive[other] == gap and all(
                    ((d[row] - d[other]) * (g[other] - g[row]) == o).all()
                    for d, g, o in zip(drives, cells, off, strict=True)
                ):
                    low, high = sorted((row, other))
                    return "swapped rows", f"swapped rows: {low} and {high}"
    return None

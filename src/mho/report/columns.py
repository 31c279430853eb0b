"""Tables on a terminal that leave out columns where there is no room, and say which."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table

from mho.terminal import Console, Text

_GAP = 3
_FOLDED_WIDTH = 30
"""Room that a column whose text may be folded is given before other columns are left out."""


@dataclass(frozen=True)
class Column:
    """A column: its cells from top to bottom, and the total below them.

    Attributes:
        title: above the cells.
        cells: from top to bottom.
        total: below the cells.
        most: characters of a line, for a column of text that may be folded; None for figures, which never are.
    """

    title: str
    cells: tuple[str, ...]
    total: str = ""
    most: int | None = None

    @classmethod
    def of_counts(cls, title: str, values: Iterable[int], *, add: bool = False) -> Column:
        """Return a column of whole numbers, and their sum where `add`."""
        numbers = list(values)
        return cls(title, tuple(f"{number:,}" for number in numbers), f"{sum(numbers):,}" if add else "")

    @property
    def width(self) -> int:
        """Characters of the longest text."""
        return max(len(text) for text in (self.title, self.total, *self.cells))

    @property
    def needed(self) -> int:
        """Characters that the column cannot do without."""
        return self.width if self.most is None else min(self.width, self.most, _FOLDED_WIDTH)


def print_columns(console: Console, columns: Sequence[Column], dispensable: Sequence[str] = ()) -> tuple[str, ...]:
    """Print columns as a table.

    Args:
        console: where to. What is no terminal has room for everything.
        columns: of equally many cells.
        dispensable: titles of columns that a narrow terminal does without, the first one first.

    Returns:
        the titles of columns that were left out.
    """
    shown, left_out = _fit(list(columns), dispensable, console.width if console.is_terminal else None)
    table = _build(shown)
    if not console.is_terminal:
        console.width = max(console.width, console.measure(table, options=console.options.update(width=10_000)).maximum)
    console.print(table)
    return tuple(left_out)


def _fit(columns: list[Column], dispensable: Sequence[str], width: int | None) -> tuple[list[Column], list[str]]:
    left_out: list[str] = []
    titles = {column.title for column in columns}
    for title in (title for title in dispensable if title in titles):
        if width is None or sum(column.needed + _GAP for column in columns) <= width:
            break
        columns = [column for column in columns if column.title != title]
        left_out.append(title)
    return columns, left_out


def _build(columns: Sequence[Column]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_footer=any(column.total for column in columns), pad_edge=False)
    for column in columns:
        if column.most is not None:
            table.add_column(column.title, column.total, overflow="fold", max_width=column.most)
        else:
            table.add_column(column.title, column.total, justify="right", no_wrap=True, min_width=column.width)
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*map(Text, cells))
    return table

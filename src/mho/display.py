"""How values show themselves: as a table in a notebook and in pandas, and as a chart.

A value says what its table holds; here that becomes HTML and data frames. Charts are drawn above, by `mho.plot`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from mho.errors import MissingExtraError

if TYPE_CHECKING:
    import pandas
    import plotly.graph_objects

Cell = str | int | float | bool | None

MOST_ROWS = 40
"""Rows that a notebook shows; data frames hold all."""


@dataclass(frozen=True)
class Table:
    """A small table.

    Attributes:
        caption: what it is of, with its main figures.
        columns: titles, with the unit of what they hold.
        rows: cells; None where there is nothing to say.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def to_html(self) -> str:
        """Return the table as a piece of HTML, all text escaped: its first `MOST_ROWS` rows, without empty columns."""
        shown = [place for place in range(len(self.columns)) if any(row[place] is not None for row in self.rows)]
        head = "".join(f"<th scope='col'>{escape(self.columns[place])}</th>" for place in shown)
        cells = ("".join(_to_html(row[place]) for place in shown) for row in self.rows[:MOST_ROWS])
        body = "".join(f"<tr>{row}</tr>" for row in cells)
        more = len(self.rows) - MOST_ROWS
        rest = f"<p>and {more:,} more; to_pandas() has all</p>" if more > 0 else ""
        return (
            f"<table><caption>{escape(self.caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
            f"</table>{rest}"
        )

    def to_pandas(self) -> pandas.DataFrame:
        """Return the table as a data frame. Raises `MissingExtraError` where pandas is not installed."""
        try:
            import pandas
        except ImportError as error:
            raise MissingExtraError("pandas is not installed", "pandas", where="to_pandas") from error
        return pandas.DataFrame.from_records(list(self.rows), columns=list(self.columns))


class Tabular(ABC):
    """A value that has a table."""

    @abstractmethod
    def table(self) -> Table:
        """Return what a notebook and pandas show of the value."""

    def to_pandas(self) -> pandas.DataFrame:
        """Return the value as a data frame; its columns have units in their names.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        return self.table().to_pandas()

    def _repr_html_(self) -> str:
        return self.table().to_html()


class Drawable(Tabular):
    """A value that has a table and a chart."""

    def plot(self, chart: str | None = None) -> plotly.graph_objects.Figure:
        """Return a chart of the value, a `plotly.graph_objects.Figure`; `mho.plot` says which there are.

        Raises:
            MhoError: there is no such chart.
        """
        import mho

        return mho.plot(self, chart)


def _to_html(cell: Any) -> str:
    if isinstance(cell, str):
        return f"<td>{escape(cell)}</td>"
    if isinstance(cell, float):
        text = f"{cell:,.2f}" if abs(cell) >= 1000 else f"{cell:.4g}"
    elif isinstance(cell, int) and not isinstance(cell, bool):
        text = f"{cell:,}"
    else:
        text = "" if cell is None else "yes" if cell else "no"
    return f"<td style='text-align: right'>{text}</td>"

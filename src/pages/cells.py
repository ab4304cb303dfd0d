"""Tables of text, for the terminal and for pages."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class Cells:
    """A table for display.

    Args:
        title: its heading.
        header: names of the columns.
        labels: the number of columns that name the row. The others are numeric, except the verdict.
        rows: one per group, the best first.
    """

    title: str
    header: list[str]
    labels: int
    rows: list[list[str]]

    def show(self, console: Console) -> None:
        """Prints the table and an empty line."""
        table = Table(box=None, pad_edge=False)
        for index, name in enumerate(self.header):
            text = index < self.labels or name == "verdict"
            table.add_column(Text(name), justify="left" if text else "right", overflow="fold")
        for row in self.rows:
            table.add_row(*(Text(cell) for cell in row))
        console.print(table, "")

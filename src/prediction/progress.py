"""The progress bar of a file whose rows are predicted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from src.errors import UserError


@contextlib.contextmanager
def progress() -> Iterator[Callable[[int], None]]:
    """Shows a progress bar, which is removed on a UserError; yields a function to advance it by a number of rows."""
    columns = (TextColumn("{task.completed:,} rows"), _RowsPerSecond(), TimeElapsedColumn())
    bar = Progress(*columns, console=Console(stderr=True))
    task = bar.add_task("", total=None)
    # The bar's own context manager would leave a blank line in any case.
    with bar.live:
        try:
            yield lambda rows: bar.update(task, advance=rows)
        except UserError:
            bar.live.transient = True
            raise
    bar.stop()


class _RowsPerSecond(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.completed / max(task.elapsed or 0.0, 1e-9):,.0f} rows/s")

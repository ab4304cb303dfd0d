"""Compares finished runs: tables, statistics, verdicts. The entry point of `python -m src.compare`; every multirun ends
with a comparison too."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import hydra
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from pydantic import Field
from rich.console import Console
from rich.table import Table
from rich.text import Text

from src.cli import fail, in_order, run_command
from src.config.folder import CONF
from src.config.sections import Section
from src.config.validation import check_options
from src.errors import UserError
from src.files.paths import user_path
from src.runs.write_guard import refuse_links
from src.sweeps.folders import check_folders
from src.sweeps.jobs import begin_sweep, write_best


class Options(Section):
    """The options of conf/compare.yaml."""

    runs: Annotated[str, Field(min_length=1)]
    metric: str
    baseline: str | None
    by: str | None
    margin: Annotated[float, Field(ge=0, lt=1)]
    mixed: bool


def compare(root: Path, metric: str, baseline: str | None, by: str | None, margin: float, mixed: bool) -> int:
    """Prints the comparison of the runs in a folder and writes it there as Markdown, CSV, JSON and an HTML page.

    Returns:
        The number of runs without a result.

    Raises:
        UserError: the runs cannot be compared.
    """
    from src.comparison import comparison
    from src.comparison.groups import best_of, group, read_runs
    from src.comparison.pages import write_comparison
    from src.comparison.tables import problem_line, tables, write

    refuse_links([*root.glob("compar*"), *root.glob("plots"), *root.glob("plots/*")], root)
    groups = group(read_runs(root), mixed)
    if by:
        groups = best_of(groups, by)
    found = comparison.compare(groups, metric, baseline, margin)
    console = Console(width=200 if not sys.stdout.isatty() else None)
    for cells in tables(found):
        table = Table(box=None, pad_edge=False)
        for index, name in enumerate(cells.header):
            text = index < cells.labels or name == "verdict"
            table.add_column(Text(name), justify="left" if text else "right", overflow="fold")
        for row in cells.rows:
            table.add_row(*(Text(cell) for cell in row))
        console.print(table, "")
    for problem in found.problems:
        console.print(problem_line(problem), markup=False)
    console.print(found.sentence, markup=False)
    for file in [*write(found, root), write_comparison(found, groups, root)]:
        console.print(f"Written: {file}", soft_wrap=True, markup=False)
    return len(found.problems)


class Multirun(Callback):
    """A Hydra callback that counts the jobs before a multirun starts and compares its runs at the end."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        try:
            check_folders(config)
            begin_sweep(config)
        except UserError as error:
            fail(str(error))  # Hydra turns every exception in a callback into a warning

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        root = Path(config.hydra.sweep.dir)
        print(f"\nRuns in {root}")
        if best := write_best(root):
            command = f"python -m src.train --config-dir {shlex.quote(str(root))} experiment=best"
            print(f"Best values: {best}\nTrain with them: {command}")
        defaults = OmegaConf.load(CONF / "compare.yaml")
        try:
            failed = compare(root, defaults.metric, defaults.baseline, config.sweep.by, defaults.margin, mixed=True)
        except UserError as error:
            print(error, file=sys.stderr)
            failed = 1
        if failed:
            sys.exit(1)


@hydra.main(version_base="1.3", config_path="../conf", config_name="compare")
def main(cfg: DictConfig) -> None:
    with in_order():
        options = check_options(cfg, Options)
        root = user_path(options.runs)
        compare(root, options.metric, options.baseline, options.by, options.margin, options.mixed)


if __name__ == "__main__":
    run_command(main, "compare", verbatim=("runs", "baseline"))

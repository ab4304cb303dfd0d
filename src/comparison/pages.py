"""The page of a comparison of runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from src.comparison import differences, plots
from src.comparison.comparison import Comparison
from src.comparison.tables import tables
from src.config.monitor import worse_side
from src.files.atomic import write_atomic
from src.grouping.groups import Group
from src.pages.figures import MOST
from src.pages.html import render, save
from src.race import plots as race_plots


def write_comparison(comparison: Comparison, groups: Sequence[Group], folder: Path) -> Path:
    """Writes compare.html and its figures as PNG and SVG in `plots/`; returns the page.

    Args:
        comparison: the comparison of these groups.
        groups: all groups, including those without a finished run.
        folder: where to write, the folder with the runs.
    """
    finished = [group for group in groups if group.finished]
    by_name = {group.name: group for group in finished}
    ordered = [by_name[row.name] for row in comparison.rows]
    base, best = by_name[comparison.baseline], ordered[0]
    if best is base and len(ordered) > 1:
        best = ordered[1]
    best_of = f" Only the best {MOST} of {len(ordered)} groups are shown." if len(ordered) > MOST else ""
    figures = _figures(comparison, ordered[:MOST])
    classes = differences.by_class(ordered)
    page = render(
        "compare.html",
        "sort.js",
        comparison=comparison,
        behind=worse_side(comparison.metric),
        groups=groups,
        runs=sum(len(group.runs) for group in groups),
        tables=tables(comparison),
        by_name={group.name: group for group in groups},
        texts_p={row.name: row.texts_p for row in comparison.rows},
        configs={group.name: _config_difference(group, base) for group in groups},
        figures=[(n, title, note + best_of, save(f, folder / "plots", n)) for n, (title, note, f) in figures.items()],
        classes=classes,
        class_names=differences.most_different_classes(classes, MOST),
        all_classes=len({name for recalls in classes.values() for name in recalls}),
        flips=differences.flips(best, base) if best is not base else [],
        best=best.name,
    )
    file = folder / "compare.html"
    write_atomic(file, page)
    return file


def _figures(comparison: Comparison, plotted: Sequence[Group]) -> dict[str, tuple[str, str, Figure]]:
    """Returns title, note and drawing of each figure of the page, in its order, by the name of its files.

    Args:
        comparison: of all groups.
        plotted: the groups to show, the best first.
    """
    metric, chosen, rows = comparison.metric, comparison.decision.chosen, comparison.rows[:MOST]
    figures = _of_race(comparison)
    if any(row.difference is not None for row in rows):
        figures["differences"] = (
            "Differences to the baseline",
            "95% intervals that hold together. Right of the band: higher by more than the margin; left: lower. Filled: "
            f"may be the best by {comparison.chooser}; star: the chosen one. n: number of paired seeds.",
            plots.forest(rows, metric, comparison.baseline, comparison.margin, chosen),
        )
    if any(row.components is not None for row in rows):
        figures["components"] = (
            "What the differences vary by",
            "Much from seeds: more seeds make the intervals narrower. Much from texts: only more test texts do. Both "
            "together: seeds differ on other texts each; either helps.",
            plots.components(rows, comparison.baseline),
        )
    figures["seeds"] = ("Every run, by seed", "One line per seed.", plots.slopes(plotted, metric))
    costs = "Orange: Pareto-optimal; star: the chosen one."
    figures["costs"] = ("Scores against costs", costs, plots.tradeoffs(rows, metric, chosen))
    figures["learning"] = ("Validation loss by epoch", "One line per run.", plots.learning(plotted, "loss"))
    return figures | _of_training_texts(comparison)


def _of_race(comparison: Comparison) -> dict[str, tuple[str, str, Figure]]:
    if not comparison.race or not comparison.race.chosen:
        return {}
    note = "Band: the margin. Lines: 95% intervals that hold together. Black: where an arm left (x: worse, ▼: dearer)."
    return {"race": ("The race, on validation texts", note, race_plots.course(comparison.race))}


def _of_training_texts(comparison: Comparison) -> dict[str, tuple[str, str, Figure]]:
    if not comparison.learning:
        return {}
    note = "95% intervals over seeds; dashed: what twice as many texts should bring; hollow: not trained to the end."
    figure = plots.by_training_texts(comparison.learning.curves, comparison.metric)
    return {"training_texts": ("Scores by the number of training texts", note, figure)}


def _config_difference(group: Group, base: Group) -> list[tuple[str, str, str]]:
    own, baseline = group.runs[0].values, base.runs[0].values
    keys = sorted(key for key in own.keys() | baseline.keys() if own.get(key) != baseline.get(key))
    return [(key, own.get(key, "-"), baseline.get(key, "-")) for key in keys]

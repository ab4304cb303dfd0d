"""The page of a comparison of runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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
    metric, chosen = comparison.metric, comparison.decision.chosen
    rows, plotted = comparison.rows[:MOST], ordered[:MOST]
    best_of = f" Only the best {MOST} of {len(ordered)} groups are shown." if len(ordered) > MOST else ""
    figures = {
        "differences": (
            "Differences to the baseline",
            "95% intervals that hold together. Right of the band: higher by more than the margin; left: lower. Filled: "
            f"may be the best by {comparison.chooser}; star: the chosen one. n: number of paired seeds.",
            plots.forest(rows, metric, comparison.baseline, comparison.margin, chosen),
        ),
        "components": (
            "What the differences vary by",
            "Much from seeds: more seeds make the intervals narrower. Much from texts: only more test texts do. Both "
            "together: seeds differ on other texts each; either helps.",
            plots.components(rows, comparison.baseline),
        ),
        "seeds": ("Every run, by seed", "One line per seed.", plots.slopes(plotted, metric)),
        "costs": (
            "Scores against costs",
            "Orange: Pareto-optimal; star: the chosen one.",
            plots.tradeoffs(rows, metric, chosen),
        ),
        "learning": ("Validation loss by epoch", "One line per run.", plots.learning(plotted, "loss")),
    }
    if comparison.race and comparison.race.chosen:
        course = race_plots.course(comparison.race)
        note = (
            "Band: the margin. Lines: 95% intervals that hold together. Black: where an arm left (x: worse, ▼: dearer)."
        )
        figures = {"race": ("The race, on validation texts", note, course)} | figures
    if all(row.difference is None for row in rows):
        del figures["differences"]
    if all(row.components is None for row in rows):
        del figures["components"]
    if comparison.learning:
        figures["training_texts"] = (
            "Scores by the number of training texts",
            "95% intervals over seeds; dashed: what twice as many texts should bring; hollow: not trained to the end.",
            plots.by_training_texts(comparison.learning.curves, metric),
        )
    classes = differences.by_class(ordered)
    page = render(
        "compare.html",
        "sort.js",
        comparison=comparison,
        behind=worse_side(metric),
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


def _config_difference(group: Group, base: Group) -> list[tuple[str, str, str]]:
    own, baseline = group.runs[0].values, base.runs[0].values
    keys = sorted(key for key in own.keys() | baseline.keys() if own.get(key) != baseline.get(key))
    return [(key, own.get(key, "-"), baseline.get(key, "-")) for key in keys]

"""Pages that stand alone: one file, no network, no text that could be taken for markup."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
import matplotlib
from markupsafe import Markup

from src.report import differences, plots
from src.report.comparison import Comparison
from src.report.groups import Group
from src.report.tables import tables

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPLATES = Path(__file__).parent / "templates"


def write_comparison(comparison: Comparison, groups: Sequence[Group], folder: Path) -> Path:
    """Leaves compare.html, and its pictures as PNG and SVG in `plots/`; returns the page.

    Args:
        comparison: of these groups.
        groups: with their runs, finished or not.
        folder: of the runs.
    """
    finished = [group for group in groups if group.finished]
    by_name = {group.name: group for group in finished}
    ordered = [by_name[row.name] for row in comparison.rows]
    base, best = by_name[comparison.baseline], ordered[0]
    if best is base and len(ordered) > 1:
        best = ordered[1]
    metric = comparison.metric
    figures = {
        "differences": (
            "Differences to the baseline",
            "Intervals to the right of the band are better, to the left of it worse; n counts paired seeds.",
            plots.forest(comparison.rows, metric, comparison.baseline, comparison.margin),
        ),
        "seeds": ("Every run, by seed", "A line is a seed.", plots.slopes(ordered, metric)),
        "costs": (
            "What a score costs",
            "Orange: no other group is at least as good for less.",
            plots.tradeoffs(comparison.rows, metric),
        ),
        "learning": ("Learning curves", "A line is a run.", plots.learning(ordered, "loss")),
    }
    embedded = []
    for name, (title, note, figure) in figures.items():
        svg = _svg(figure)
        for ending in ("png", "svg"):
            file = folder / "plots" / f"{name}.{ending}"
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(svg) if ending == "svg" else figure.savefig(file, dpi=130)
        embedded.append((name, title, note, base64.b64encode(svg).decode()))
    script = (TEMPLATES / "compare.js").read_text(encoding="utf-8")
    classes = differences.by_class(ordered)
    page = (
        _environment()
        .get_template("compare.html")
        .render(
            comparison=comparison,
            groups=groups,
            runs=sum(len(group.runs) for group in groups),
            tables=tables(comparison),
            by_name={group.name: group for group in groups},
            texts_p={row.name: row.texts_p for row in comparison.rows},
            configs={group.name: _config_difference(group, base) for group in groups},
            figures=embedded,
            classes=classes,
            class_names=list(dict.fromkeys(name for shares in classes.values() for name in shares)),
            flips=differences.flips(best, base) if best is not base else [],
            best=best.name,
            script=Markup(script),
            script_hash=Markup(base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()),
        )
    )
    file = folder / "compare.html"
    file.write_text(page, encoding="utf-8")
    return file


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )


def _config_difference(group: Group, base: Group) -> list[tuple[str, str, str]]:
    here, there = group.runs[0].values, base.runs[0].values
    keys = sorted(key for key in here.keys() | there.keys() if here.get(key) != there.get(key))
    return [(key, here.get(key, "-"), there.get(key, "-")) for key in keys]


def _svg(figure: Figure) -> bytes:
    """The same bytes for the same figure; text is drawn as paths, so that no name in it can be markup."""
    file = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "thaw", "svg.fonttype": "path"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()

"""A comparison as tables: for the terminal and the page, and as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from src.comparison.comparison import Comparison
from src.comparison.rows import METRICS
from src.config.monitor import at_most, shown, worse_side
from src.config.values import flat
from src.config.wording import brief_duration
from src.files.atomic import write_atomic
from src.freezing.strategy import percent
from src.pages import markdown
from src.pages.cells import Cells
from src.statistics.intervals import Interval
from src.tables.writing import harmless

FEWER = 1.1  # times as many parameters in predictions, from which the table of costs shows them


def tables(comparison: Comparison) -> list[Cells]:
    """Returns the table of scores and the table of costs."""
    return [_scores(comparison), _costs(comparison)]


def _scores(comparison: Comparison) -> Cells:
    metric = comparison.metric
    others = [m for m in METRICS if m != metric and all(m in row.scores for row in comparison.rows)]
    labels = list(comparison.rows[0].label)
    names = [metric, *others]
    validated, best = comparison.chooser == "validation", f"{worse_side(metric)} best"
    header = [
        *labels,
        "seeds",
        *([f"validation {metric}", best] if validated else []),
        *(f"test {m}" for m in names),
        "difference",
        "p",
        *([] if validated else [best]),
        "verdict",
    ]
    rows = []
    for row in comparison.rows:
        missing = f" (without {', '.join(map(str, row.missing))})" if row.missing else ""
        below = "" if row.loss is None else f"≤ {at_most(row.loss, metric)}"
        validation = "" if row.validation is None else shown(row.validation, metric)
        rows.append(
            [
                *row.label.values(),
                f"{len(row.seeds)}{missing}",
                *([validation, below] if validated else []),
                *(f"{shown(row.scores[m], m)}{_of_score(row.intervals[m], m)}" for m in names),
                "" if row.difference is None else _difference(row.difference, row.difference_interval, metric),
                "" if row.p is None else "<0.001" if row.p < 0.001 else f"{row.p:.3f}",
                *([] if validated else [below]),
                row.verdict,
            ]
        )
    return Cells("Scores", header, len(labels), rows)


def _costs(comparison: Comparison) -> Cells:
    labels = list(comparison.rows[0].label)
    header = [*labels, "trains", "trainable", "epoch", "run", "time ratio", "encoding", "TFLOP", "memory", "checkpoint"]
    sizes = [row.total for row in comparison.rows]
    smaller = max(sizes) > FEWER * min(sizes)
    header += ["predicts with"] if smaller else []
    rows = [
        [
            *row.label.values(),
            row.trains,
            f"{row.trainable:,} ({percent(row.share)})",
            brief_duration(row.epoch_seconds),
            brief_duration(row.seconds),
            "" if row.time_ratio is None else _ratio(row.time_ratio, row.time_interval),
            brief_duration(row.encoding_seconds) if row.encoding_seconds >= 0.5 else "",
            _teraflop(row.operations),
            sized(row.memory),
            sized(row.checkpoint),
            *([f"{row.total:,}"] if smaller else []),
        ]
        for row in comparison.rows
    ]
    return Cells("Costs", header, len(labels), rows)


def _of_score(interval: Interval | None, metric: str, plus: bool = False) -> str:
    return f" [{shown(interval.low, metric, plus)}, {shown(interval.high, metric, plus)}]" if interval else " [n/a]"


def _difference(value: float, interval: Interval | None, metric: str) -> str:
    return f"{shown(value, metric, plus=True)}{_of_score(interval, metric, plus=True)}"


def _ratio(value: float, interval: Interval | None) -> str:
    return f"{value:.2f}" + (f" [{interval.low:.2f}, {interval.high:.2f}]" if interval else " [n/a]")


def _teraflop(flops: float | None) -> str:
    if flops is None:
        return "n/a"
    count = flops / 1e12
    return f"{count:,.0f}" if count >= 100 else f"{count:.3g}"


def sized(size: float) -> str:
    """Returns a number of bytes with its unit."""
    unit, scale = ("GB", 1e9) if size >= 1e9 else ("MB", 1e6) if size >= 1e6 else ("kB", 1e3)
    return f"{size / scale:.{2 if unit == 'GB' else 1}f} {unit}"


def as_markdown(comparison: Comparison) -> str:
    lines = [markdown.text(comparison.sentence)]
    for table in tables(comparison):
        lines += ["", *markdown.table(table.header, table.rows)]
    if comparison.problems:
        lines += ["", "Without a result:", ""]
        lines += [f"- {markdown.text(problem_line(problem))}" for problem in comparison.problems]
    return "\n".join(lines) + "\n"


def problem_line(problem: Mapping[str, str]) -> str:
    return f"{problem['group']}, seed {problem['seed']}: {problem['problem']} ({problem['log']})"


def as_csv(comparison: Comparison) -> str:
    """Returns one line per group, with unformatted numbers and without text that a spreadsheet would run as a
    formula."""
    text = io.StringIO()
    rows = [
        {
            key: harmless(" ".join(map(str, value)) if isinstance(value, list) else value)
            for key, value in flat(asdict(row))
        }
        for row in comparison.rows
    ]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    # An interval that is null in one row has several columns in another; a section such as `optimizer` has a value too.
    columns = [
        key
        for key in columns
        if any(row.get(key) not in (None, "") for row in rows) or not any(c.startswith(f"{key}.") for c in columns)
    ]
    writer = csv.DictWriter(text, columns, extrasaction="ignore")
    writer.writerow({key: harmless(key) for key in columns})
    writer.writerows(rows)
    return text.getvalue()


def as_json(comparison: Comparison) -> str:
    return json.dumps(asdict(comparison), indent=2) + "\n"


FORMATS = {"md": as_markdown, "csv": as_csv, "json": as_json}


def write(comparison: Comparison, folder: Path) -> list[Path]:
    """Writes the comparison into a folder in every format and returns the files."""
    files = []
    for ending, render in FORMATS.items():
        file = folder / f"comparison.{ending}"
        write_atomic(file, render(comparison))
        files.append(file)
    return files

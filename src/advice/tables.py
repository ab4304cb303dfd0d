"""Advice as tables and as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from src.advice.advice import Advice
from src.advice.label_issues import Issue
from src.advice.words import sentences, with_error
from src.comparison.tables import sized
from src.config.wording import brief_duration
from src.data.texts import shown
from src.pages.cells import Cells
from src.tables.writing import open_table

ISSUES = ("row", "label", "suggested", "probability", "text")  # the columns of label_issues.csv


def tables(advice: Advice) -> list[Cells]:
    """Returns the table of the layers and that of the strategies' costs."""
    return [_layers(advice), _costs(advice)]


def _layers(advice: Advice) -> Cells:
    metrics = sorted(advice.layers[0].scores, key=lambda name: name != advice.metric)
    header = ["head reads", *metrics, "below best", "layers of a prediction", "strategy"]
    rows = []
    for layer in advice.layers:
        loss = "" if layer.below_best is None else f"≤ {layer.below_best:.3f}"
        marks = "  ←" if layer is advice.chosen else ""
        scores = [with_error(layer.scores[name]) for name in metrics]
        rows.append([layer.name + marks, *scores, loss, f"{layer.layers / advice.depth:.0%}", advice.strategy(layer)])
    return Cells("What a linear head reaches on frozen layers", header, 1, rows)


def _costs(advice: Advice) -> Cells:
    header = ["strategy", "trains", "epoch", "memory", "layers of a prediction"]
    rows = [
        [
            name,
            f"{cost.trainable:,}",
            brief_duration(cost.epoch),
            sized(cost.memory),
            f"{cost.inference:.0%}",
        ]
        for name, cost in advice.costs.items()
    ]
    return Cells("What the strategies cost", header, 1, rows)


def write_json(found: Sequence[Advice], command: str, file: Path) -> None:
    """Writes all numbers, without the texts.

    Args:
        found: on each backbone, the best first.
        command: that tries what is advised.
        file: to write.
    """
    content = {"format": 1, "command": command, "backbones": [_content(advice) for advice in found]}
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _content(advice: Advice) -> dict[str, Any]:
    fields = {field.name: getattr(advice, field.name) for field in dataclasses.fields(advice)}
    shown = {name: value for name, value in fields.items() if name not in ("corpus", "issues", "contributions")}
    plain: dict[str, Any] = json.loads(json.dumps(shown, default=dataclasses.asdict))
    return {"sentences": sentences(advice), **plain, "label_issues": len(advice.issues)}


def issue_rows(advice: Advice) -> list[list[str]]:
    """Returns the labels that look wrong: row, label, suggested label, probability of the label, text."""
    train, names = advice.corpus.splits["train"], advice.corpus.space.names
    return [
        [
            str(train.rows[issue.text]),
            names[issue.given],
            _suggested(advice, issue),
            f"{issue.probability:.4f}",
            shown(train.texts[issue.text]),
        ]
        for issue in advice.issues
    ]


def _suggested(advice: Advice, issue: Issue) -> str:
    if issue.suggested is not None:
        return advice.corpus.space.names[issue.suggested]
    return "remove" if advice.corpus.splits["train"].targets[issue.text, issue.given] else "add"


def write_issues(advice: Advice, file: Path) -> None:
    """Writes the labels that look wrong as CSV, the least probable first."""
    with open_table(file, "Choose another: folder=FOLDER.") as write:
        columns = zip(*issue_rows(advice), strict=True) if advice.issues else [()] * len(ISSUES)
        write(dict(zip(ISSUES, map(list, columns), strict=True)))

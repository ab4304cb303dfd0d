"""Infers the objective and the labels from the training rows."""

from __future__ import annotations

import logging
import math
from typing import Any

from src.config.data import Data
from src.data import label_vectors
from src.data.label_columns import Labels
from src.data.label_matching import names_of
from src.data.label_values import number
from src.data.labels import LabelSpace
from src.errors import UserError, listed

log = logging.getLogger(__name__)

MOST_FRACTIONS = 20  # distinct numbers such as 2.5 that may be classes; more are a regression target


def label_space(given: Labels, cfg: Data) -> LabelSpace:
    """Returns the labels of the training rows, in order, and the objective.

    Raises:
        UserError: there are fewer than two labels, or `data.task` does not fit them.
    """
    if given.kind == "lists" and label_vectors.are_vectors(given.rows, given.table):
        return _vector_space(given, cfg)
    multilabel = given.kind != "one" or cfg.task == "multilabel"
    if multilabel and cfg.task in ("binary", "multiclass"):
        raise UserError(
            f"data.task is {cfg.task}, but rows have lists of labels, such as {given.place(0)}.\n"
            "Choose data.task=multilabel or auto."
        )
    found, typed = names_of(given)
    named = cfg.label if isinstance(cfg.label, list) else _given_names(cfg)
    if len(found) < 2 and given.kind != "flags":
        raise UserError(
            f"There must be at least two labels to learn; {given.table.source} has {len(found)} in column "
            f"{cfg.label!r}: {', '.join(found) or 'none'}.\nIs data.label the right column?"
        )
    if named:
        return _space(tuple(named), multilabel, given, cfg)
    if not multilabel:
        _check_scale(found, given, cfg)
    return _space(tuple(sorted(found, key=_order)), multilabel, given, cfg, typed=typed)


def _given_names(cfg: Data) -> list[str]:
    return [" ".join(name.split()) for name in cfg.label_names or ()]


def _vector_space(given: Labels, cfg: Data) -> LabelSpace:
    width = len(given.rows[0])
    names = _given_names(cfg) or [str(i) for i in range(width)]
    if len(names) != width:
        raise UserError(
            f"data.label_names must name each position of the vectors; it has {len(names)} names, and "
            f"{given.place(0)} has {width} positions.\nName them all, in their order."
        )
    vectors = label_vectors.decode(given.rows, width, given.table)
    multilabel = cfg.task in ("auto", "multilabel")
    log.info(
        "The lists in column %r are 0/1 vectors: their positions are the labels%s.%s",
        cfg.label,
        "" if cfg.label_names else ", which data.label_names=[…] can name",
        " Each has exactly one 1; if no text can have several labels, choose data.task=multiclass."
        if multilabel and (vectors.sum(1) == 1).all()
        else "",
    )
    return _space(tuple(names), multilabel, given, cfg, vectors=True)


def _space(names: tuple[str, ...], multilabel: bool, given: Labels, cfg: Data, **more: Any) -> LabelSpace:
    if multilabel:
        return LabelSpace("multilabel", names, **more)
    if cfg.task == "binary" and len(names) != 2:
        raise UserError(
            f"data.task=binary needs exactly two labels; {given.table.source} has {len(names)} in column "
            f"{cfg.label!r}: {listed(names[:10])}.\nChoose data.task=multiclass or auto."
        )
    return LabelSpace("multiclass" if cfg.task == "multiclass" or len(names) > 2 else "binary", names, **more)


def _check_scale(names: set[str], given: Labels, cfg: Data) -> None:
    """Refuses labels that look like a regression target: many distinct numbers with fractions.

    Raises:
        UserError: they do.
    """
    numbers = [number(name.replace(",", ".")) for name in names]
    found = [n for n in numbers if n is not None and math.isfinite(n)]
    if len(found) < len(numbers) or all(n.is_integer() for n in found):
        return
    shown = f"{given.table.source} has {len(names)} different numbers with fractions in column {cfg.label!r}"
    if len(names) <= MOST_FRACTIONS or cfg.task != "auto":
        log.warning("%s; each is a separate class, without order. To predict numbers: data.task=regression", shown)
        return
    raise UserError(
        f"Labels must be classes; {shown}, like ratings or measurements.\n"
        "To predict such numbers, choose data.task=regression; if each is a class, data.task=multiclass."
    )


def _order(name: str) -> tuple[int, float, str]:
    found = number(name)
    return (1, 0.0, name) if found is None or math.isnan(found) else (0, found, name)

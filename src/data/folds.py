"""Cross-validation: divides all texts into folds, each of which is the test split once."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from src.arrays import NDArray
from src.config.data import Data
from src.data.cuts import take_stratified
from src.data.labels import LabelSpace
from src.data.split import Split
from src.data.texts import Text, sides
from src.errors import UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fold:
    """Which part of a cross-validation a run is.

    Args:
        folds: how many there are.
        fold: the number of the one that is the test split, from 0.
        repeat: the number of the division into folds, from 0.
    """

    folds: int
    fold: int
    repeat: int

    @classmethod
    def of(cls, cfg: Data) -> Self | None:
        """Returns the fold of a run; None without cross-validation."""
        return None if cfg.folds is None or cfg.fold is None else cls(cfg.folds, cfg.fold, cfg.repeat)

    def described(self) -> dict[str, int]:
        """Returns the entry for result.json."""
        return asdict(self)


def cut_fold(whole: Split, fold: Fold, space: LabelSpace, cfg: Data, source: str) -> dict[str, Split]:
    """Returns the splits of one fold: it is the test split; a stratified part of the rest is the validation split.

    Copies and near copies of a text are in one split. The division depends on `data.seed` and the repeat only.

    Args:
        whole: all examples.
        fold: which one.
        space: the labels.
        cfg: the data section.
        source: of the examples.

    Raises:
        UserError: there are too few texts with a label.
    """
    texts = text_numbers(whole.texts)
    distinct = whole.take(np.unique(texts, return_index=True)[1])
    _check_counts(distinct, fold.folds, space, source)
    seed = int(np.random.SeedSequence([cfg.seed, fold.repeat]).generate_state(1)[0])
    tested = divide(distinct.classes(len(distinct) // fold.folds), fold.folds, seed) == fold.fold
    rest = np.flatnonzero(~tested)
    key = f"data.validation_fraction={cfg.validation_fraction:g}"
    count = round(len(rest) * cfg.validation_fraction)
    chosen = rest[take_stratified(distinct.take(rest), count, seed, key, source, both_sides=True)]
    parts = np.zeros(len(distinct), dtype=np.int64)
    parts[chosen], parts[tested] = 1, 2
    names = ("train", "validation", "test")
    splits = {name: whole.take(np.flatnonzero(parts[texts] == part)) for part, name in enumerate(names)}
    log.info(
        "Cross-validation: fold %d of 0 to %d, repeat %d, is the test split: %s of %s texts",
        fold.fold,
        fold.folds - 1,
        fold.repeat,
        f"{len(splits['test']):,}",
        f"{len(whole):,}",
    )
    return splits


def text_numbers(texts: Sequence[Text]) -> NDArray[np.intp]:
    """Returns a number for each text, the same for copies and near copies, apart from case, punctuation and Unicode
    form. Numbers are in the order of the first copies."""
    from src.statistics.units import units

    found = units(*([unicodedata.normalize("NFKC", text) for text in side] for side in sides(texts)))
    _, first, number = np.unique(found, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[number])


def divide(targets: NDArray[Any], folds: int, seed: int) -> NDArray[np.int64]:
    """Returns the number of the fold that each example is in, stratified; multi-label by iterative stratification
    (Sechidis et al. 2011).

    Args:
        targets: int64 [examples] label indices, or float32 [examples, labels] of 0 and 1.
        folds: how many there are.
        seed: of the division.
    """
    if targets.ndim == 2:
        from iterstrat.ml_stratifiers import MultilabelStratifiedKFold as Division
    else:
        from sklearn.model_selection import StratifiedKFold as Division
    numbers = np.empty(len(targets), dtype=np.int64)
    division = Division(n_splits=folds, shuffle=True, random_state=seed)
    for number, (_, tested) in enumerate(division.split(np.zeros(len(targets)), targets)):
        numbers[tested] = number
    return numbers


def _check_counts(distinct: Split, folds: int, space: LabelSpace, source: str) -> None:
    """
    Raises:
        UserError: a label, or without labels the whole, has too few texts for every split of every fold.
    """
    # Of two folds, the one that is left must have one for training and one for validation.
    least = max(folds, 4)
    if space.names and not space.is_regression:
        named = distinct.targets.ndim == 1
        sums = np.bincount(distinct.targets, minlength=len(space.names)) if named else distinct.targets.sum(0)
        counts = dict(zip(map(repr, space.names), sums.astype(int).tolist(), strict=True))
    else:
        counts = {"all texts": len(distinct)}
    rare = [f"{name} ({count:,})" for name, count in counts.items() if count < least]
    if rare:
        raise UserError(
            f"Each label needs at least {least} different texts, so that with data.folds={folds} each fold can be "
            f"tested, and training and validation have some too; fewer in {source}: "
            f"{', '.join(rare[:8])}{', …' if len(rare) > 8 else ''}.\n"
            "Take fewer folds, add rows, or merge or remove these labels."
        )

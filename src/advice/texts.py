"""What is odd in the texts: copies within and across splits, rare labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from src.arrays import NDArray
from src.data.corpus import Corpus
from src.data.texts import sides
from src.errors import UserError
from src.statistics.units import units

LEAST = 5  # texts of each label that a probe needs


@dataclass(frozen=True)
class Texts:
    """
    Args:
        labels: how many training texts have each label, by its name; of numbers none.
        copies: training texts that are copies, or nearly, of an earlier training text.
        leaked: how many texts of validation and test are copies, or nearly, of a training text.
    """

    labels: Mapping[str, int]
    copies: int
    leaked: Mapping[str, int]


def read_texts(corpus: Corpus) -> tuple[Texts, Bool[NDArray[np.bool_], " texts"]]:
    """Returns what the texts are like, and which training texts are not copies of earlier ones.

    Raises:
        UserError: a label has too few texts, or all texts are alike.
    """
    found = _units(corpus)
    first = np.zeros(len(found["train"]), dtype=bool)
    first[np.unique(found["train"], return_index=True)[1]] = True
    labels = _counts(corpus, first)
    leaked = {name: int(np.isin(found[name], found["train"]).sum()) for name in found if name != "train"}
    return Texts(labels, int((~first).sum()), leaked), first


def _units(corpus: Corpus) -> dict[str, Int[NDArray[np.int64], " texts"]]:
    """The unit of each text of each split; those of several splits have the same numbers."""
    number = units(*sides([text for split in corpus.splits.values() for text in split.texts]))
    ends = np.cumsum([len(split) for split in corpus.splits.values()])
    return dict(zip(corpus.splits, np.split(number, ends[:-1]), strict=True))


def _counts(corpus: Corpus, first: Bool[NDArray[np.bool_], " texts"]) -> dict[str, int]:
    if first.sum() < 2:
        raise UserError("Advice needs training texts that differ; all are copies of each other.\nAdd other texts.")
    if corpus.space.is_regression:
        return {}
    targets = corpus.splits["train"].targets[first]
    labels = len(corpus.space.names)
    counts = targets.sum(0).astype(int) if targets.ndim == 2 else np.bincount(targets, minlength=labels)
    found = dict(zip(corpus.space.names, counts.tolist(), strict=True))
    if rare := {name: count for name, count in found.items() if count < LEAST}:
        named = ", ".join(f"{name!r} has {count}" for name, count in list(rare.items())[:8])
        raise UserError(
            f"Advice needs at least {LEAST} different training texts of each label; {named}.\n"
            "Add texts, or merge or remove these labels."
        )
    return found

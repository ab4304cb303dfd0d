"""Assigns files, or parts of a data set, to splits by their names."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from src.config.data import Data
from src.errors import UserError, listed

log = logging.getLogger(__name__)

SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "devel", "development", "eval", "evaluation"),
    "test": ("test", "testing"),
}


# As the hub calls the files of a split that has several: train-00000-of-00002, some with a checksum behind.
SHARD = re.compile(r"(?P<name>.+)-(?P<number>\d{1,9})-of-(?P<count>\d{1,9})(-[0-9a-f]+)?", re.IGNORECASE)


# Of texts like those in training, and of other kinds of texts.
DOMAIN = re.compile(r"(?P<name>.+)[_-](?P<domain>matched|mismatched)", re.IGNORECASE)


@dataclass(frozen=True)
class Part:
    """What a name says.

    Args:
        split: train, validation or test.
        domain: matched, mismatched or nothing.
        number: of the part, from 0.
        count: how many parts there are; 0 where it does not say.
    """

    split: str
    domain: str = ""
    number: int = 0
    count: int = 0


def part_named(name: str) -> Part | None:
    """What a name says, without its ending; None if it is not that of a split."""
    number, count, domain = 0, 0, ""
    if shard := SHARD.fullmatch(name):
        name, number, count = shard["name"], int(shard["number"]), int(shard["count"])
    if found := DOMAIN.fullmatch(name):
        name, domain = found["name"], found["domain"].lower()
    split = next((split for split, names in SPLITS.items() if name.lower() in names), None)
    return Part(split, domain, number, count) if split else None


def find_splits(names: Mapping[str, str], rest: Sequence[str], source: str, cfg: Data) -> dict[str, list[str]]:
    """The names of what makes up each split, in order. Says which these are, and what is not read.

    Args:
        names: of what can be read: as the user knows it, and without its ending.
        rest: names of what cannot be read.
        source: that has them.
        cfg: which says what splits to leave out.

    Raises:
        UserError: several are the same split, or parts of a split are missing.
    """
    parts = {name: part for name, stem in names.items() if (part := part_named(stem))}
    ignored = [name for name, part in parts.items() if part.split in cfg.ignore_splits]
    splits: dict[str, list[str]] = {}
    mismatched: list[str] = []
    for split in (split for split in SPLITS if split not in cfg.ignore_splits):
        own = {name: part for name, part in parts.items() if part.split == split}
        if {part.domain for part in own.values()} == {"matched", "mismatched"}:
            mismatched += [name for name, part in own.items() if part.domain == "mismatched"]
            own = {name: part for name, part in own.items() if part.domain == "matched"}
        if own:
            splits[split] = _in_order(own, split, source)
    used = ", ".join(f"{split} ({listed(found)})" for split, found in splits.items())
    log.info("Splits of %s: %s", source, used or "none")
    _tell_unread(source, ignored, mismatched, [*(name for name in names if name not in parts), *rest])
    return splits


def _tell_unread(source: str, ignored: list[str], mismatched: list[str], others: list[str]) -> None:
    if ignored:
        log.info("Left out by data.ignore_splits: %s", listed(ignored))
    if mismatched:
        log.warning("%s: not read, since there are matched ones: %s", source, listed(mismatched))
    if others:
        log.warning("%s: not read, since name or format is not that of a split: %s", source, listed(others))


def _in_order(parts: Mapping[str, Part], split: str, source: str) -> list[str]:
    """The names of the parts of one split.

    Raises:
        UserError: they do not belong together, or some are missing.
    """
    ordered = sorted(parts, key=lambda name: (parts[name].number, name))
    for one, other in itertools.pairwise(ordered):
        a, b = parts[one], parts[other]
        if (a.domain, a.count) != (b.domain, b.count) or a.number == b.number:
            raise UserError(
                f"{source} must hold one file per split; {one} and {other} are both {split}.\nRename or remove one."
            )
    count = parts[ordered[0]].count
    there = {part.number for part in parts.values()}
    missing = next((number for number in range(count) if number not in there), None)
    if missing is not None:
        raise UserError(
            f"{source} must hold all {count} parts of {split}; part {missing} (counted from 0) is missing beside "
            f"{ordered[0]}.\nCopy it too."
        )
    return ordered

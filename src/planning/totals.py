"""What a whole run costs at most, from what an epoch of each of its phases does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from src.config.wording import duration
from src.freezing.strategy import Phase

if TYPE_CHECKING:
    from src.caching.costs import Cost


@dataclass(frozen=True)
class Work:
    """FLOPs, and seconds where they were measured."""

    flops: float
    seconds: float | None

    def __add__(self, other: Work) -> Work:
        known = None not in (self.seconds, other.seconds)
        return Work(self.flops + other.flops, (self.seconds or 0) + (other.seconds or 0) if known else None)

    def times(self, factor: float) -> Work:
        return Work(factor * self.flops, None if self.seconds is None else factor * self.seconds)


@dataclass(frozen=True)
class Total:
    """What a run costs.

    Args:
        training: with validation and test, in all epochs: an early end makes it less.
        encoding: by the store that it fills; runs that share a store fill it once.
    """

    training: Work
    encoding: Mapping[str, Work]

    @property
    def all(self) -> Work:
        return self.training + encoded([self])

    def __add__(self, other: Total) -> Total:
        return Total(self.training + other.training, {**self.encoding, **other.encoding})


def encoded(totals: Iterable[Total]) -> Work:
    """Returns what it takes to fill the stores of several runs, each once."""
    stores = {store: work for total in totals for store, work in total.encoding.items()}
    return sum(stores.values(), Work(0.0, 0.0))


def total(
    phases: Sequence[Phase],
    costs: Sequence[Cost],
    stores: Sequence[str | None],
    epochs: int,
    share: tuple[float, float],
) -> Total:
    """Returns what a run costs.

    Args:
        phases: that it reaches.
        costs: of an epoch of each.
        stores: what names the activation store of each; None without one.
        epochs: of the run.
        share: tokens of the validation and of the test texts, as fractions of those of an epoch.
    """
    validated, tested = share
    every = [_epoch(cost, validated) for cost in costs]
    lengths = _lengths(phases, every, epochs)
    work = sum((epoch.times(count) for epoch, count in zip(every, lengths, strict=True)), Work(0.0, 0.0))
    last = costs[-1]
    test = Work(last.forward, _forward_seconds(last)).times(tested)
    encoding = {
        store: Work(cost.encoding, cost.encoding_seconds) for store, cost in zip(stores, costs, strict=True) if store
    }
    return Total(work + test, encoding)


def _epoch(cost: Cost, validated: float) -> Work:
    training = Work(cost.forward + cost.backward, cost.seconds)
    return training + Work(cost.forward, _forward_seconds(cost)).times(validated)


def _forward_seconds(cost: Cost) -> float | None:
    both = cost.forward + cost.backward
    return None if cost.seconds is None else cost.seconds * cost.forward / both if both else 0.0


def _lengths(phases: Sequence[Phase], every: Sequence[Work], epochs: int) -> list[int]:
    """Returns the epochs of each phase. Where the end of a phase is not known before, the dearest one has all."""
    fixed = [phase.end.epochs for phase in phases[:-1]]
    known = [length for length in fixed if length is not None]
    if len(known) == len(fixed):
        return [*known, epochs - sum(known)]
    dearest = max(range(len(every)), key=lambda index: every[index].flops)
    return [epochs if index == dearest else 0 for index in range(len(every))]


def in_words(work: Work) -> str:
    """Returns work as part of a sentence."""
    time = "" if work.seconds is None else f", {duration(work.seconds)}"
    return f"at most {work.flops / 1e12:.3g} TFLOP{time}"

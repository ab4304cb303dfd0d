"""What trains, in words: names of strategies say now what is frozen, now what trains."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from src.config.wording import joined
from src.freezing.strategy import EMBEDDINGS, HEAD, POOLER


def trains(fractions: Mapping[str, float]) -> str:
    """Returns which stages train: "layers 4-5 and the head", "parts of layers 0-5, and the head", "everything".

    Args:
        fractions: by stage, from the input on: how much of its parameters train.
    """
    whole = [name for name, fraction in fractions.items() if fraction == 1]
    part = [name for name, fraction in fractions.items() if 0 < fraction < 1]
    if len(whole) == len(fractions):
        return "everything"
    if not part:
        return joined([*_named(whole)]) or "nothing"
    return ", and ".join([f"parts of {joined([*_named(part)])}", *([joined([*_named(whole)])] if whole else [])])


def trained(phases: Iterable[Mapping[str, Any]]) -> str:
    """Returns which stages have trained in a run; empty where its result does not say.

    Args:
        phases: of result.json.
    """
    fractions: dict[str, float] = {}
    for row in itertools.chain.from_iterable(phase.get("audit", ()) for phase in phases):
        fraction = row["trainable"] / row["parameters"] if row["parameters"] else 0.0
        fractions[row["stage"]] = max(fraction, fractions.get(row["stage"], 0.0))
    return trains(fractions) if fractions else ""


def _named(stages: Sequence[str]) -> Iterator[str]:
    layers = [int(name.rpartition(".")[2]) for name in stages if name.startswith("layer.")]
    yield from (_other(name) for name in stages if name == EMBEDDINGS)
    if layers:
        yield f"{'layer' if len(layers) == 1 else 'layers'} {joined([*_ranges(layers)])}"
    yield from (_other(name) for name in stages if name != EMBEDDINGS and not name.startswith("layer."))


def _other(name: str) -> str:
    return f"the {name}" if name in (EMBEDDINGS, POOLER, HEAD) else name


def _ranges(numbers: Sequence[int]) -> Iterator[str]:
    """Yields runs of consecutive numbers: 0-2, 4."""
    for _, run in itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        first, *rest = [number for _, number in run]
        yield f"{first}-{rest[-1]}" if rest else str(first)

"""Several backbones compared by their best layers, on the same texts."""

from __future__ import annotations

from collections.abc import Sequence

from src.advice.advice import Advice
from src.advice.probes import estimate
from src.advice.words import with_error
from src.statistics.best import AllPairs


def compared(found: Sequence[Advice]) -> list[str]:
    """Returns a sentence on which backbone to take; nothing for a single one.

    Args:
        found: on each backbone, the best first.
    """
    if len(found) < 2:
        return []
    metric, names = found[0].metric, [advice.backbone for advice in found]
    pairs = AllPairs(
        names,
        {
            (a.backbone, b.backbone): estimate(a.contributions - b.contributions)
            for i, a in enumerate(found)
            for b in found[i + 1 :]
        },
    )
    candidates = pairs.best(names).candidates
    scores = ", ".join(
        f"{advice.backbone} {with_error(advice.best.scores[metric])} (layer {advice.best.layers})" for advice in found
    )
    others = f" May be the best: {', '.join(candidates)}." if len(candidates) > 1 else " It is shown to be the best."
    return [f"Backbones by the best layer's {metric}: {scores}.{others} What follows is about {names[0]}."]

"""The figure of a race."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from src.config.monitor import sign
from src.pages.figures import BLUE, short
from src.race.replay import Race

APART = 0.06  # of a block, between the arms at one look


MARKERS = {"worse": "x", "dearer": "v"}  # arms that failed have no points


def course(race: Race) -> Figure:
    """Draws by how much each arm is above the chosen one after each block, with its interval, and where it left."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    margin, direction = race.rules.margin, sign(race.rules.metric)
    axes.axhspan(-margin, margin, color=BLUE, alpha=0.1)
    axes.axhline(0, color="grey", linewidth=1, label=f"{short(str(race.chosen))} (chosen)")
    others = [arm for arm in race.arms if arm != race.chosen]
    left = {exit_.arm: exit_ for exit_ in race.exits}
    for index, arm in enumerate(others):
        points = [(look.block, look) for look in race.looks if arm in look.scores and race.chosen in look.scores]
        x = [block + APART * (index - (len(others) - 1) / 2) for block, _ in points]
        y = [direction * (look.scores[arm] - look.scores[str(race.chosen)]) for _, look in points]
        axes.plot(x, y, "o-", color=f"C{index % 10}", markersize=4, linewidth=1, label=short(arm))
        for at, (_, look) in zip(x, points, strict=True):
            if found := look.behind.get(arm):
                apart = found.times(-direction)
                axes.plot([at, at], [apart.low, apart.high], "-", color=f"C{index % 10}", alpha=0.5)
        if points and arm in left:
            axes.plot(x[-1], y[-1], MARKERS[left[arm].reason], color="black", markersize=9)
    axes.set(xlabel="blocks", ylabel=f"validation {race.rules.metric}: difference\nto {short(str(race.chosen))}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8)
    return figure

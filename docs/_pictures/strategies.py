"""Draws what trains under each strategy, from the strategies themselves.

python docs/_pictures/strategies.py       # writes .github/images/strategies.png
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from src.config.folder import CONF
from src.freezing import Stage
from src.freezing.reached_phases import fitted
from src.freezing.strategy import trained_in

CHOSEN = {
    "none": [],
    "embeddings": [],
    "bottom": ["freeze.layers=4"],
    "top": ["freeze.layers=2"],
    "cut": ["freeze.layers=4", "freeze.train=2"],
    "surgical": ["freeze.first=0", "freeze.last=2"],
    "norms": [],
    "lora": [],
    "mix": [],
    "all": [],
    "gradual": ["freeze.every=null"],
    "lp_ft": ["freeze.epochs=null"],
}
NAMES = ("query.weight", "query.lora_A", "output.weight", "output.bias", "norm.weight")
COLOURS = {
    "trains": "#0072b2",
    "trains in part": "#9ecae1",
    "trains in later phases": "#e69f00",
    "frozen": "#e8e8e8",
    "dropped": "white",
}


def layer(name: str) -> Stage:
    return Stage(name, tuple(f"{name}.attention.{parameter}" for parameter in NAMES))


def colours(option: str, overrides: Sequence[str], stages: Sequence[Stage]) -> tuple[str, list[str]]:
    """Returns the name of a strategy and the colour of each stage."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        strategy = instantiate(compose("train", [f"freeze={option}", *overrides, "run=none"]).freeze, _convert_="all")
    kept = strategy.kept(stages)
    phases = fitted(strategy.phases(kept), 9)
    first, every = phases[0].trainable, trained_in(phases)
    found = []
    for stage in stages:
        own = {name for name in stage.parameters if "lora" not in name or option == "lora"}
        if stage not in kept:
            found.append("dropped")
        elif len(phases) > 1 and own & every and not own & first:
            found.append("trains in later phases")
        else:
            found.append("trains" if own <= every else "trains in part" if own & every else "frozen")
    return str(strategy.name), found


def draw() -> Figure:
    """Returns a grid: a row for each strategy, a column for each stage of an encoder with six layers."""
    embeddings = Stage("embeddings", ("embeddings.word.weight", "embeddings.norm.weight"))
    stages = [embeddings, *(layer(f"layer.{number}") for number in range(6)), Stage("head", ("head.weight",))]
    rows = [colours(option, overrides, stages) for option, overrides in CHOSEN.items()]
    figure = Figure(figsize=(8, 0.36 * len(rows) + 1.1), layout="constrained")
    axes = figure.subplots()
    for row, (_, found) in enumerate(rows):
        for column, kind in enumerate(found):
            edge = "#cccccc" if kind == "dropped" else "white"
            box = Rectangle((column, row), 1, 1, facecolor=COLOURS[kind], edgecolor=edge, linewidth=2)
            axes.add_patch(box)
    axes.set(xlim=(0, len(stages)), ylim=(len(rows), 0))
    axes.set_xticks([number + 0.5 for number in range(len(stages))], [stage.name for stage in stages], fontsize=9)
    axes.set_yticks([number + 0.5 for number in range(len(rows))], [name for name, _ in rows], fontsize=9)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    handles = [Patch(facecolor=colour, edgecolor="#cccccc", label=name) for name, colour in COLOURS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    return figure


if __name__ == "__main__":
    draw().savefig(Path(CONF).parent / ".github" / "images" / "strategies.png", dpi=130)

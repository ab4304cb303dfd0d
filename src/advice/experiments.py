"""The strategies to try first, as experiments: each with the epochs that suit it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from src.advice.advice import Advice
from src.config.quoting import quoted, quoted_path

# A head on stored vectors: epochs cost next to nothing, and with fewer it is not trained to the end.
HEAD_EPOCHS = 50


# Of the strategies that train layers, the one that was least below the best in benchmarks/results/table.csv: gradual
# unfreezing by two stages, in phases that fit into the epochs.
PHASES = {"stages_per_phase": 2, "every": None}


@dataclass(frozen=True)
class Experiment:
    """
    Args:
        strategy: its name, such as `cut:4`.
        freeze: the file of conf/freeze/.
        settings: values of its keys.
    """

    strategy: str
    freeze: str
    settings: Mapping[str, int | None]

    @property
    def name(self) -> str:
        return self.strategy.replace(":", "_")

    @property
    def text(self) -> str:
        """The content of its file."""
        lines = [
            "# @package _global_",
            f"# From python -m src.advise: {self.strategy} with a linear head.",
            "defaults:",
            f"  - override /freeze: {self.freeze}",
            "  - override /model: bert_linear",
        ]
        if self.settings:
            lines += ["", "freeze:", *(f"  {key}: {json.dumps(value)}" for key, value in self.settings.items())]
        if self.freeze in ("all", "cut", "mix"):
            lines += ["", "trainer:", f"  max_epochs: {HEAD_EPOCHS}"]
        return "\n".join(lines) + "\n"


def experiment(strategy: str) -> Experiment:
    """Returns the experiment of a strategy such as `all` or `bottom:4`."""
    kind, _, layers = strategy.partition(":")
    return Experiment(strategy, kind, {"layers": int(layers)} if layers else {})


def proposed(advice: Advice) -> list[Experiment]:
    """Returns what to try: the head on the advised layer, on all layers if these are better, a few top layers, and all
    layers, one after the other and at once."""
    heads = [advice.strategy(advice.chosen), *(["mix"] if advice.mix else [])]
    partly = [found for found in map(experiment, advice.costs) if found.freeze == "bottom"]
    top = max(partly, key=lambda found: found.settings["layers"] or 0)
    return [*map(experiment, heads), top, Experiment("gradual", "gradual", PHASES), experiment("none")]


def write_experiments(experiments: Sequence[Experiment], folder: Path) -> None:
    """Writes the files into a folder that `--config-dir` takes."""
    (folder / "experiment").mkdir(parents=True)
    for found in experiments:
        (folder / "experiment" / f"{found.name}.yaml").write_text(found.text, encoding="utf-8")


# Keys of the user that the experiments or the race set.
REPLACED = ("freeze", "model", "seed", "experiment", "sweep", "run")


def command(advice: Advice, folder: Path, overrides: Sequence[str], where: Sequence[str]) -> str:
    """Returns the command that races what is advised.

    Args:
        advice: on the best backbone.
        folder: of the advice, which holds the experiments.
        overrides: that the user has given, of data, backbone and trainer.
        where: the arguments that name the user's own config folders.
    """
    names = ",".join(found.name for found in proposed(advice))
    keys = {given: given.lstrip("+~").partition("=")[0] for given in overrides}
    kept = [given for given, key in keys.items() if key not in REPLACED and not key.startswith("freeze.")]
    own = (
        [*where, f"hydra.searchpath=[{quoted(f'file://{folder.resolve()}')}]"] if where else [f"--config-dir={folder}"]
    )
    race = [f"race.metric={advice.metric}", f"race.margin={advice.margin:g}", f"race.cost={advice.cost}"]
    runs = f"hydra.sweep.dir={quoted_path(str(folder / 'runs'))}"
    # The experiments name the strategies, instead of the race's own list.
    arms = ["-m", "sweep=race", "~hydra.sweeper.params.freeze", f"experiment={names}"]
    return shlex.join(["python", "-m", "src.train", *own, *arms, *race, runs, *kept])

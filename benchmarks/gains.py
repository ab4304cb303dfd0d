"""What could have been advised before training: predictions for each data set from the others, and constant choices.

    python -m benchmarks.gains [--head linear] [--table FILE] [--layers FILE]

Reads the tables of benchmarks.table and benchmarks.layers and trains nothing. Each data set is predicted from the other
ones, at all sizes together, since what is wanted is advice on data that nobody has trained on.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src.arrays import NDArray
from src.pages.cells import Cells

RESULTS = Path(__file__).parent / "results"
REFERENCE = "all"
SEVERAL_LABELS = ("goemotions_ekman", "aspects")  # judged by macro F1; the others by accuracy
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """One data set at one size.

    Args:
        data: its name.
        texts: for training.
        scores: by strategy, of each seed.
        features: of one pass over the texts, by name.
    """

    data: str
    texts: int
    scores: Mapping[str, Values]
    features: Mapping[str, float]

    def gain(self, strategy: str) -> float:
        """The mean score of a strategy above that of a head on the last layer."""
        return float(self.scores[strategy].mean() - self.scores[REFERENCE].mean())


# Which features a prediction of the gains reads, besides a constant.
PREDICTORS: Mapping[str, Sequence[str]] = {
    "mean gain": (),
    "number of texts": ("log_texts",),
    "best layer above last": ("probe_above_last",),
    "all layers above last": ("all_above_last",),
    "slope of last layers": ("slope",),
    "LogME": ("logme",),
    "H-score": ("h_score",),
    "class scatter": ("scatter",),
    "likeness of layers": ("cka",),
    "texts and all layers above last": ("log_texts", "all_above_last"),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gains", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--head", default="linear", choices=["linear", "bilstm"])
    parser.add_argument("--table", type=Path, default=RESULTS / "table.csv")
    parser.add_argument("--layers", type=Path, default=RESULTS / "layers.csv")
    chosen = parser.parse_args()
    cases = read_cases(chosen.table, chosen.layers, chosen.head)
    for cells in (scores_table(cases), policies_table(cases), predictions_table(cases)):
        print(markdown(cells), end="\n\n")


def read_cases(table: Path, layers: Path, head: str) -> list[Case]:
    """Returns the data sets and sizes of which all strategies have been trained with the same seeds."""
    runs: dict[tuple[str, int], dict[str, list[float]]] = {}
    for row in _rows(table):
        if row["head"] == head:
            case = runs.setdefault((row["data"], int(row["texts"])), {})
            score = row["f1_macro" if row["data"] in SEVERAL_LABELS else "accuracy"]
            case.setdefault(row["strategy"], []).append(float(score))
    scored: dict[tuple[str, int], list[dict[str, str]]] = {}
    for row in _rows(layers):
        scored.setdefault((row["data"], int(row["texts"])), []).append(row)
    strategies = {name for found in runs.values() for name in found}
    return [
        Case(*key, _complete(found), features(scored[key]))
        for key, found in sorted(runs.items(), key=lambda one: (one[0][1], one[0][0]))
        if found.keys() == strategies and key in scored
    ]


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as opened:
        return [*csv.DictReader(opened)]


def _complete(scores: Mapping[str, Sequence[float]]) -> dict[str, Values]:
    seeds = min(map(len, scores.values()))
    return {name: np.array(found[:seeds]) for name, found in scores.items()}


def features(layers: Sequence[Mapping[str, str]]) -> dict[str, float]:
    """Returns what one pass over the texts says.

    Args:
        layers: the rows of benchmarks.layers of one data set and size, the embeddings first.
    """
    *single, together = layers
    probes, last = [float(row["accuracy"]) for row in single], single[-1]
    return {
        "log_texts": float(np.log(int(last["texts"]))),
        "probe_above_last": max(probes) - probes[-1],
        "all_above_last": float(together["accuracy"]) - probes[-1],
        "slope": probes[-1] - probes[4],
        "cka": float(single[4]["cka"]),
        **{name: float(last[name]) for name in ("logme", "h_score", "scatter")},
    }


def predicted(cases: Sequence[Case], case: Case, strategy: str, names: Sequence[str]) -> float:
    """Returns the gain of a strategy that other data sets predict for a case, by ridge regression.

    Args:
        cases: of any data sets; those of this one are left out.
        case: to predict.
        strategy: whose gain.
        names: of the features.
    """
    others = [other for other in cases if other.data != case.data]
    wanted = np.array([other.gain(strategy) for other in others])
    if not names:
        return float(wanted.mean())
    known = np.array([[other.features[name] for name in names] for other in others])
    mean, scale = known.mean(0), known.std(0) + 1e-12
    known, own = (known - mean) / scale, (np.array([case.features[name] for name in names]) - mean) / scale
    weights = np.linalg.solve(known.T @ known + np.eye(len(names)), known.T @ (wanted - wanted.mean()))
    return float(wanted.mean() + own @ weights)


def interval(cases: Sequence[Case], case: Case, strategy: str, names: Sequence[str]) -> tuple[float, float]:
    """Returns an interval of a gain that holds it for D of D + 1 data sets, if these are alike: as wide as the largest
    error that the other D data sets' predictions of each other have (conformal over data sets).
    """
    others = [other for other in cases if other.data != case.data]
    errors = [abs(other.gain(strategy) - predicted(others, other, strategy, names)) for other in others]
    value = predicted(cases, case, strategy, names)
    return value - max(errors), value + max(errors)


def regret(case: Case, strategy: str) -> float:
    """Returns by how much a strategy is below the best one. The best one is chosen by all seeds but one and scored with
    that seed, for each seed.
    """
    seeds = len(case.scores[strategy])
    if seeds == 1:
        return float(max(found[0] for found in case.scores.values()) - case.scores[strategy][0])
    lost = []
    for seed in range(seeds):
        rest = {name: np.delete(found, seed).mean() for name, found in case.scores.items()}
        best = max(rest, key=lambda name: rest[name])
        lost.append(case.scores[best][seed] - case.scores[strategy][seed])
    return float(np.mean(lost))


def scores_table(cases: Sequence[Case]) -> Cells:
    strategies = [*cases[0].scores]
    rows = [
        [case.data, f"{case.texts:,}", str(len(case.scores[REFERENCE]))]
        + [f"{case.scores[name].mean():.3f}" for name in strategies]
        for case in cases
    ]
    return Cells("Test scores", ["data", "texts", "seeds", *strategies], 1, rows)


def policies_table(cases: Sequence[Case]) -> Cells:
    strategies = [*cases[0].scores]
    policies: dict[str, Callable[[Case], str]] = {f"always {name}": _always(name) for name in strategies}
    policies["the head with the best probe"] = lambda case: "cut:4" if case.features["slope"] < 0 else REFERENCE
    policies |= {f"predicted from {name}": _predicting(cases, strategies, used) for name, used in PREDICTORS.items()}
    rows = []
    for name, choose in policies.items():
        lost = [100 * regret(case, choose(case)) for case in cases]
        chosen = sorted({choose(case) for case in cases})
        rows.append([name, f"{np.mean(lost):.2f}", f"{max(lost):.1f}", ", ".join(chosen)])
    return Cells("Regret of what is chosen before training, points", ["choice", "mean", "largest", "chooses"], 1, rows)


def _always(name: str) -> Callable[[Case], str]:
    return lambda case: name


def _predicting(cases: Sequence[Case], strategies: Sequence[str], names: Sequence[str]) -> Callable[[Case], str]:
    def choose(case: Case) -> str:
        return max(strategies, key=lambda strategy: predicted(cases, case, strategy, names))

    return choose


def predictions_table(cases: Sequence[Case]) -> Cells:
    strategies = [name for name in cases[0].scores if name != REFERENCE]
    rows = []
    for name, used in PREDICTORS.items():
        pairs = [(case, strategy) for case in cases for strategy in strategies]
        errors = [abs(case.gain(strategy) - predicted(cases, case, strategy, used)) for case, strategy in pairs]
        bounds = [interval(cases, case, strategy, used) for case, strategy in pairs]
        held = [low <= case.gain(strategy) <= high for (low, high), (case, strategy) in zip(bounds, pairs, strict=True)]
        width = np.mean([high - low for low, high in bounds])
        rows.append([name, f"{100 * np.mean(errors):.1f}", f"{100 * width:.0f}", f"{np.mean(held):.0%}"])
    header = ["predicted from", "error, points", "width of interval", "holds"]
    return Cells("Gain above a head on the last layer", header, 1, rows)


def markdown(cells: Cells) -> str:
    """Returns a table as Markdown."""
    columns = zip(*[cells.header, *cells.rows], strict=True)
    line = "| " + " | ".join("---" if index < cells.labels else "---:" for index, _ in enumerate(columns)) + " |"
    rows = [f"| {' | '.join(row)} |" for row in (cells.header, *cells.rows)]
    return "\n".join([rows[0], line, *rows[1:]])


if __name__ == "__main__":
    main()

"""The output of a regression: scores, predictions per example, a table of scores, predicted against true numbers."""

from __future__ import annotations

import torch

from src.data.corpus import Corpus
from src.data.labels import REGRESSION_SCORES, LabelSpace
from src.data.split import Split
from src.data.texts import shown
from src.modules import metrics
from src.modules.classifier import Predictions, TextClassifier
from src.report.outcome import Outcome, Shown
from src.report.plots import scatter
from src.report.predictions import as_lists, write_predictions
from src.runs.folder import RunFolder

ERRORS = 20  # largest errors in TensorBoard


def conclude(module: TextClassifier, corpus: Corpus, folder: RunFolder) -> Outcome:
    """Returns the outcome of a regression after validating and testing its best weights; writes its predictions."""
    space, found = corpus.space, module.predictions
    scores = {name: module.score(found[name]) for name in ("validation", "test")}
    for name in scores:
        true, predicted = found[name].targets.double().numpy(), found[name].logits.double().numpy()
        write_predictions(folder, name, corpus.splits[name], {"true": as_lists(true), "predicted": as_lists(predicted)})
    test = scores["test"]
    return Outcome(
        metrics=scores,
        details={"per_target": per_target(found["test"], space)},
        headline=f"Test Pearson {test['pearson']:.3f}, RMSE {test['rmse']:.4g}",
        show=lambda: show(corpus.splits["test"], found["test"], space),
        score="pearson",
    )


def per_target(found: Predictions, space: LabelSpace) -> dict[str, dict[str, float]]:
    """Returns the scores of each target by its name."""
    columns = enumerate(space.names)
    return {name: metrics.measure_numbers(found.logits[:, [i]], found.targets[:, [i]]) for i, name in columns}


def show(split: Split, found: Predictions, space: LabelSpace) -> Shown:
    """Returns what presents the test results.

    Args:
        split: the test texts.
        found: the predictions for them.
        space: the targets.
    """
    true, predicted = found.targets.numpy(), found.logits.numpy()
    return Shown(
        report=("scores.txt", table(per_target(found, space))),
        figures={"scatter": lambda: scatter(predicted, true, space.names, "Test: true and predicted numbers")},
        errors=_largest(split, found, space),
    )


def table(scores: dict[str, dict[str, float]]) -> str:
    """Returns scores as text, a line for each target."""
    width = max(len(name) for name in ("target", *scores))
    lines = [f"{'target':{width}}" + "".join(f"{name:>11}" for name in REGRESSION_SCORES), ""]
    for target, values in scores.items():
        lines.append(f"{target:{width}}" + "".join(f"{values[name]:>11.4g}" for name in REGRESSION_SCORES))
    return "\n".join(lines) + "\n"


def _largest(split: Split, found: Predictions, space: LabelSpace) -> list[dict[str, str]]:
    """Returns the test texts with the largest errors, in standard deviations of the training targets."""
    errors = ((found.logits - found.targets) / torch.tensor(space.std)).abs().amax(1)
    return [
        {
            "row": str(split.rows[row]),
            "text": shown(split.texts[row]),
            "true": ", ".join(f"{value:.4g}" for value in found.targets[row].tolist()),
            "predicted": ", ".join(f"{value:.4g}" for value in found.logits[row].tolist()),
            "standard deviations": f"{errors[row]:.2f}",
        }
        for row in errors.argsort(descending=True, stable=True)[:ERRORS].tolist()
    ]

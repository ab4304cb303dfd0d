"""Predicts labels, or masked tokens, with a finished run. The entry point of `python -m src.predict`."""

from __future__ import annotations

import logging

import hydra
from omegaconf import DictConfig

from src.cli import exit_codes, run_command
from src.config.validation import check, check_options
from src.data.texts import Text, check_kind
from src.datamodules.text_problems import EMPTY, UNKNOWN, find_problems
from src.errors import SHOWN
from src.prediction.label_file import Options, label_file
from src.prediction.predictor import Predictor
from src.runs.find import check_named, find_run

__all__ = ["Predictor"]

log = logging.getLogger(__name__)

TOKENS = 5  # that are shown for each masked one


def format_prediction(predictor: Predictor, text: Text, top: int | None) -> str:
    """Returns the prediction for a text, one line per label, target or token; runs with thresholds mark the
    predicted labels."""
    if predictor.space.objective == "mlm":
        masked = predictor.fill(text, top or TOKENS)
        return "\n\n".join("\n".join(f"{name:20} {value:.3f}" for name, value in tokens) for tokens in masked)
    tokens = predictor.tokens([text])
    problems = find_problems(tokens, predictor.tokenizer, predictor.data.pairs)
    for what, indices in ((EMPTY, problems.empty), (UNKNOWN, problems.unknown)):
        if len(indices):
            log.warning("%s; its prediction is meaningless", what.format("the text"))
    if len(problems.truncated):
        full = f"{tokens.full_lengths[0]:,}"
        log.warning("The text is truncated from %s to %s, as in training.", full, predictor.data.reading)
    probabilities = predictor.classify(tokens)
    if predictor.space.is_regression:
        return "\n".join(f"{n:20} {v:.4g}" for n, v in zip(predictor.space.names, probabilities[0], strict=True))
    chosen = () if predictor.thresholds is None else predictor.decide(probabilities)[0]
    scored = sorted(zip(predictor.space.names, probabilities[0], strict=True), key=lambda scored: -scored[1])
    lines = [
        f"{name:20} {value:.3f}{' *' if name in chosen else ''}"
        for rank, (name, value) in enumerate(scored)
        if rank < (top or SHOWN) or name in chosen
    ]
    more = len(scored) - len(lines)
    return "\n".join([*lines, *([f"and {more:,} more labels"] if more else [])])


def predict(cfg: DictConfig) -> None:
    """Predicts for the text or file of a config composed from conf/predict.yaml.

    Raises:
        UserError: the arguments, the run or the file cannot be used.
    """
    check_named(cfg)
    options = check_options(cfg, Options)
    folder = find_run(options.run, options.sweep_folder)
    if options.text is not None:
        text = options.text if options.pair is None else (options.text, options.pair)
        check_kind(text, check(folder.saved_config("network")).data)
        print(format_prediction(Predictor.load(folder.path, options.precision), text, options.top))
        return
    label_file(folder, options)


@hydra.main(version_base="1.3", config_path="../conf", config_name="predict")
def main(cfg: DictConfig) -> None:
    with exit_codes():
        predict(cfg)


if __name__ == "__main__":
    run_command(main, "predict", verbatim=("run", "sweep_folder", "text", "pair", "input", "output"))

"""A finished run and texts -> labels with probabilities, or words for what is masked. The entry point of
`python -m src.predict`."""

from __future__ import annotations

import logging

import hydra
from omegaconf import DictConfig

from src.cli import exit_codes, run_command
from src.config.validation import check_options
from src.datamodules.text_problems import EMPTY, UNKNOWN, find_problems
from src.errors import SHOWN
from src.prediction.label_file import Options, label_file
from src.prediction.predictor import Predictor
from src.runs.find import find_run

__all__ = ["Predictor"]

log = logging.getLogger(__name__)


def shown(predictor: Predictor, text: str, top: int) -> str:
    """What a run says of a text, a line for each label or guess; labels that count are marked for multi-label runs."""
    if predictor.space.objective == "mlm":
        guesses = predictor.fill(text, top)
        return "\n\n".join("\n".join(f"{name:20} {share:.3f}" for name, share in part) for part in guesses)
    tokens = predictor.tokens([text])
    problems = find_problems(tokens, predictor.tokenizer)
    for what, places in ((EMPTY, problems.empty), (UNKNOWN, problems.unknown)):
        if len(places):
            log.warning("%s; labels say nothing there", what.format("the text"))
    if len(problems.truncated):
        log.warning(
            "Only the first %d of %s tokens are read, as in training.",
            predictor.max_length,
            f"{tokens.full_lengths[0]:,}",
        )
    probabilities = predictor.classify(tokens)
    chosen = predictor.decide(probabilities)[0] if predictor.space.objective == "multilabel" else ()
    scored = sorted(zip(predictor.space.names, probabilities[0], strict=True), key=lambda scored: -scored[1])
    lines = [
        f"{name:20} {share:.3f}{' *' if name in chosen else ''}"
        for place, (name, share) in enumerate(scored)
        if place < SHOWN or name in chosen
    ]
    rest = len(scored) - len(lines)
    return "\n".join([*lines, *([f"and {rest:,} more labels"] if rest else [])])


def predict(cfg: DictConfig) -> None:
    """Does what a config composed from conf/predict.yaml says.

    Raises:
        UserError: it cannot be done.
    """
    options = check_options(cfg, Options)
    folder = find_run(options.run, options.sweep_folder)
    if options.text is not None:
        print(shown(Predictor.load(folder.path, options.precision), options.text, options.top))
        return
    label_file(folder, options)


@hydra.main(version_base="1.3", config_path="../conf", config_name="predict")
def main(cfg: DictConfig) -> None:
    with exit_codes():
        predict(cfg)


if __name__ == "__main__":
    run_command(main, "predict", verbatim=("run", "sweep_folder", "text", "input", "output"))

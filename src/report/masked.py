"""What a run of masked language modelling leaves: scores beside those of knowing only how frequent each token is."""

from __future__ import annotations

from src.datamodules.datamodule import MaskedDataModule
from src.modules.masked_language_model import MaskedLanguageModel
from src.report.outcome import Outcome

LINES = (
    ("perplexity", "perplexity", 2),
    ("by frequencies alone", "unigram_perplexity", 2),
    ("accuracy", "accuracy", 3),
    ("among the five likeliest", "accuracy_top5", 3),
)


def conclude(module: MaskedLanguageModel, datamodule: MaskedDataModule) -> Outcome:
    """The outcome of a model whose best weights have just been validated and tested."""
    splits = ("validation", "test")
    scores = {
        name: {**module.measured[name], "unigram_perplexity": datamodule.unigram_perplexity(name)} for name in splits
    }
    lines = [f"{'':24}{'validation':>12}{'test':>12}"]
    for title, key, digits in LINES:
        lines.append(f"{title:24}" + "".join(f"{scores[name][key]:>12.{digits}f}" for name in splits))
    test = scores["test"]
    frequencies = f"{test['unigram_perplexity']:.0f} by frequencies alone"
    return Outcome(
        metrics=scores,
        details={},
        report=("masked_words.txt", "\n".join(lines) + "\n"),
        figures={},
        headline=f"Test perplexity {test['perplexity']:.1f} ({frequencies}), accuracy {test['accuracy']:.3f}",
        curve=("perplexity", scores["validation"]["unigram_perplexity"]),
    )

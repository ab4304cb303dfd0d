"""The output of masked language modelling: scores next to those of a unigram baseline (token frequencies alone)."""

from __future__ import annotations

from src.datamodules.datamodule import MaskedDataModule
from src.modules.masked_language_model import MaskedLanguageModel
from src.report.outcome import Outcome, Shown

LINES = (
    ("perplexity", "perplexity", 2),
    ("unigram perplexity", "unigram_perplexity", 2),
    ("accuracy", "accuracy", 3),
    ("top-5 accuracy", "accuracy_top5", 3),
)


def conclude(module: MaskedLanguageModel, datamodule: MaskedDataModule) -> Outcome:
    """Returns the outcome of a masked language model after validating and testing its best weights."""
    splits = ("validation", "test")
    scores = {
        name: {**module.measured[name], "unigram_perplexity": datamodule.unigram_perplexity(name)} for name in splits
    }
    lines = [f"{'':24}{'validation':>12}{'test':>12}"]
    for title, key, digits in LINES:
        lines.append(f"{title:24}" + "".join(f"{scores[name][key]:>12.{digits}f}" for name in splits))
    test = scores["test"]
    unigram = f"unigram baseline {test['unigram_perplexity']:.0f}"
    return Outcome(
        metrics=scores,
        details={},
        headline=f"Test perplexity {test['perplexity']:.1f} ({unigram}), masked-token accuracy {test['accuracy']:.3f}",
        show=lambda: Shown(("masked_words.txt", "\n".join(lines) + "\n")),
        curve=("perplexity", scores["validation"]["unigram_perplexity"]),
    )

"""Explains texts by one run or two, and writes their pages into a folder."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from src.data.texts import Text
from src.explanation.explanation import explain
from src.explanation.options import Options
from src.explanation.page import Side, check_size, run_title, write_index, write_page
from src.explanation.question import Question
from src.explanation.tokens import Tokens, split
from src.explanation.windows import decisive
from src.files.staged import staged_folder
from src.freezing.reached_phases import trained_phases
from src.freezing.strategy import trained_in
from src.prediction.predictor import Predictor
from src.runs.folder import RunFolder


@dataclass(frozen=True)
class Explainer:
    """A run that explains texts.

    Args:
        title: its name on the pages.
        run: its folder.
        predictor: of the run.
        question: what it explains.
    """

    title: str
    run: RunFolder
    predictor: Predictor
    question: Question

    @classmethod
    def load(cls, title: str, run: RunFolder, options: Options) -> Explainer:
        """
        Raises:
            UserError: the run cannot be loaded, or its model does not have the chosen layers or heads.
        """
        predictor = Predictor.load(run.path, "float32", "cpu")
        return cls(title, run, predictor, Question.of(options, predictor, run))

    def tokens(self, text: Text) -> Tokens:
        """Returns the tokens of a text; of a document that is read in windows, those of the one that decides.

        Raises:
            UserError: they are too many for a page.
        """
        predictor = self.predictor
        found = decisive(predictor.network, split(text, predictor.tokenizer, predictor.data.reading))
        check_size(len(found.ids), self.question)
        return found

    def side(self, tokens: Tokens, on_step: Callable[[str], object]) -> Side:
        """Returns the explanation of a text, for its page.

        Args:
            tokens: of the text.
            on_step: called with the name of each step of the work.
        """
        predictor = self.predictor
        found = explain(predictor.network, tokens, self.question, on_step)
        given = None
        if predictor.thresholds is not None:
            (given,) = predictor.decide(np.array([[*found.probabilities.values()]], dtype=np.float32))
        states = stage_states(predictor)
        return Side(self.title, str(self.run.path), predictor.result["strategy"], states, found, given)


def stage_states(predictor: Predictor) -> dict[str, str]:
    """Returns for each stage whether the run trained all, part or none of it in the phases that it reached."""
    network, done = predictor.network, predictor.result.get("phases")
    names = network.trained if done is None else trained_in(trained_phases(network.phases, done))
    states = {}
    for stage in network.stages:
        trained = names.intersection(stage.parameters)
        states[stage.name] = "frozen" if not trained else "trained" if trained == set(stage.parameters) else "in part"
    return states


def write_explanations(runs: Sequence[RunFolder], texts: Sequence[Text], options: Options, target: Path) -> None:
    """Explains texts, and writes their pages: of the texts of a file one folder each, beside an index.

    Args:
        runs: one or two.
        texts: to explain.
        options: of the command.
        target: the folder, which does not exist yet.

    Raises:
        UserError: a run cannot be used, a text is too long for a page, or the folder cannot be written.
    """
    names = [run_title(run.name, run.read_result()) for run in runs]
    titles = names if len(runs) == 1 else [f"{side}: {name}" for side, name in zip("AB", names, strict=True)]
    explainers = [Explainer.load(title, run, options) for title, run in zip(titles, runs, strict=True)]
    read = [[one.tokens(text) for one in explainers] for text in texts]
    several = options.input is not None
    try:
        with staged_folder(target, "Free disk space or change the permissions.") as folder, _bar() as bar:
            task, pages = bar.add_task("", total=len(read)), []
            for number, tokens in enumerate(read, start=1):
                sides = _sides(explainers, tokens, lambda step: bar.update(task, description=step))
                bar.update(task, description="figures")
                pages.append(write_page(sides, folder / f"{number:04}" if several else folder))
                bar.update(task, advance=1, description="")
            if several:
                write_index(pages, titles, folder, explainers[0].predictor.space.is_regression)
    finally:
        with contextlib.suppress(OSError):  # it holds other explanations
            target.parent.rmdir()


def _sides(explainers: Sequence[Explainer], read: Sequence[Tokens], on_step: Callable[[str], object]) -> list[Side]:
    return [one.side(tokens, on_step) for one, tokens in zip(explainers, read, strict=True)]


def _bar() -> Progress:
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    return Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())

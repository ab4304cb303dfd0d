"""A file of texts -> the same file with labels and probabilities, a part at a time; and how right they are."""

from __future__ import annotations

import contextlib
import itertools
import logging
import sys
from collections.abc import Callable, Container, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from pydantic import Field, model_validator
from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from src.config.data import Data, Label, OneColumn, Quoting
from src.config.sections import Positive, Section
from src.data.label_columns import read_labels
from src.data.label_matching import encode
from src.datamodules.text_problems import EMPTY, UNKNOWN, counted, find_problems, first_rows
from src.errors import UserError
from src.files.paths import user_path
from src.prediction.predictor import Predictor
from src.runs.folder import RunFolder
from src.tables.content import Layout
from src.tables.lines import STDIN
from src.tables.tables import Table, stream_table
from src.tables.writing import STDOUT, Columns, open_table

if TYPE_CHECKING:
    from src.datamodules.tokenizing import Tokens

log = logging.getLogger(__name__)

ROWS = 8_192  # in memory at a time


class Options(Section):
    """What conf/predict.yaml must hold."""

    run: Annotated[str, Field(min_length=1)]
    sweep_folder: str | None
    text: str | None
    input: Annotated[str, Field(min_length=1)] | None
    output: Annotated[str, Field(min_length=1)] | None
    evaluate: bool
    text_column: OneColumn | None
    label_column: Label | None
    header: bool | None
    quoting: Quoting | None
    precision: Literal["float32", "bf16"] | None
    top: Positive

    @model_validator(mode="after")
    def is_consistent(self) -> Self:
        if (self.text is None) == (self.input is None):
            raise ValueError("Give either text=… or input=FILE (- for standard input)")
        if self.text is not None and not self.text.strip():
            raise ValueError('text must hold words; it is blank. For example: text="The movie was fantastic!"')
        if self.input is None and (self.output is not None or self.evaluate):
            raise ValueError("output=… and evaluate=true belong to input=FILE; a text is answered on the terminal")
        return self


def label_file(folder: RunFolder, options: Options) -> None:
    """Labels the rows of a file by a run, and measures the labels where the true ones are known.

    Args:
        folder: of the run.
        options: with an input.

    Raises:
        UserError: the file or the run cannot be used.
    """
    source, target = user_path(options.input or STDIN), user_path(options.output or STDOUT)
    if source != STDIN and target.exists() and source.exists() and target.samefile(source):
        raise UserError(f"output must be another file than input; both are {source}.\nGive another: output=…")
    tables = stream_table(source, ROWS, Layout.like(folder.saved_config(), options.header, options.quoting))
    first = next(tables)  # what is wrong with the file is said before a model is loaded
    predictor = Predictor.load(folder.path, options.precision)
    if predictor.space.objective == "mlm":
        raise UserError(
            f"input=… is for runs that learned labels; {folder.path} learned to fill in masked words.\n"
            f'Give it a text: text="… {predictor.tokenizer.mask_token} …", or give a run that learned labels.'
        )
    labeller = Labeller(predictor, _columns(predictor.cfg.data, options), options.evaluate)
    with open_table(target) as write, _progress() as advance:
        for table in itertools.chain([first], tables):
            write(labeller(table))
            advance(len(table.rows))
        if options.evaluate and len(labeller.blank) == labeller.rows:
            raise UserError(
                f"There must be a row with a text to evaluate; {first.source} has none.\n"
                "Is it the right column? Name it: text_column=…"
            )
    labeller.say_unread(first.unit)
    if options.evaluate:
        print(labeller.measured(), file=sys.stderr if target == STDOUT else sys.stdout)


class Labeller:
    """Adds what a run says to one part of a table after the other, and remembers what an evaluation needs.

    Args:
        predictor: of the run.
        data: how the table's columns are called, and what its labels look like.
        evaluate: whether it has true labels, and these are of interest.
    """

    def __init__(self, predictor: Predictor, data: Data, evaluate: bool) -> None:
        self.predictor, self.data, self.evaluate = predictor, data, evaluate
        self.rows = 0  # so far
        self.blank: list[int] = []  # those without a text
        self.unread: dict[str, list[int]] = {
            EMPTY: [],
            UNKNOWN: [],
        }  # those whose text comes to no token that says something
        self.cut = 0  # those of which the end is not read
        self.seen: list[tuple[NDArray[np.float32], NDArray[Any]]] = []  # probabilities and targets of each part

    def __call__(self, table: Table) -> Columns:
        """The columns of the table, and behind them the label and the probability of each label; none where there is
        no text.

        Raises:
            UserError: a column is missing, or a row that is to be evaluated has no label of the run's.
        """
        texts = table.texts(self.data.text, "text_column")
        self.rows += len(texts)
        filled = [i for i, text in enumerate(texts) if text.strip()]
        self.blank += [table.rows[i] for i, text in enumerate(texts) if not text.strip()]
        targets = self._targets(table, filled) if self.evaluate else None
        tokens = self.predictor.tokens([texts[i] for i in filled])
        self._note_unread(tokens, [table.rows[i] for i in filled])
        probabilities = self.predictor.classify(tokens)
        if targets is not None:
            self.seen.append((probabilities, targets))
        found: Columns = dict(table.columns)
        decided = self.predictor.decide(probabilities)
        joined = [names[0] if self.predictor.space.objective != "multilabel" else names for names in decided]
        added = {"prediction": joined}
        for name, column in zip(self.predictor.space.names, probabilities.T.tolist(), strict=True):
            added[f"probability_{name}"] = column
        for name, values in added.items():
            spread = dict(zip(filled, values, strict=True))
            found[_free(name, table.columns)] = [spread.get(i) for i in range(len(texts))]
        return found

    def _targets(self, table: Table, filled: Sequence[int]) -> NDArray[Any]:
        columns = {name: [values[i] for i in filled] for name, values in table.columns.items()}
        kept = Table(table.source, columns, [table.rows[i] for i in filled], table.unit)
        return encode(read_labels(kept, self.data, "label_column"), self.predictor.space, self.data)

    def _note_unread(self, tokens: Tokens, rows: Sequence[int]) -> None:
        problems = find_problems(tokens, self.predictor.tokenizer)
        self.cut += len(problems.truncated)
        for what, places in ((EMPTY, problems.empty), (UNKNOWN, problems.unknown)):
            self.unread[what] += [rows[place] for place in places]

    def say_unread(self, unit: str) -> None:
        """Says which rows have no label, or one that their texts say little of.

        Args:
            unit: what rows are called.
        """
        if self.blank:
            log.warning(
                "%s without a text got no label: %s", counted(len(self.blank), "row"), first_rows(unit, self.blank)
            )
        for what, rows in self.unread.items():
            if rows:
                count, named = counted(len(rows), "text"), first_rows(unit, rows)
                log.warning("%s: %s; labels say nothing there", what.format(count), named)
        if self.cut:
            texts, length = counted(self.cut, "text"), self.predictor.max_length
            share = self.cut / (self.rows - len(self.blank))
            log.warning("Only the first %d tokens of %s (%s) were read, as in training.", length, texts, f"{share:.1%}")

    def measured(self) -> str:
        """The classification report of all parts, as after training, and the scores."""
        import torch

        from src.modules import metrics
        from src.modules.classification_report import report_text

        space = self.predictor.space
        probabilities, targets = (np.concatenate(parts) for parts in zip(*self.seen, strict=True))
        thresholds = self.predictor.thresholds if space.objective == "multilabel" else None
        predicted = probabilities.argmax(1) if thresholds is None else (probabilities >= thresholds).astype(np.int64)
        scores = metrics.measure(
            torch.from_numpy(probabilities),
            torch.from_numpy(targets),
            space,
            None if thresholds is None else torch.from_numpy(thresholds),
        )
        report = report_text(predicted, targets.astype(np.int64), space)
        return report + "\n" + "\n".join(f"{name:20} {score:.3f}" for name, score in scores.items())


def _columns(trained: DictConfig, options: Options) -> Data:
    """The data section of a run, with the columns of the file that is to be labelled."""
    given = {key: column for key in ("text", "label") if (column := getattr(options, f"{key}_column")) is not None}
    if isinstance(options.label_column, list):  # says all that there is to say of labels
        given |= {"label_delimiter": None, "label_names": None, "task": "auto"}
    return Data.model_validate(OmegaConf.to_container(OmegaConf.merge(trained, given)))


def _free(name: str, taken: Container[str]) -> str:
    """The name, or with the first number behind it that makes it a new one."""
    names = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
    return next(name for name in names if name not in taken)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[int], None]]:
    """Shows how many rows are done, and vanishes when there is a mistake to tell; yields what is told of more rows."""
    columns = (TextColumn("{task.completed:,} rows"), _Rate(), TimeElapsedColumn())
    bar = Progress(*columns, console=Console(stderr=True))
    task = bar.add_task("", total=None)
    # The bar's own context would leave a blank line, whatever has happened.
    with bar.live:
        try:
            yield lambda rows: bar.update(task, advance=rows)
        except UserError:
            bar.live.transient = True
            raise
    bar.stop()


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.completed / max(task.elapsed or 0.0, 1e-9):,.0f} rows/s")

"""Adds predicted labels and probabilities to a file of texts, chunk by chunk, and evaluates them."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from src.arrays import NDArray
from src.config.data import Data, Label
from src.config.given_texts import GivenTexts
from src.config.sections import Positive
from src.config.validation import check
from src.config.wording import counted
from src.data.label_columns import read_labels
from src.data.label_matching import encode
from src.data.labels import LabelSpace
from src.data.target_values import read_targets
from src.data.texts import is_blank, other_columns, read_texts
from src.datamodules.text_problems import EMPTY, UNKNOWN, find_problems, named_rows
from src.errors import UserError
from src.files.paths import user_path
from src.prediction.predictor import Predictor
from src.prediction.progress import progress
from src.runs.folder import RunFolder
from src.tables.content import Layout
from src.tables.opening import STDIN, name_of
from src.tables.patterns import matched
from src.tables.tables import Table, stream_tables
from src.tables.writing import STDOUT, Columns, Types, open_table

if TYPE_CHECKING:
    from src.datamodules.ragged import Tokens

log = logging.getLogger(__name__)

ROWS = 8_192  # per chunk in memory


class Options(GivenTexts):
    """The options of conf/predict.yaml."""

    output: Annotated[str, Field(min_length=1)] | None
    evaluate: bool
    label_column: Label | None
    precision: Literal["float32", "bf16"] | None
    top: Positive | None

    @model_validator(mode="after")
    def is_consistent(self) -> Self:
        if self.input is None and (self.output is not None or self.evaluate):
            raise ValueError("output=… and evaluate=true require input=FILE; predictions for text=… are printed")
        return self


def label_file(folder: RunFolder, options: Options) -> None:
    """Labels the rows of a file with a run, and evaluates the labels if the true ones are known.

    Args:
        folder: of the run.
        options: with `input`.

    Raises:
        UserError: the file or the run cannot be used.
    """
    source, target = user_path(options.input or STDIN), user_path(options.output or STDOUT)
    for file in matched(source, "input"):
        if file != STDIN and target.exists() and file.exists() and target.samefile(file):
            raise UserError(f"output must be another file than input; both are {file}.\nChoose another: output=…")
    trained = check(folder.saved_config("network")).data
    layout = Layout.like(trained, options.header, options.quoting, options.delimiter, options.encoding)
    tables = stream_tables(source, ROWS, layout)
    first, data = next(tables), _columns(trained, options)
    space = LabelSpace.of(folder.read_result())
    _check_rows(first, data, space, folder, options.evaluate)  # before a model is loaded, which takes many seconds
    added = _added_columns(space, options.top)
    types = dict(zip(_unique_names(added, first.columns), added.values(), strict=True))
    with open_table(target, types=types) as write:
        labeller = Labeller(Predictor.load(folder.path, options.precision), data, options.evaluate, options.top)
        with progress() as advance:
            for table in itertools.chain([first], tables):
                write(labeller(table))
                advance(len(table.rows))
            if options.evaluate and len(labeller.blank) == labeller.rows:
                raise UserError(
                    f"An evaluation needs a row with a text; {name_of(source)} has none.\n"
                    "Is it the right column? Name it: text_column=…"
                )
    labeller.warn_unread(first.unit)
    if options.evaluate:
        print(labeller.report(), file=sys.stderr if target == STDOUT else sys.stdout)


class Labeller:
    """Adds a run's predictions to the chunks of a table, and collects what an evaluation needs.

    Args:
        predictor: of the run.
        data: the names of the table's columns and the format of its labels.
        evaluate: whether to collect the true labels too.
        top: how many labels to add with their probabilities, the most probable first; None: the probability of each.
    """

    def __init__(self, predictor: Predictor, data: Data, evaluate: bool, top: int | None = None) -> None:
        self.predictor, self.data, self.evaluate, self.top = predictor, data, evaluate, top
        self.added = _added_columns(predictor.space, top)
        self.rows = 0  # so far
        self.blank: list[str] = []  # rows without a text
        self.unread: dict[str, list[str]] = {
            EMPTY: [],
            UNKNOWN: [],
        }  # rows whose text has no known tokens
        self.cut = 0  # number of truncated texts
        self.seen: list[tuple[NDArray[np.float32], NDArray[Any]]] = []  # probabilities and targets of each chunk

    def __call__(self, table: Table) -> Columns:
        """Returns the columns of the table, followed by the predicted label and the probability of each label, or by
        the predicted number of each target; null for rows without a text.

        Raises:
            UserError: a column is missing, or the true label of a row is not a label of the run.
        """
        texts = read_texts(table, self.data, "text_column")
        self.rows += len(texts)
        filled = [i for i, text in enumerate(texts) if not is_blank(text)]
        self.blank += table.places([i for i, text in enumerate(texts) if is_blank(text)])
        targets = _targets(table, filled, self.data, self.predictor.space) if self.evaluate else None
        tokens = self.predictor.tokens([texts[i] for i in filled])
        self._note_unread(tokens, table, filled)
        probabilities = self.predictor.classify(tokens)
        if targets is not None:
            self.seen.append((probabilities, targets))
        found: Columns = dict(table.columns)
        names = _unique_names(self.added, table.columns)
        for name, values in zip(names, self._predicted(probabilities), strict=True):
            by_row = dict(zip(filled, values, strict=True))
            found[name] = [by_row.get(i) for i in range(len(texts))]
        return found

    def _predicted(self, probabilities: NDArray[np.float32]) -> list[list[Any]]:
        """Returns what is predicted of each text: the values of the `added` columns."""
        space, columns = self.predictor.space, probabilities.T.tolist()
        if space.is_regression:
            return [*columns]
        chosen = self.predictor.decide(probabilities)
        if space.objective == "multilabel":
            found: list[list[Any]] = [chosen]
        else:
            names = [name for (name,) in chosen]
            places = [space.names.index(name) for name in names]
            found = [names, probabilities[np.arange(len(places)), places].tolist()]
        if self.top is None:
            return [*found, *columns]
        return [*found, *self._most_probable(probabilities, min(self.top, len(space.names)))]

    def _most_probable(self, probabilities: NDArray[np.float32], count: int) -> Iterator[list[Any]]:
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
        values, names = np.take_along_axis(probabilities, order, axis=1), np.array(self.predictor.space.names, object)
        for rank in range(count):
            yield names[order[:, rank]].tolist()
            yield values[:, rank].tolist()

    def _note_unread(self, tokens: Tokens, table: Table, rows: Sequence[int]) -> None:
        problems = find_problems(tokens, self.predictor.tokenizer, self.data.pairs)
        self.cut += len(problems.truncated)
        for what, indices in ((EMPTY, problems.empty), (UNKNOWN, problems.unknown)):
            self.unread[what] += table.places([rows[index] for index in indices])

    def warn_unread(self, unit: str) -> None:
        """Warns of rows without a text, rows whose texts have no known tokens, and truncated texts.

        Args:
            unit: the name of a row in the file, such as `line`.
        """
        if self.blank:
            log.warning(
                "%s without a text got no label: %s", counted(len(self.blank), "row"), named_rows(unit, self.blank)
            )
        for what, rows in self.unread.items():
            if rows:
                count, named = counted(len(rows), "text"), named_rows(unit, rows)
                log.warning("%s: %s; their labels are meaningless", what.format(count), named)
        if self.cut:
            texts = counted(self.cut, "text")
            read = self.predictor.data.reading
            fraction = self.cut / (self.rows - len(self.blank))
            log.warning("%s (%s) were truncated to %s, as in training.", texts, f"{fraction:.1%}", read)

    def report(self) -> str:
        """Returns the classification report of all chunks, as after training, and the scores; of numbers, only the
        scores."""
        import torch

        from src.models.heads import decide
        from src.modules import metrics
        from src.modules.classification_report import report_text

        space = self.predictor.space
        probabilities, targets = (np.concatenate(parts) for parts in zip(*self.seen, strict=True))
        probs, thresholds = torch.from_numpy(probabilities), self.predictor.thresholds
        scores = metrics.measure(probs, torch.from_numpy(targets), space, thresholds)
        lines = "\n".join(f"{name:20} {score:.3f}" for name, score in scores.items())
        if space.is_regression:
            return lines
        predicted = decide(probs, space.objective, thresholds).numpy()
        return f"{report_text(predicted, targets.astype(np.int64), space)}\n{lines}"


def _check_rows(table: Table, data: Data, space: LabelSpace, folder: RunFolder, evaluate: bool) -> None:
    """
    Args:
        table: the first rows of the input.
        data: the names of its columns and the format of its labels.
        space: of the run.
        folder: of the run.
        evaluate: whether the true labels are needed too.

    Raises:
        UserError: the run predicts no labels, a column is missing, or a row cannot be used.
    """
    if space.objective == "mlm":
        raise UserError(
            f"input=… requires a classifier; {folder.path} is a masked language model.\n"
            "Give it a text with a mask token: text=…, or choose the run of a classifier."
        )
    texts = read_texts(table, data, "text_column")
    if evaluate:
        _targets(table, [i for i, text in enumerate(texts) if not is_blank(text)], data, space)


def _targets(table: Table, rows: Sequence[int], data: Data, space: LabelSpace) -> NDArray[Any]:
    """Returns the true labels, or numbers, of these rows of a table.

    Raises:
        UserError: a column is missing, or a row has no label of the run.
    """
    columns = {name: [values[i] for i in rows] for name, values in table.columns.items()}
    kept = dataclasses.replace(table, columns=columns, rows=[table.rows[i] for i in rows])
    if space.is_regression:
        return read_targets(kept, data, "label_column")
    return encode(read_labels(kept, data, "label_column"), space, data)


def _columns(trained: Data, options: Options) -> Data:
    """Returns the data section of a run with the columns of the input file.

    Raises:
        UserError: there are more or fewer columns of texts than in training.
    """
    texts = trained if options.text_column is None else other_columns(trained, options.text_column, "text_column")
    given: dict[str, Any] = {} if options.label_column is None else {"label": options.label_column}
    if isinstance(options.label_column, list):  # one column per label replaces all other settings of labels
        task = trained.task if trained.task == "regression" else "auto"
        given |= {"label_delimiter": None, "label_names": None, "task": task}
    return texts.model_copy(update=given)


def _added_columns(space: LabelSpace, top: int | None) -> Types:
    """Returns the columns that are added to a file, and what they hold."""
    if space.is_regression:
        return {f"prediction_{name}": "number" for name in space.names}
    found: dict[str, Any] = {"prediction": "text", "confidence": "number"}
    if space.objective == "multilabel":
        found = {"prediction": "texts"}
    if top is None:
        return found | {f"probability_{name}": "number" for name in space.names}
    for rank in range(1, min(top, len(space.names)) + 1):
        found |= {f"label_{rank}": "text", f"probability_{rank}": "number"}
    return found


def _unique_names(names: Iterable[str], taken: Iterable[str]) -> list[str]:
    """Returns the names, each with the first number appended that makes it unique if it is taken."""
    used, found = {*taken}, []
    for name in names:
        choices = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
        found.append(next(choice for choice in choices if choice not in used))
        used.add(found[-1])
    return found

"""The texts to explain and the runs that explain them, checked before a model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from src.config.validation import check
from src.data.label_matching import finder
from src.data.label_values import value
from src.data.labels import LabelSpace
from src.data.texts import Text, check_kind, is_blank, other_columns, read_texts
from src.errors import UserError, listed, nearest
from src.explanation.options import Options
from src.files.paths import user_path
from src.runs.folder import RunFolder
from src.tables.content import Layout
from src.tables.tables import first_rows


def check_runs(runs: Sequence[RunFolder], labels: Sequence[Any] | None) -> list[str] | None:
    """Checks that the runs can explain these labels; returns their names in the runs.

    Raises:
        UserError: a run is not finished or has no labels, the runs have different labels, or a label does not exist.
    """
    results = [run.read_result() for run in runs]
    for run, result in zip(runs, results, strict=True):
        if result["objective"] == "mlm":
            raise UserError(
                f"Only classifiers can be explained; {run.path} is a masked language model.\n"
                "Give a run of model=bert_linear or model=bert_bilstm."
            )
        if (result["objective"], result["labels"]) != (results[0]["objective"], results[0]["labels"]):
            raise UserError(
                f"against must be a run with the same labels; {runs[0].path} has {listed(results[0]['labels'])} "
                f"({results[0]['objective']}), {run.path} {listed(result['labels'])} ({result['objective']}).\n"
                "Give a run that was trained on the same data."
            )
    space = LabelSpace.of(results[0])
    return None if labels is None else [_name_of(label, space) for label in labels]


def _name_of(given: Any, space: LabelSpace) -> str:
    """Returns the run's own name of a label, which may be given as a number or a truth value.

    Raises:
        UserError: there is no such label, or several.
    """
    cell = value(given if isinstance(given, str | int | float) else str(given))
    found = [space.names[label] for label in finder(space)(cell)]
    if len(found) == 1:
        return found[0]
    hint = f"It may be {' or '.join(map(repr, found))}." if found else nearest(cell.name, space.names)
    literally = "" if isinstance(given, str) else " In quotes, a name is read as it is: \"labels=['1_000','true']\""
    raise UserError(f"labels must be labels of the run; got {given!r}.\n{hint}{literally}")


def texts_for(runs: Sequence[RunFolder], options: Options) -> list[Text]:
    """Returns the text that is given, or the first ones of the file.

    Args:
        runs: all of which explain them; the first one says how a file is read.
        options: of the command.

    Raises:
        UserError: the file cannot be read, lacks a column, or a row has no text; or the runs read pairs of texts and
            these are none, or the other way round.
    """
    if options.text is None:
        texts = _read_file(user_path(str(options.input)), options, runs[0])
    else:
        texts = [options.text if options.pair is None else (options.text, options.pair)]
    for run in runs:
        check_kind(texts[0], check(run.saved_config("network")).data)
    return texts


def _read_file(file: Path, options: Options, run: RunFolder) -> list[Text]:
    data = check(run.saved_config("network")).data
    layout = Layout.like(data, options.header, options.quoting, options.delimiter, options.encoding)
    table = first_rows(file, options.limit, layout)
    if options.text_column is not None:
        data = other_columns(data, options.text_column, "text_column")
    texts = read_texts(table, data, "text_column")
    empty = table.places([i for i, text in enumerate(texts) if is_blank(text)])
    if empty:
        raise UserError(
            f"Every row must have a text; {file} has none in {table.unit} {', '.join(empty[:5])}.\n"
            "Fill them in or delete them."
        )
    return texts

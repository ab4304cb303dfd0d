"""Explains the predictions of a finished run on HTML pages. The entry point of `python -m src.explain`.

Torch and libraries based on it are imported inside functions, so that invalid arguments are reported quickly.
"""

from __future__ import annotations

import itertools
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import hydra
import numpy as np
from omegaconf import DictConfig, ListConfig
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from src.cli import exit_codes, run_command
from src.config.text_files import Quoting, delimiter, encoding
from src.config.validation import check, check_complete
from src.data.texts import Text, check_kind, is_blank, other_columns, read_texts
from src.errors import UserError, listed, nearest
from src.files.paths import user_path
from src.files.staged import staged_folder
from src.freezing.reached_phases import trained_phases
from src.freezing.strategy import trained_in
from src.runs.find import check_named, find_run
from src.runs.folder import RunFolder
from src.runs.write_guard import refuse_links
from src.tables.content import Layout
from src.tables.tables import first_rows

if TYPE_CHECKING:
    from src.explanation.explanation import Question
    from src.explanation.page import Side
    from src.prediction.predictor import Predictor

NAME = re.compile(r"(?!\.)[^/\x00]{1,200}")  # a folder name
METHODS = ("integrated_gradients", "gradient_input", "occlusion", "attention")


def explain(cfg: DictConfig) -> Path:
    """Writes the pages and their data into the run's `explanations/NAME/`; returns the page to open first.

    Args:
        cfg: composed from conf/explain.yaml.

    Raises:
        UserError: the arguments, runs or texts cannot be used.
    """
    check_arguments(cfg)
    runs = [find_run(str(name), cfg.sweep_folder) for name in (cfg.run, cfg.against) if name]
    check_runs(runs, cfg.labels)
    texts = _given(cfg) if cfg.text is not None else read_file(user_path(cfg.input), cfg, runs[0])
    for run in runs:
        check_kind(texts[0], check(run.saved_config("network")).data)
    root = runs[0].path / "explanations"
    target = root / cfg.name if cfg.name else _unused(root, time.strftime("%Y-%m-%d_%H-%M-%S"))
    refuse_links([target.parent, target], runs[0].path)
    if target.exists():
        raise UserError(f"{target} already exists.\nChoose another name: name=…, or delete it.")
    return _explain(cfg, runs, texts, target)


def _given(cfg: DictConfig) -> list[Text]:
    return [str(cfg.text) if cfg.pair is None else (str(cfg.text), str(cfg.pair))]


def _unused(root: Path, name: str) -> Path:
    """Returns the folder of that name, with a number appended if a command of the same second has it."""
    names = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
    begun = [folder.name for folder in root.glob(".*")]
    free = (name for name in names if not any(other.startswith(f".{name}.") for other in begun))
    return next(root / name for name in free if not (root / name).exists())


def _explain(cfg: DictConfig, runs: Sequence[RunFolder], texts: Sequence[Text], target: Path) -> Path:
    from src.explanation import page as report
    from src.explanation import tokens, windows
    from src.prediction.predictor import Predictor

    predictors = [Predictor.load(run.path, "float32", "cpu") for run in runs]
    questions = [question(cfg, predictor, run) for predictor, run in zip(predictors, runs, strict=True)]
    split = [
        [windows.decisive(p.network, tokens.split(text, p.tokenizer, p.data.reading)) for p in predictors]
        for text in texts
    ]
    for read in split:
        for tokenized, asked in zip(read, questions, strict=True):
            report.check_size(len(tokenized.ids), asked)
    names = [report.run_title(run.name, one.result) for run, one in zip(runs, predictors, strict=True)]
    titles = names if len(runs) == 1 else [f"{side}: {name}" for side, name in zip("AB", names, strict=True)]
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    bar = Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())
    try:
        with staged_folder(target, "Free disk space or change the permissions.") as unfinished, bar:
            task, pages = bar.add_task("", total=len(split)), []
            for number, read in enumerate(split, start=1):
                sides = [
                    _side(*given, lambda step: bar.update(task, description=step))
                    for given in zip(titles, runs, predictors, read, questions, strict=True)
                ]
                bar.update(task, description="figures")
                folder = unfinished / f"{number:04}" if cfg.input is not None else unfinished
                pages.append(report.write_page(sides, folder))
                bar.update(task, advance=1, description="")
            if cfg.input is not None:
                report.write_index(pages, titles, unfinished, predictors[0].space.is_regression)
    finally:
        RunFolder(target.parent).discard_if_empty()
    return target / "index.html"


def _side(
    title: str, run: RunFolder, predictor: Predictor, read: Any, asked: Question, on_step: Callable[[str], object]
) -> Side:
    from src.explanation.explanation import explain as explain_text
    from src.explanation.page import Side

    network = predictor.network
    found = explain_text(network, read, asked, on_step)
    given = None
    if predictor.thresholds is not None:
        (given,) = predictor.decide(np.array([[*found.probabilities.values()]], dtype=np.float32))
    return Side(title, str(run.path), predictor.result["strategy"], stage_states(predictor), found, given)


def stage_states(predictor: Predictor) -> dict[str, str]:
    """Returns for each stage whether the run trained all, part or none of it in the phases that it reached."""
    network, done = predictor.network, predictor.result.get("phases")
    names = network.trained if done is None else trained_in(trained_phases(network.phases, done))
    states = {}
    for stage in network.stages:
        trained = names.intersection(stage.parameters)
        states[stage.name] = "frozen" if not trained else "trained" if trained == set(stage.parameters) else "in part"
    return states


def check_arguments(cfg: DictConfig) -> None:
    """Checks the arguments without reading the run.

    Raises:
        UserError: one message with all problems.
    """
    problems = []
    if cfg.pair is not None and (cfg.text is None or not str(cfg.pair).strip()):
        problems.append(
            'pair is the second text of a pair, beside text; both must hold words.\nGive text="…" pair="…".'
        )
    if (cfg.text is None) == (cfg.input is None):
        problems.append('Either a text or a file of texts is required.\nGive text="…" or input=file.csv, not both.')
    elif cfg.text is not None and not str(cfg.text).strip():
        problems.append('text must hold words; it is empty.\nFor example: text="The movie was fantastic!"')
    if cfg.header not in (True, False, None):
        problems.append(f"header must be true or false; got {cfg.header}.\nFor example: header=false.")
    if cfg.quoting not in (*get_args(Quoting), None):
        problems.append(f"quoting has no {cfg.quoting!r}.\n{nearest(str(cfg.quoting), get_args(Quoting))}")
    for key, checked in (("delimiter", delimiter), ("encoding", encoding)):
        try:
            cfg[key] is None or checked(cfg[key])
        except ValueError as error:
            problems.append(f"{key} {error}.")
    if not isinstance(cfg.limit, int) or isinstance(cfg.limit, bool) or cfg.limit < 1:
        problems.append(f"limit must be a number of rows of at least 1; got {cfg.limit}.\nFor example: limit=20.")
    if cfg.name is not None and not (isinstance(cfg.name, str) and NAME.fullmatch(cfg.name)):
        problems.append(
            f"name must be a folder name of up to 200 characters without slashes; got {cfg.name}.\n"
            "For example: name=first."
        )
    if not isinstance(cfg.methods, ListConfig) or not cfg.methods:
        problems.append(f"methods must be a list; got {cfg.methods}.\nChoose from: {', '.join(METHODS)}.")
    else:
        problems += [
            f"methods has no {name!r}.\n{nearest(str(name), METHODS)}" for name in cfg.methods if name not in METHODS
        ]
    if cfg.labels is not None and (not isinstance(cfg.labels, ListConfig) or not cfg.labels):
        problems.append(f"labels must be a list of names; got {cfg.labels}.\nFor example: labels=[positive].")
    if problems:
        raise UserError("\n".join(problems))


def check_runs(runs: Sequence[RunFolder], labels: Sequence[Any] | None) -> None:
    """Checks that the runs can explain these labels.

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
    known = results[0]["labels"]
    for label in map(str, labels or ()):
        if label not in known:
            raise UserError(f"labels must be labels of the run; got {label!r}.\n{nearest(label, known)}")


def read_file(file: Path, cfg: DictConfig, run: RunFolder) -> list[Text]:
    """Returns the first texts of a file.

    Raises:
        UserError: the file cannot be read, lacks a column, or a row has no text.
    """
    data = check(run.saved_config("network")).data
    marks = cfg.delimiter and delimiter(cfg.delimiter)
    layout = Layout.like(data, cfg.header, cfg.quoting, marks, cfg.encoding and encoding(cfg.encoding))
    table = first_rows(file, int(cfg.limit), layout)
    if cfg.text_column is not None:
        listed = [*map(str, cfg.text_column)] if isinstance(cfg.text_column, ListConfig) else str(cfg.text_column)
        data = other_columns(data, listed, "text_column")
    texts = read_texts(table, data, "text_column")
    empty = table.places([i for i, text in enumerate(texts) if is_blank(text)])
    if empty:
        raise UserError(
            f"Every row must have a text; {file} has none in {table.unit} {', '.join(empty[:5])}.\n"
            "Fill them in or delete them."
        )
    return texts


def question(cfg: DictConfig, predictor: Predictor, run: RunFolder) -> Question:
    """Returns what to explain of one run's model.

    Raises:
        UserError: the model does not have these layers or heads.
    """
    from src.explanation.explanation import Question

    model = predictor.network.encoder.config
    layers = indices("layers", cfg.layers, int(model.num_hidden_layers), run)
    heads = indices("heads", cfg.heads, int(model.num_attention_heads), run)
    return Question(list(cfg.methods), layers, heads, None if cfg.labels is None else [str(n) for n in cfg.labels])


def indices(key: str, given: Any, count: int, run: RunFolder) -> list[int]:
    """Returns the indices of the chosen layers or heads, in order.

    Raises:
        UserError: the value is not `all` or a list of existing indices.
    """
    if given == "all":
        return list(range(count))
    listed = list(given) if isinstance(given, ListConfig) else [given]
    wrong = [n for n in listed if not isinstance(n, int) or isinstance(n, bool) or not 0 <= n < count]
    if wrong or not listed:
        got = ", ".join(map(str, wrong)) or "none"
        raise UserError(
            f"{key} must be in 0..{count - 1} for {run.path}; got {got}.\n"
            f"Give a list such as {key}=[0,{count - 1}], or all."
        )
    return sorted(set(listed))


@hydra.main(version_base="1.3", config_path="../conf", config_name="explain")
def main(cfg: DictConfig) -> None:
    with exit_codes():
        check_named(cfg)
        check_complete(cfg)
        print(f"Written: {explain(cfg)}")


if __name__ == "__main__":
    run_command(main, "explain", verbatim=("run", "against", "sweep_folder", "text", "pair", "input"))

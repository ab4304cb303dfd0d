"""Run folders from elsewhere, and every command that opens one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from src.comparison.compare_runs import compare
from src.config.backbone import FromRun
from src.config.folder import CONF
from src.config.validation import check_options
from src.data.texts import Text
from src.explain import explain
from src.explanation.inputs import texts_for
from src.explanation.options import Options
from src.export import export
from src.models.masked_language import find_pretrained
from src.predict import Predictor
from src.runs.find import find_run
from src.runs.folder import RunFolder
from src.train import train

Content = dict[str, Any]  # of a config.yaml


def save(run: RunFolder, content: Content) -> None:
    (run.path / "config.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")


def files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]


@functools.cache
def config(name: str) -> DictConfig:
    """The config of a command; composing it takes long."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(name, ["run=unset"])


def command(name: str, run: RunFolder, **values: Any) -> DictConfig:
    cfg = config(name).copy()
    cfg.merge_with({"run": str(run.path), **values})
    return cfg


def explained_texts(run: RunFolder, **values: Any) -> list[Text]:
    """The texts that `explain` explains."""
    return texts_for([run], check_options(command("explain", run, **values), Options))


def resume(run: RunFolder) -> None:
    train(command("train", run, resume=True), run)


DOORS: dict[str, Callable[[RunFolder], Any]] = {
    "predict": lambda run: Predictor.load(run.path),
    "explain": lambda run: explain(command("explain", run, text="Good.")),
    "against": lambda run: explain(command("explain", run, against=str(run.path), text="Good.")),
    "export": lambda run: export(command("export", run, output=str(run.path.parent / "out"))),
    "compare": lambda run: compare(run.path.parent, "accuracy", None, None, 0.01, False),
    "resume": resume,
    "best": lambda run: find_run("best", str(run.path.parent)),
    "backbone": lambda run: find_pretrained(FromRun(run=str(run.path), attention="auto", lr=1e-4)),
}

"""Tiny random encoders, tiny tables and short runs. Nothing here needs a network."""

from __future__ import annotations

import contextlib
import copy
import csv
import functools
import logging
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

# Two threads of torch beside two of pytest would take turns instead of working; set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import pytest
import torch
import transformers
import yaml
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from matplotlib.image import imsave
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Callback

from src import predict
from src import train as training
from src.backbones.scratch import train_tokenizer
from src.config.backbone import Scratch
from src.config.folder import CONF
from src.models import inference
from src.models.checks import read_config
from src.pages import html
from src.report import run as run_report
from src.runs.folder import RunFolder
from src.training import parts

REVIEWS = CONF.parent / "src" / "data" / "reviews.csv"
SHARED = CONF.parent.parent / "shared" / "data"
WIDTH, LAYERS = 16, 3
SMALL: dict[str, Any] = {
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 66,
    "pad_token_id": 0,
}
CONFIGS: dict[str, Callable[[int], transformers.PretrainedConfig]] = {
    "bert": lambda vocab: transformers.BertConfig(vocab_size=vocab, **SMALL),
    "distilbert": lambda vocab: transformers.DistilBertConfig(
        vocab_size=vocab, dim=WIDTH, n_layers=LAYERS, n_heads=2, hidden_dim=32, max_position_embeddings=66
    ),
    "roberta": lambda vocab: transformers.RobertaConfig(vocab_size=vocab, **SMALL),
    "xlm-roberta": lambda vocab: transformers.XLMRobertaConfig(vocab_size=vocab, **SMALL),
    "electra": lambda vocab: transformers.ElectraConfig(vocab_size=vocab, embedding_size=8, **SMALL),
    "mpnet": lambda vocab: transformers.MPNetConfig(vocab_size=vocab, **SMALL),
    "deberta-v2": lambda vocab: transformers.DebertaV2Config(
        vocab_size=vocab,
        relative_attention=True,
        position_buckets=8,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        **SMALL,
    ),
    "modernbert": lambda vocab: transformers.ModernBertConfig(
        vocab_size=vocab, local_attention=8, cls_token_id=2, sep_token_id=3, bos_token_id=2, eos_token_id=3, **SMALL
    ),
    "albert": lambda vocab: transformers.AlbertConfig(vocab_size=vocab, embedding_size=8, **SMALL),
}
ARCHITECTURES = tuple(CONFIGS)
TYPED = ("bert", "roberta", "xlm-roberta", "electra", "albert")  # those that tell the texts of a pair apart by type
PAIRS = "[text,aspects]"  # columns of the reviews, as pairs
BF16 = pytest.mark.skipif(inference.emulates_bf16("cpu"), reason="this processor has no bfloat16")
SIZES = {"model=bert_linear": ["model.dropout=0.1"], "model=bert_mlm": []}  # of heads in short runs
# Rooms whose tests look at figures.
DRAWING = ("advice", "comparison", "docs", "explanation", "files", "race", "report")
Command = Callable[..., subprocess.CompletedProcess[str]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=0, help="how many runs tests/faults kills at random")
    told = "usual: of each test the first case, without those marked rare; other: what is left; all"
    parser.addoption("--cases", choices=["usual", "other", "all"], default="all", help=told)


@pytest.hookimpl(trylast=True)  # after -m and -k have chosen
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if (wanted := config.getoption("--cases")) == "all":
        return
    first = {item.nodeid.partition("[")[0]: item for item in reversed(items) if not item.get_closest_marker("rare")}
    usual = {*first.values()}
    left = [item for item in items if (item in usual) != (wanted == "usual")]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in {*left}]


def review_texts() -> list[str]:
    with REVIEWS.open(encoding="utf-8", newline="") as file:
        return [row["text"] for row in csv.DictReader(file)]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def blank_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes figures of runs and pages one white pixel, except in the rooms that draw: a quarter of a short run's time
    goes to them."""
    if request.path.parent.name not in DRAWING:
        for module in (run_report, html):
            monkeypatch.setattr(module, "write_png", lambda _, file, dpi: imsave(file, np.ones((1, 1, 3))))


@pytest.fixture(scope="session")
def tokenizer() -> transformers.PreTrainedTokenizerBase:
    """A WordPiece tokenizer of 400 tokens, trained on the embedded reviews."""
    settings, _ = read_config(
        composed("model=bert_mlm", "backbone=scratch", "backbone.vocabulary=400", "backbone.max_length=64")
    )
    assert isinstance(settings.backbone, Scratch)
    return train_tokenizer(review_texts(), settings.backbone)


@pytest.fixture(scope="session")
def backbone_folder(
    tokenizer: transformers.PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """The folder of a tiny random encoder of an architecture, with or without dropout, made on first use."""
    root = tmp_path_factory.mktemp("backbones")

    def make(architecture: str, dropout: bool = True) -> Path:
        folder = root / (architecture if dropout else f"{architecture}_without_dropout")
        if not folder.exists():
            torch.manual_seed(0)
            settings = CONFIGS[architecture](len(tokenizer))
            for key, value in settings.to_dict().items():
                if not dropout and "dropout" in key and isinstance(value, float):
                    setattr(settings, key, 0.0)
            transformers.AutoModel.from_config(settings).save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def tiny_bert(backbone_folder: Callable[[str], Path]) -> Path:
    return backbone_folder("bert")


def composed(*overrides: str) -> DictConfig:
    """The config of a run as the command line composes it. What it is without single values is composed once for each
    choice of groups, since that takes a fifth of a short run's time."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        assert isinstance(loader, ConfigLoaderImpl)
        parsed = OverridesParser.create(config_loader=loader).parse_overrides([*overrides])
        choices = [
            one
            for one in parsed
            if one.key_or_group.startswith("hydra.") or loader.repository.group_exists(one.key_or_group)
        ]
        cfg = copy.deepcopy(_chosen(tuple(str(one.input_line) for one in choices)))
    loader._apply_overrides_to_config([one for one in parsed if one not in choices], cfg)
    return cfg


@functools.cache
def _chosen(choices: tuple[str, ...]) -> DictConfig:
    return compose("train", ["run=unset", *choices])


def composed_for(command: str, **values: Any) -> DictConfig:
    """The config of another command, with values that are taken as they are."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose(command)
    cfg.merge_with(values)
    return cfg


@contextlib.contextmanager
def process_as_before() -> Iterator[None]:
    """Undoes what a command does to its process: handlers of the root logger, environment variables of a sweep, and
    Hydra's record of the command."""
    handlers, level, environment = logging.root.handlers[:], logging.root.level, {**os.environ}
    try:
        yield
    finally:
        HydraConfig.instance().cfg = None
        os.environ.clear()
        os.environ.update(environment)
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)


def refusal(command: str, arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command says of a mistake. It runs in this process, and must end with exit code 2 and without a traceback.

    Args:
        command: train, predict, …
        arguments: of the command.
        capsys: of the test.
    """
    GlobalHydra.instance().clear()
    capsys.readouterr()
    file = str(CONF.parent / "src" / f"{command}.py")
    with pytest.MonkeyPatch.context() as patch, process_as_before():
        patch.setattr(sys, "argv", [file, *arguments])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(file, run_name="__main__")
    said = capsys.readouterr()
    assert ended.value.code == 2, said
    assert "Traceback" not in said.out + said.err
    return said.err


def longer(folder: RunFolder, *changes: str) -> DictConfig:
    """The config with which a run that has ended goes on in this process, after some of its values have changed."""
    changed = OmegaConf.merge(folder.saved_config(), OmegaConf.from_dotlist([*changes]))
    (folder.path / "config.yaml").write_text(OmegaConf.to_yaml(changed))
    folder.write_status("interrupted")
    return composed(f"run={folder.path}", "resume=true")


def main(command: str, arguments: Sequence[str]) -> None:
    """Runs a command in this process, which must end well.

    Args:
        command: train, predict, …
        arguments: of the command.
    """
    GlobalHydra.instance().clear()
    file = str(CONF.parent / "src" / f"{command}.py")
    with pytest.MonkeyPatch.context() as patch, process_as_before():
        patch.setattr(sys, "argv", [file, *arguments])
        runpy.run_path(file, run_name="__main__")


@pytest.fixture
def run_tiny(tiny_bert: Path, tmp_path: Path) -> Callable[..., tuple[RunFolder, dict[str, Any]]]:
    """Trains in this process with the tiny BERT, on 60 reviews for two epochs unless told otherwise."""

    def run(*overrides: str, name: str = "run") -> tuple[RunFolder, dict[str, Any]]:
        folder = RunFolder(tmp_path / name)
        cfg = composed(
            f"backbone.name={tiny_bert}",
            "data.limit=60",
            "data.max_length=32",
            "trainer=cpu",
            "trainer.max_epochs=2",
            *SIZES.get(next((o for o in overrides if o.startswith("model=")), ""), ["model.hidden_size=8"]),
            "callbacks.progress=null",
            f"cache={tmp_path / 'cache'}",
            *overrides,
        )
        return folder, training.train(cfg, folder)

    return run


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a prediction prints, with these values of conf/predict.yaml."""

    def run(**values: Any) -> str:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose("predict")
        for key, value in values.items():
            cfg[key] = value
        capsys.readouterr()
        predict.predict(cfg)
        return capsys.readouterr().out

    return run


@pytest.fixture
def multirun(tmp_path: Path, tiny_bert: Path) -> Command:
    """Runs a whole sweep with a tiny backbone, in the folder `sweep`."""
    tiny = [f"backbone.name={tiny_bert}", "data.limit=40", "data.max_length=32", "trainer.max_epochs=1", "trainer=cpu"]
    options = [*tiny, "callbacks.progress=null", f"cache={tmp_path}", f"hydra.sweep.dir={tmp_path / 'sweep'}"]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "src.train", "-m", *arguments, *options]
        return subprocess.run(command, capture_output=True, text=True, cwd=CONF.parent, check=False, timeout=300)

    return run


@pytest.fixture(scope="session")
def finished(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that no test changes."""
    folder = RunFolder(tmp_path_factory.mktemp("finished") / "run")
    limits = ("data.limit=60", "data.max_length=32", "trainer=cpu", "trainer.max_epochs=1", "callbacks.progress=null")
    cache = f"cache={folder.path.parent / 'cache'}"
    overrides = (f"backbone.name={tiny_bert}", "model=bert_linear", "freeze=all", *limits, cache)
    training.train(composed(*overrides), folder)
    return folder


@pytest.fixture
def content(finished: RunFolder) -> dict[str, Any]:
    """What its config.yaml holds."""
    found: dict[str, Any] = yaml.safe_load((finished.path / "config.yaml").read_text(encoding="utf-8"))
    return found


@pytest.fixture
def run(finished: RunFolder, tmp_path: Path) -> RunFolder:
    """A run that a test may spoil."""
    shutil.copytree(finished.path, tmp_path / "sweep" / "run")
    return RunFolder(tmp_path / "sweep" / "run")


class Canary:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.path), "w"))


@contextlib.contextmanager
def power_cut(epoch: int, batch: int | None) -> Iterator[None]:
    """Interrupts the run that is started within: after this batch of this epoch has been saved, or, without a batch,
    before the epoch begins."""

    class Stop(Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, data: Any, index: int) -> None:
            if (trainer.current_epoch, index) == (epoch, batch):
                trainer.save_checkpoint(trainer.checkpoint_callback.last)
                raise RuntimeError("power cut")

        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            if trainer.current_epoch == epoch and batch is None:
                raise RuntimeError("power cut")

    real = parts.build_trainer

    def build(*arguments: Any) -> Any:
        trainer = real(*arguments)
        trainer.callbacks.insert(0, Stop())
        return trainer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "build_trainer", build)
        with pytest.raises(RuntimeError, match="power cut"):
            yield

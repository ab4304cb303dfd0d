"""Every file of conf/ composes and builds; every problem of a config is reported, all at once."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import hydra
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from src.cli import run_command
from src.config.folder import CONF
from src.config.length import length
from src.config.model import head_arguments
from src.config.trainer_switches import OWN
from src.config.validation import check
from src.runs.identity import config_hash
from src.training.loggers import PACKAGES
from tests.conftest import composed

REQUIRED = {
    ("backbone", "run"): ["backbone.run=outputs/runs/one"],
    ("data", "lines"): ["data.path=texts.txt", "model=bert_mlm"],
    ("data", "table"): ["data.path=reviews.csv"],
    ("data", "hub"): ["data.name=org/name"],
    ("freeze", "pattern"): ["freeze.frozen=[layer]"],
    ("freeze", "chain"): ["freeze.links=[{train:[head],epochs:1},{train:[all]}]"],
}
GROUPS = [
    (file.parent.name, file.stem)
    for file in sorted(CONF.glob("*/*.yaml"))
    if file.parent.name not in ("hydra", "experiment", "sweep")
]
SIZES = sorted(file.stem for file in (CONF / "backbone" / "size").glob("*.yaml"))
OVERLAYS = [(name, file.stem) for name in ("experiment", "sweep") for file in sorted((CONF / name).glob("*.yaml"))]


@pytest.mark.parametrize(("group", "option"), GROUPS)
def test_every_option_composes_and_is_valid(group: str, option: str) -> None:
    check(composed(f"{group}={option}", *REQUIRED.get((group, option), [])))


@pytest.mark.parametrize("size", SIZES)
def test_every_size_of_a_backbone_from_scratch_composes(size: str) -> None:
    check(composed("backbone=scratch", f"backbone/size={size}"))


@pytest.mark.parametrize(("group", "option"), OVERLAYS)
def test_every_overlay_composes_and_names_its_command(group: str, option: str) -> None:
    check(composed(f"{group}={option}"))
    lines = (CONF / group / f"{option}.yaml").read_text().splitlines()
    assert re.match(rf"# python -m src\.train .*{group}={option}", lines[1])


@pytest.mark.parametrize("texts", [672, 8530])
def test_all_sizes_of_a_learning_curve_have_the_same_steps_and_validations(texts: int) -> None:
    sweep = OmegaConf.load(CONF / "sweep" / "learning_curve.yaml").hydra.sweeper.params["data.train_size"]
    sizes = [float(size) for size in sweep.split(",")]
    trainers = [check(composed("sweep=learning_curve", f"data.train_size={size}")).trainer for size in sizes]
    batches = [math.ceil(size * texts / 32) for size in sizes]
    steps = [length(trainer, count).steps for trainer, count in zip(trainers, batches, strict=True)]
    assert steps[-1] == 10 * batches[-1]
    assert all(steps[-1] <= found <= 1.15 * steps[-1] for found in steps)
    assert {trainer.max_epochs / trainer.check_val_every_n_epoch for trainer in trainers} == {10}
    counted = check(composed("sweep=learning_curve", "data.train_size=100")).trainer
    assert (counted.max_epochs, counted.check_val_every_n_epoch) == (10, 1)


@pytest.mark.parametrize("file", sorted(CONF.rglob("*.yaml")), ids=lambda f: str(f.relative_to(CONF)))
def test_every_file_says_first_what_it_is(file: Path) -> None:
    assert re.match(r"# \S", file.read_text())


def targets(group: str) -> list[str]:
    return [option for name, option in GROUPS if name == group]


@pytest.mark.parametrize("option", [o for o in targets("model") if o != "bert_mlm"])  # which needs a whole backbone
def test_every_head_builds(option: str) -> None:
    head = hydra.utils.instantiate(head_arguments(composed(f"model={option}").model), width=8, outputs=3)
    assert head.reads in ("pooled", "tokens")


@pytest.mark.parametrize("option", targets("freeze"))
def test_every_strategy_builds(option: str) -> None:
    strategy = hydra.utils.instantiate(composed(f"freeze={option}", *REQUIRED.get(("freeze", option), [])).freeze)
    assert strategy.name


@pytest.mark.parametrize("option", targets("trainer"))
def test_the_trainer_has_every_switch_of_lightnings(option: str) -> None:
    import inspect

    import pytorch_lightning

    known = set(inspect.signature(pytorch_lightning.Trainer.__init__).parameters) - {"self"}
    assert set(composed(f"trainer={option}").trainer) == {"_target_", *OWN, *known}


@pytest.mark.parametrize("option", targets("callbacks") + targets("logger"))
def test_every_callback_and_logger_builds(option: str, tmp_path: Path) -> None:
    group = "callbacks" if option in targets("callbacks") else "logger"
    cfg = composed(f"{group}={option}")
    cfg.run = str(tmp_path)
    for node in cfg[group].values():
        if node and node._target_.rpartition(".")[2] in PACKAGES:
            pytest.importorskip(PACKAGES[node._target_.rpartition(".")[2]])
        assert node is None or hydra.utils.instantiate(node) is not None


@pytest.mark.parametrize("option", targets("scheduler"))
def test_every_schedule_builds_and_stays_within_the_rate(option: str) -> None:
    schedule = composed(f"scheduler={option}").scheduler.schedule
    plateau = option == "plateau"
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.5)
    scheduler = hydra.utils.instantiate(schedule, **({} if plateau else {"steps": 100}))(optimizer)
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step(*([1.0] if plateau else []))
    assert max(rates) == pytest.approx(0.5, rel=0.02)
    assert min(rates) > 0
    if option in ("linear", "cosine"):
        assert rates[0] < rates[5] == max(rates[:6])
        assert rates[6:] == sorted(rates[6:], reverse=True)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)


def command(*arguments: str, cwd: Path = CONF.parent) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "src.train", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
        timeout=120,
    )


def test_help_and_config_need_no_torch() -> None:
    code = "import sys, src.train, src.compare; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=CONF.parent, check=False).returncode == 0
    shown = command("--help").stdout
    assert "freeze: all, bitfit, bottom, bottom_2, chain, cut, embeddings, gradual, lora" in shown
    assert isinstance(OmegaConf.create(command("--cfg", "job").stdout), DictConfig)


@pytest.mark.parametrize("name", ["compare", "explain", "export", "predict"])
def test_help_of_a_command_without_groups_is_its_own_config(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    run_command(lambda: pytest.fail("the command ran"), name)
    shown = capsys.readouterr().out
    assert f"python -m src.{name} " in shown
    with initialize_config_dir(str(CONF), version_base="1.3"):
        assert OmegaConf.create(shown) == compose(name)


def test_a_run_from_before_a_key_is_known_again() -> None:
    now = composed("data=table", "data.path=reviews.csv")
    before = now.copy()
    OmegaConf.set_struct(before, False)
    del before.data.label_names
    assert check(before).data == check(now).data
    assert config_hash(before) == config_hash(now)
    named = composed("data=table", "data.path=reviews.csv", "data.label_names=[a,b]")
    assert config_hash(named) != config_hash(now)

"""Every file of conf/ composes and builds; every problem of a config is reported, all at once."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import hydra
import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from src.build import OWN_KEYS
from src.checking import check
from src.config import UserError
from src.runs import CONF
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


@pytest.mark.parametrize("file", sorted(CONF.rglob("*.yaml")), ids=lambda f: str(f.relative_to(CONF)))
def test_every_file_says_first_what_it_is(file: Path) -> None:
    assert re.match(r"# \S", file.read_text())


def targets(group: str) -> list[str]:
    return [option for name, option in GROUPS if name == group]


@pytest.mark.parametrize("option", [o for o in targets("model") if o != "bert_mlm"])  # which needs a whole backbone
def test_every_head_builds(option: str) -> None:
    head = hydra.utils.instantiate(composed(f"model={option}").model, width=8, outputs=3)
    assert head.reads in ("pooled", "tokens")


@pytest.mark.parametrize("option", targets("freeze"))
def test_every_strategy_builds(option: str) -> None:
    strategy = hydra.utils.instantiate(composed(f"freeze={option}", *REQUIRED.get(("freeze", option), [])).freeze)
    assert strategy.name


@pytest.mark.parametrize("option", targets("trainer"))
def test_every_trainer_key_is_one_of_lightnings(option: str) -> None:
    import inspect

    import pytorch_lightning

    known = inspect.signature(pytorch_lightning.Trainer.__init__).parameters
    assert set(composed(f"trainer={option}").trainer) - {"_target_", *OWN_KEYS} <= set(known)


@pytest.mark.parametrize("option", targets("callbacks") + targets("logger"))
def test_every_callback_and_logger_builds(option: str, tmp_path: Path) -> None:
    group = "callbacks" if option in targets("callbacks") else "logger"
    cfg = composed(f"{group}={option}")
    cfg.run = str(tmp_path)
    nodes = cfg.callbacks.values() if group == "callbacks" else [cfg.logger]
    for node in nodes:
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


def test_all_problems_are_reported_at_once_with_the_nearest_name() -> None:
    cfg = composed("freeze=bottom")
    OmegaConf.set_struct(cfg, False)
    cfg.data.batch_size = 0
    cfg.optimizer.lr = float("nan")
    cfg.model.dropout = "much"
    cfg.data.limitt = 3
    with pytest.raises(UserError) as caught:
        check(cfg)
    message = str(caught.value)
    assert "data.batch_size has a value that it cannot take: 0.\nIt should be greater than or equal to 1." in message
    assert "optimizer.lr has a value that it cannot take: nan." in message
    assert "model.dropout has a value that it cannot take: 'much'." in message
    assert "data.limitt is not a key of this config.\nDid you mean limit?" in message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"data.validation_fraction": 0.6, "data.test_fraction": 0.5},
            "must leave rows to train on; they add up to 1.1",
        ),
        ({"data.label": ["a", "b"], "data.task": "binary"}, "several label columns make multi-label data"),
        ({"backbone.package": None}, "backbone needs a name"),
        ({"data.path": None}, "data needs a path"),
        ({"monitor.metric": "accuracy"}, "monitor.metric has a value that it cannot take"),
        ({"trainer.max_epochs": 0}, "trainer.max_epochs"),
        ({"model.pooling": "cls"}, "It should be 'max', 'mean' or 'last'"),
    ],
)
def test_values_that_do_not_go_together_are_refused(changes: dict[str, object], message: str) -> None:
    cfg = composed()
    for key, value in changes.items():
        OmegaConf.update(cfg, key, value)
    with pytest.raises(UserError, match=message):
        check(cfg)


def command(*arguments: str, cwd: Path = CONF.parent) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "src.train", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (
            ["modle=x", "optimizer.lrr=3", "freeze=bottm", "+data.foo=1", "hydra/launcher=joblib"],
            [
                "modle is not a key of this config.",
                "Did you mean model?",
                "optimizer.lrr is not a key of this config.",
                "Did you mean optimizer.lr?",
                "freeze has no option 'bottm'.",
                "Did you mean bottom?",
            ],
        ),
        (
            ["freeze=bottom", "freeze.layers=x", "optimizer.lr=-1"],
            [
                "optimizer.lr has a value that it cannot take: -1.",
                "It should be greater than 0.",
                "freeze.layers has a value that it cannot take: 'x'.",
                "It should be a valid integer, unable to parse string as an integer.",
            ],
        ),
        (
            ["data=table"],
            ["data.path has no value.", "Give one: data.path=…", "The comments in conf/ say what each key is."],
        ),
    ],
)
def test_the_command_line_answers_mistakes_with_one_message_and_exit_code_2(
    arguments: list[str], lines: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    ended = command(f"run={run}", *arguments)
    assert ended.stderr.splitlines() == lines
    assert (ended.returncode, ended.stdout, run.exists()) == (2, "", False)


def test_help_and_config_need_no_torch() -> None:
    code = "import sys, src.train, src.compare; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=CONF.parent, check=False).returncode == 0
    shown = command("--help").stdout
    assert "freeze: all, bitfit, bottom, bottom_2, chain, embeddings, gradual, lora" in shown
    assert isinstance(OmegaConf.create(command("--cfg", "job").stdout), DictConfig)


@pytest.mark.parametrize("place", ["file", "file/below", "proc"])
def test_a_run_folder_that_cannot_be_made_is_refused(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    run = "/proc/no/such" if place == "proc" else tmp_path / place
    ended = command(f"run={run}")
    assert ended.returncode == 2
    assert ended.stderr.startswith("The run folder must be one that can be made and written")
    assert "Traceback" not in ended.stderr

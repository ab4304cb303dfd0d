"""What a run folder from elsewhere refers to, writes, deletes and links to is looked at first."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from omegaconf import OmegaConf

from src.errors import UserError
from src.files.atomic import sha256
from src.grouping.runs import read_run
from src.predict import Predictor
from src.runs import saved_config, write_guard
from src.runs.environment import as_number
from src.runs.folder import RunFolder
from src.runs.identity import config_hash
from src.train import train
from tests.conftest import Canary, longer
from tests.runs.foreign_runs import DOORS, Content, files, resume, save


@pytest.mark.parametrize(
    "reference",
    [
        "${oc.env:HF_TOKEN}",
        "a ${oc.env:HF_TOKEN} b",
        "${ oc.env:HF_TOKEN }",
        "${oc.env:NOTHING,${oc.env:HF_TOKEN}}",
        "${oc.decode:${oc.env:HF_TOKEN}}",
        "${oc.select:nothing,${oc.env:HF_TOKEN}}",
        "${oc.create:{a: ${oc.env:HF_TOKEN}}}",
        "${oc.create:['${oc.env:HF_TOKEN}']}",
        "${oc.deprecated:data.text,${oc.env:HF_TOKEN}}",
        "${oc.${word}:HF_TOKEN}",
        "${${family}.env:HF_TOKEN}",
        "\\${oc.env:HF_TOKEN}",
        "\\\\${oc.env:HF_TOKEN}",
        "${direction:min}",
        "${now:%Y}",
        "${hydra:runtime.cwd}",
    ],
)
def test_what_a_config_refers_to_outside_of_itself_is_never_looked_up(
    reference: str, content: Content, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret-of-the-environment")
    content |= {"word": "env", "family": "oc"}
    content["data"]["name"] = reference
    save(run, content)
    config = run.saved_config()
    assert saved_config.is_outside(config.data.name)
    for _ in range(3):  # what is resolved may be read again
        OmegaConf.resolve(config)
    assert config.data.name == reference.replace("${", "$(").replace("}", ")")


@pytest.mark.rare
def test_reports_of_such_a_run_show_the_reference(
    content: Content,
    run: RunFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret-of-the-environment")
    content["data"] |= {"path": "${oc.env:HF_TOKEN}", "name": "${oc.env:HF_TOKEN}"}
    content["optimizer"]["foreach"] = "${oc.env:HF_TOKEN}"
    save(run, content)
    shutil.copytree(run.path, run.path.with_name("other"))
    save(RunFolder(run.path.with_name("other")), {**content, "seed": 7, "freeze": {"_target_": "src.freezing.Nothing"}})
    for door in ("predict", "explain", "export", "compare"):
        DOORS[door](run)
    card = (tmp_path / "sweep" / "out" / "README.md").read_text(encoding="utf-8")
    assert "$(oc.env:HF_TOKEN)" in card
    written = capsys.readouterr().out + "".join(f.read_bytes().decode("latin-1") for f in files(tmp_path))
    assert "secret-of-the-environment" not in written


def test_own_references_are_written_as_values_unless_they_may_be_secrets(
    run_tiny: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret-of-the-environment")
    monkeypatch.setenv("SEED", "7")
    own = ("data.name=${oc.env:HF_TOKEN}", 'seed="${oc.decode:${oc.env:SEED}}"', "data.text=${oc.decode:text}")
    folder, result = run_tiny(*own)
    written = (folder.path / "config.yaml").read_text(encoding="utf-8")
    assert "name: ${oc.env:HF_TOKEN}" in written
    assert "seed: 7\n" in written
    assert "text: text\n" in written
    assert result["seed"] == 7
    saved = folder.saved_config()
    assert config_hash(saved) == result["config_hash"]
    Predictor.load(folder.path)
    with pytest.raises(UserError, match="came from outside of the config"):
        resume(folder)
    given = ["data.name=${oc.env:HF_TOKEN}", "data.text=other", "trainer.max_epochs=3", "+x=1", "freeze=none"]
    assert write_guard.changeable(saved, given) == given[:1] + given[2:3]
    write_guard.check_resumable(saved, folder.path, ["data.name"])
    folder.write_status("interrupted")
    _, again = run_tiny(*own, "resume=true")  # the whole command says it again
    assert again["metrics"] == result["metrics"]


def test_numbers_of_the_environment_are_written_as_numbers(
    run_tiny: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"TASK": "7", "BATCH": "8", "LAYERS": "1", "BUCKETS": "false"}.items():
        monkeypatch.setenv(name, value)
    given = ["seed=${oc.env:TASK}", "data.batch_size=${oc.env:BATCH}", "data.buckets=${oc.env:BUCKETS}"]
    folder, result = run_tiny(*given, "freeze=bottom", "freeze.layers=${oc.env:LAYERS}", "trainer.max_epochs=1")
    saved = folder.saved_config()
    assert (saved.seed, saved.data.batch_size, saved.freeze.layers, saved.data.buckets) == (7, 8, 1, False)
    assert (result["seed"], result["config_hash"]) == (7, config_hash(saved))
    assert read_run(folder).seed == 7
    Predictor.load(folder.path)
    assert len(train(longer(folder, "trainer.max_epochs=2"), folder)["history"]) == 2


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("seed", "3", 3),
        ("seed", "three", None),
        ("backbone.lr", "1e-4", 1e-4),
        ("backbone.hidden_size", "64", 64),
        ("optimizer.head_lr", "auto", None),
        ("optimizer.head_lr", "0.1", 0.1),
        ("optimizer.eps", "1e-6", 1e-6),
        ("data.limit", "100", 100),
        ("pretrain.data.limit", "100", 100),
        ("trainer.devices", "2", 2),
        ("trainer.devices", "auto", None),
        ("callbacks.early_stopping.patience", "5", 5),
        ("freeze.layers", "2", 2),
        ("logger.wandb.offline", "true", True),
        # What may be a secret, whatever it looks like.
        ("data.name", "1234", None),
        ("cache", "1234", None),
        ("backbone.sha256", "1234", None),
        ("logger.mlflow.tracking_uri", "1234", None),
        ("logger.mine.token", "1234", None),
        ("callbacks.mine.token", "1234", None),
        ("unknown", "1234", None),
    ],
)
def test_the_schema_and_the_files_of_conf_say_what_is_a_number(key: str, text: str, expected: object) -> None:
    found = as_number(key, text)
    assert (found, type(found)) == (expected, type(expected))


MALFORMED: dict[str, tuple[str, str]] = {
    "nothing": ("", "no section"),
    "a list": ("- a\n", "not a mapping"),
    "no YAML": ("a: [", "cannot be read"),
    "a pickle in YAML": ("!!python/object/apply:os.mkdir ['CANARY']\n", "cannot be read"),
    "a call in YAML": ("a: !!python/object/apply:os.mkdir [CANARY]\n", "cannot be read"),
    "a circle": ("a: ${b}\nb: ${a}\n", "invalid reference"),
    "a dead end": ("a: ${nothing.at.all}\n", "invalid reference"),
    "pieces": ("a: $\nb: '${a}{oc.env:HOME}'\n", "nest or concatenate references"),
    "a seed that is none": ("seed: ten\n", "whole number"),
    "a mode that is none": ("monitor: {metric: validation/loss, mode: best}\n", "min or max"),
    "a section that is none": ("freeze: all\n", "no section freeze"),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_what_is_no_config_of_a_run_is_refused(what: str, run: RunFolder, content: Content, tmp_path: Path) -> None:
    spoilt, message = MALFORMED[what]
    spoilt = spoilt.replace("CANARY", str(tmp_path / "canary"))
    kept = {key: value for key, value in content.items() if f"{key}: " not in spoilt}
    beside = yaml.safe_dump(kept) if ":" in spoilt and "!!" not in spoilt and spoilt.endswith("\n") else ""
    (run.path / "config.yaml").write_text(spoilt + beside, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        run.saved_config()
    assert not (tmp_path / "canary").exists()


ELSEWHERE = [
    ("callbacks.checkpoint.folder", "OUT"),
    ("callbacks.checkpoint.folder", "RUN/../../out"),
    ("callbacks.checkpoint.folder", "RUNaway"),
    ("callbacks.checkpoint.folder", "checkpoints"),
    ("callbacks.checkpoint.folder", "local:///OUT"),
    ("callbacks.checkpoint.folder", "memory://out"),
    ("callbacks.checkpoint.filename", "../../../out/best"),
    ("callbacks.checkpoint.filename", "OUT/best"),
    ("callbacks.checkpoint.filename", "~/best"),
    ("logger.tensorboard.save_dir", "OUT"),
    ("logger.tensorboard.save_dir", ""),
    ("logger.tensorboard.name", "../../out"),
    ("logger.tensorboard.version", "../../../out"),
    ("logger.tensorboard.version", "$HF_TOKEN"),
    ("logger.tensorboard.sub_dir", "~"),
    ("logger.tensorboard.filename_suffix", "/../../../out"),
    ("logger.mlflow.tracking_uri", "sqlite:///OUT"),
    ("logger.mlflow.tracking_uri", "file:OUT"),
    ("logger.wandb.settings.base_url", "http://localhost"),
    ("trainer.default_root_dir", "OUT"),
    ("trainer.profiler", "/out"),
    ("pretrain.logger.save_dir", "OUT"),
]


@pytest.mark.parametrize(("key", "value"), ELSEWHERE)
def test_a_resumed_run_writes_into_its_own_folder_only(
    key: str, value: str, run: RunFolder, tmp_path: Path, content: Content
) -> None:
    content["pretrain"] = {"logger": {}} if key.startswith("pretrain") else None
    run.write_status("interrupted")
    save(run, content)
    write_guard.check_resumable(run.saved_config(), run.path, [])
    changed = OmegaConf.create(content)
    OmegaConf.update(changed, key, value.replace("OUT", str(tmp_path / "out")).replace("RUN", str(run.path)))
    save(run, OmegaConf.to_container(changed))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=rf"writes into its own folder, .*; its {key} is"):
        resume(run)
    assert sorted(tmp_path.rglob("*")) == before
    write_guard.check_resumable(run.saved_config(), run.path, [key])


def sign(file: Path) -> None:
    """As in a folder whose checksums are of the same hand."""
    file.with_name(f"{file.name}.sha256").write_text(f"{sha256(file)}  {file.name}\n")


def edit_last(run: RunFolder, **values: Any) -> None:
    """Changes what the checkpoint holds, and makes the run one that can go on for an epoch."""
    file = run.last_checkpoint
    torch.save({**torch.load(file, weights_only=True), **values}, file)
    sign(file)
    run.write_status("interrupted")


@pytest.mark.filterwarnings("ignore:Be aware that when using")  # it names a callback that no run has
def test_a_checkpoint_cannot_have_other_files_deleted(run: RunFolder, content: Content, tmp_path: Path) -> None:
    # Lightning's own keeper of checkpoints, which is not used here, deletes the worst of those that its state names.
    precious = tmp_path / "precious"
    precious.write_text("kept")
    names = dict.fromkeys(("best_model_path", "kth_best_model_path", "last_model_path"), f"local://{precious}")
    state = {**names, "best_k_models": {f"local://{precious}": torch.tensor(9.0)}, "kth_value": torch.tensor(9.0)}
    states = torch.load(run.last_checkpoint, weights_only=True)["callbacks"]
    hostile = {key: {**value, **state, "dirpath": str(run.last_checkpoint.parent)} for key, value in states.items()}
    edit_last(run, callbacks=hostile | {"ModelCheckpoint": state})
    content["trainer"]["max_epochs"] = 3
    save(run, content)
    resume(run)
    assert precious.read_text() == "kept"


def test_hyper_parameters_of_a_checkpoint_build_nothing(run: RunFolder, content: Content, tmp_path: Path) -> None:
    canary = {"_target_": "os.mkdir", "path": str(tmp_path / "canary")}
    parameters = {**canary, "model": canary, "_instantiator": "os.mkdir", "_class_path": "os.mkdir"}
    edit_last(run, hyper_parameters=parameters, hparams_name="kwargs", datamodule_hyper_parameters=parameters)
    content["trainer"]["max_epochs"] = 2
    save(run, content)
    resume(run)
    assert len(run.read_result()["history"]) == 2
    assert not (tmp_path / "canary").exists()


def test_a_pickle_in_place_of_the_last_checkpoint_is_refused(run: RunFolder, tmp_path: Path) -> None:
    for save_as in (torch.save, lambda obj, file: file.write_bytes(pickle.dumps(obj))):
        for file in run.checkpoints:
            save_as({"state_dict": Canary(tmp_path / "canary")}, file)
            sign(file)
        run.write_status("interrupted")
        with pytest.raises(UserError, match="must be a checkpoint of this project"):
            resume(run)
        assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("door", "place"),
    [
        ("explain", "explanations"),
        ("compare", "../plots"),
        ("compare", "../comparison.csv"),
        ("compare", "../compare.html"),
        ("resume", "checkpoints"),
        ("resume", "train.log"),
        ("resume", "tensorboard"),
        ("resume", "report/curves.png"),
        ("resume", "predictions/test.parquet"),
    ],
)
def test_links_do_not_lead_what_is_written_elsewhere(door: str, place: str, run: RunFolder, tmp_path: Path) -> None:
    link = Path(os.path.normpath(run.path / place))
    outside = tmp_path / "outside"
    if link.is_dir() or "." not in link.name:
        shutil.copytree(link, outside) if link.exists() else outside.mkdir()
    else:
        outside.write_text("kept")
    if link.exists():
        shutil.rmtree(link) if link.is_dir() else link.unlink()
    link.symlink_to(outside)
    before = {file: file.read_bytes() for file in files(tmp_path)}
    with pytest.raises(UserError, match="is a link to"):
        DOORS[door](run)
    assert {file: file.read_bytes() for file in files(tmp_path)} == before

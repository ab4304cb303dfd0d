"""Run folders from elsewhere: nothing that their configs, checkpoints or links ask for is done."""

from __future__ import annotations

import contextlib
import copy
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from src import trust
from src.compare import compare
from src.config import FromRun, UserError
from src.explain import explain
from src.export import export
from src.predict import Predictor
from src.pretraining import find_pretrained
from src.runs import CONF, RunFolder, config_hash, find_run
from src.train import train
from tests.conftest import Canary, composed

Content = dict[str, Any]

# What would make the canary file, or whatever else a config from elsewhere might call.
CALLS: dict[str, Content] = {
    "os.system": {"command": "touch CANARY"},
    "os.popen": {"cmd": "touch CANARY"},
    "os.execvp": {"_args_": ["touch", ["touch", "CANARY"]]},
    "os.spawnlp": {"_args_": [0, "touch", "touch", "CANARY"]},
    "os.mkdir": {"path": "CANARY"},
    "os.rename": {"src": "config.yaml", "dst": "CANARY"},
    "os.symlink": {"src": "/", "dst": "CANARY"},
    "os.remove": {"path": "config.yaml"},
    "posix.system": {"command": "touch CANARY"},
    "pty.spawn": {"argv": ["touch", "CANARY"]},
    "subprocess.run": {"args": ["touch", "CANARY"]},
    "subprocess.Popen": {"args": ["touch", "CANARY"]},
    "subprocess.call": {"args": ["touch", "CANARY"]},
    "subprocess.check_output": {"args": ["touch", "CANARY"]},
    "subprocess.getoutput": {"cmd": "touch CANARY"},
    "distutils.spawn.spawn": {"cmd": ["touch", "CANARY"]},
    "setuptools._distutils.spawn.spawn": {"cmd": ["touch", "CANARY"]},
    "multiprocessing.Process": {"target": {"_target_": "os.system", "_partial_": True}},
    "asyncio.create_subprocess_shell": {"cmd": "touch CANARY"},
    "builtins.eval": {"_args_": ["open('CANARY', 'w')"]},
    "builtins.exec": {"_args_": ["open('CANARY', 'w')"]},
    "builtins.open": {"file": "CANARY", "mode": "w"},
    "builtins.compile": {"_args_": ["1", "x", "eval"]},
    "builtins.getattr": {"_args_": [{"_target_": "hydra.utils.get_object", "path": "os"}, "system"]},
    "builtins.__import__": {"name": "antigravity"},
    "importlib.import_module": {"name": "antigravity"},
    "runpy.run_path": {"path_name": "CANARY"},
    "runpy.run_module": {"mod_name": "antigravity"},
    "code.InteractiveInterpreter.runsource": {"_args_": [{"_target_": "code.InteractiveInterpreter"}, "1"]},
    "timeit.timeit": {"stmt": "open('CANARY', 'w')", "number": 1},
    "cProfile.run": {"statement": "open('CANARY', 'w')"},
    "pdb.run": {"statement": "open('CANARY', 'w')"},
    "ctypes.CDLL": {"name": "CANARY"},
    "io.open": {"file": "CANARY", "mode": "w"},
    "io.FileIO": {"file": "CANARY", "mode": "w"},
    "codecs.open": {"filename": "CANARY", "mode": "w"},
    "gzip.open": {"filename": "CANARY", "mode": "wb"},
    "zipfile.ZipFile": {"file": "CANARY", "mode": "w"},
    "tarfile.open": {"name": "CANARY", "mode": "w"},
    "sqlite3.connect": {"database": "CANARY"},
    "logging.FileHandler": {"filename": "CANARY"},
    "logging.config.dictConfig": {"config": {"version": 1}},
    "tempfile.mkdtemp": {"dir": "."},
    "pathlib.Path.touch": {"_args_": [{"_target_": "pathlib.Path", "_args_": ["CANARY"]}]},
    "pathlib.Path.write_text": {"_args_": [{"_target_": "pathlib.Path", "_args_": ["CANARY"]}, "x"]},
    "pathlib.Path.unlink": {"_args_": [{"_target_": "pathlib.Path", "_args_": ["config.yaml"]}]},
    "shutil.copyfile": {"src": "config.yaml", "dst": "CANARY"},
    "shutil.copytree": {"src": "checkpoints", "dst": "CANARY"},
    "shutil.move": {"src": "config.yaml", "dst": "CANARY"},
    "shutil.rmtree": {"path": "checkpoints"},
    "shutil.unpack_archive": {"filename": "CANARY"},
    "pickle.load": {"file": {"_target_": "builtins.open", "file": "PICKLE", "mode": "rb"}},
    "pickle.loads": {"_args_": ["x"]},
    "cloudpickle.load": {"file": {"_target_": "builtins.open", "file": "PICKLE", "mode": "rb"}},
    "dill.load": {"file": {"_target_": "builtins.open", "file": "PICKLE", "mode": "rb"}},
    "joblib.load": {"filename": "PICKLE"},
    "pandas.read_pickle": {"filepath_or_buffer": "PICKLE"},
    "numpy.load": {"file": "PICKLE", "allow_pickle": True},
    "numpy.save": {"file": "CANARY", "arr": [1]},
    "numpy.lib.npyio.NpzFile": {"fid": "PICKLE", "allow_pickle": True},
    "shelve.open": {"filename": "CANARY"},
    "yaml.unsafe_load": {"stream": "!!python/object/apply:os.system ['touch CANARY']"},
    "omegaconf.OmegaConf.load": {"file_": "config.yaml"},
    "torch.load": {"f": "PICKLE", "weights_only": False},
    "torch.save": {"obj": 1, "f": "CANARY"},
    "torch.hub.load": {"repo_or_dir": ".", "model": "x", "source": "local"},
    "torch.hub.load_state_dict_from_url": {"url": "file://PICKLE", "weights_only": False},
    "torch.hub.download_url_to_file": {"url": "file://PICKLE", "dst": "CANARY"},
    "torch.jit.load": {"f": "PICKLE"},
    "torch.utils.cpp_extension.load_inline": {"name": "x", "cpp_sources": ""},
    "torch.utils.collect_env.run": {"command": "touch CANARY"},
    "pytorch_lightning.LightningModule.load_from_checkpoint": {"checkpoint_path": "PICKLE", "weights_only": False},
    "pytorch_lightning.core.saving._load_from_checkpoint": {"_args_": [None, "PICKLE"]},
    "pytorch_lightning.loggers.WandbLogger": {"save_dir": "CANARY"},
    "pytorch_lightning.utilities.model_registry.download_model_from_registry": {"ckpt_path": "registry:x"},
    "lightning_fabric.utilities.cloud_io._load": {"path_or_url": "PICKLE", "weights_only": False},
    "lightning_fabric.utilities.cloud_io.get_filesystem": {"path": "CANARY"},
    "transformers.AutoModel.from_pretrained": {"pretrained_model_name_or_path": ".", "trust_remote_code": True},
    "transformers.pipeline": {"task": "fill-mask", "model": "."},
    "transformers.dynamic_module_utils.get_class_from_dynamic_module": {"class_reference": "x.X"},
    "datasets.load_dataset": {"path": "pandas", "data_files": "PICKLE"},
    "huggingface_hub.snapshot_download": {"repo_id": "a/b", "local_dir": "CANARY"},
    "urllib.request.urlretrieve": {"url": "file://PICKLE", "filename": "CANARY"},
    "webbrowser.open": {"url": "file://CANARY"},
    "functools.partial": {"_args_": [{"_target_": "os.system", "_partial_": True}, "touch CANARY"]},
    "operator.methodcaller": {"_args_": ["touch"]},
    "hydra.utils.call": {"_args_": [{"_target_": "os.system", "command": "touch CANARY"}]},
    "hydra.utils.get_method": {"path": "os.system"},
    "hydra._internal.utils._locate": {"path": "os.system"},
    "ray.init": {},
    "src.sweeps.run_process": {"arguments": ["-c", "open('CANARY', 'w')"]},
    "src.sweeps.run_job": {},
    "src.runs.RunFolder.file": {"_args_": [{"_target_": "src.runs.RunFolder", "path": "."}, "CANARY"]},
    "src.hub.download_model": {"name": "a/b", "revision": None},
    # What conf/ builds too, in another section or for Hydra itself.
    "pytorch_lightning.callbacks.ModelCheckpoint.__init__": {"dirpath": "CANARY"},
    "src.compare.Multirun": {},
    "hydra_plugins.ray_launcher.RayLauncher": {},
}
# Those that Hydra itself would go through with, and that end the canary's test in no harm.
LIVE = (
    *(
        "os.mkdir",
        "io.open",
        "io.FileIO",
        "codecs.open",
        "gzip.open",
        "zipfile.ZipFile",
        "tarfile.open",
        "sqlite3.connect",
    ),
    *(
        "logging.FileHandler",
        "pathlib.Path.touch",
        "pathlib.Path.write_text",
        "torch.utils.collect_env.run",
    ),
    *("joblib.load", "pandas.read_pickle", "numpy.load", "torch.load", "torch.save", "src.sweeps.run_process"),
)


def _section(name: str) -> Callable[[Content, Content], None]:
    return lambda content, node: content.__setitem__(name, node)


def _inside(
    name: str, key: str, wrap: Callable[[Content], Any] = lambda node: node
) -> Callable[[Content, Content], None]:
    return lambda content, node: content[name].__setitem__(key, wrap(node))


def _by_reference(content: Content, node: Content) -> None:
    content["word"] = node["_target_"]
    content["freeze"] = {**node, "_target_": "${word}"}


def _whole_by_reference(content: Content, node: Content) -> None:
    content["elsewhere"], content["freeze"] = node, "${elsewhere}"


def _from_the_environment(content: Content, node: Content) -> None:
    content["freeze"] = {**node, "_target_": "${oc.env:CANARY_TARGET}"}


def _from_pieces(content: Content, node: Content) -> None:
    content["sign"] = "$"
    content["freeze"] = {**node, "_target_": "${sign}{oc.env:CANARY_TARGET}"}


def _made_by_a_resolver(content: Content, node: Content) -> None:
    content["freeze"] = f"${{oc.create:{{_target_: {node['_target_']}}}}}"


PLACES: dict[str, Callable[[Content, Content], None]] = {
    **{name: _section(name) for name in ("model", "freeze", "optimizer", "trainer", "logger")},
    "schedule": _inside("scheduler", "schedule"),
    "callback": _inside("callbacks", "x"),
    "known callback": _inside("callbacks", "checkpoint"),
    "argument": _inside("model", "dropout"),
    "list": _inside("trainer", "plugins", lambda node: [node]),
    "deep": _inside("data", "x", lambda node: {"y": [[{"z": node}]]}),
    "partial": _inside("optimizer", "x", lambda node: {**node, "_partial_": True, "_convert_": "all"}),
    "positional": _inside("freeze", "_args_", lambda node: [node]),
    "pretraining": lambda content, node: content.__setitem__("pretrain", {"model": node}),
    "new section": _section("anything"),
    "by reference": _by_reference,
    "whole by reference": _whole_by_reference,
    "from the environment": _from_the_environment,
    "from pieces": _from_pieces,
    "by a resolver": _made_by_a_resolver,
}


@pytest.fixture
def content(finished: RunFolder) -> Content:
    """What its config.yaml holds."""
    found: Content = yaml.safe_load((finished.path / "config.yaml").read_text(encoding="utf-8"))
    return found


@pytest.fixture
def run(finished: RunFolder, tmp_path: Path) -> RunFolder:
    """A run that a test may spoil."""
    shutil.copytree(finished.path, tmp_path / "sweep" / "run")
    return RunFolder(tmp_path / "sweep" / "run")


def save(run: RunFolder, content: Content) -> None:
    (run.path / "config.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")


def arguments(target: str, folder: Path) -> Content:
    """What the target would be called with, the canary and the pickle being files in a folder."""
    text = yaml.safe_dump({"_target_": target, **CALLS[target]})
    node: Content = yaml.safe_load(text.replace("CANARY", f"{folder}/canary").replace("PICKLE", f"{folder}/pickle"))
    return node


def command(name: str, run: RunFolder, **values: Any) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose(name)
    cfg.merge_with({"run": str(run.path), **values})
    return cfg


def resume(run: RunFolder) -> None:
    train(composed("resume=true"), run)


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


@pytest.mark.parametrize("target", CALLS)
def test_nothing_is_built_that_conf_does_not_build(
    target: str, content: Content, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(Canary(tmp_path / "canary"), tmp_path / "pickle")
    monkeypatch.setenv("CANARY_TARGET", target)
    node, before = arguments(target, tmp_path), sorted(tmp_path.rglob("*"))
    # Every place has its turn with every fifth target.
    for put in [*PLACES.values()][[*CALLS].index(target) % 5 :: 5]:
        spoilt = copy.deepcopy(content)
        put(spoilt, copy.deepcopy(node))
        with pytest.raises(UserError, match=r"config\.yaml"):
            trust.checked(OmegaConf.create(spoilt), tmp_path, CONF)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of files that nobody closes
@pytest.mark.parametrize("target", LIVE)
def test_hydra_alone_would_have_made_the_canary(target: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    (tmp_path / "pickle").write_bytes(pickle.dumps(Canary(canary)))
    with contextlib.suppress(Exception):
        hydra.utils.instantiate(OmegaConf.create(arguments(target, tmp_path)))
    assert canary.exists()


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("place", PLACES)
def test_every_command_refuses_such_a_run(
    place: str, door: str, content: Content, run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY_TARGET", "os.mkdir")
    PLACES[place](content, arguments("os.mkdir", tmp_path))
    save(run, content)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError):
        DOORS[door](run)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
@pytest.mark.parametrize("module", ["predict", "explain", "export", "compare", "train"])
def test_the_answer_is_one_message_and_exit_code_2(
    module: str, content: Content, run: RunFolder, tmp_path: Path
) -> None:
    content["freeze"] = arguments("os.mkdir", tmp_path)
    save(run, content)
    given = {
        "predict": ["text=Good."],
        "explain": ["text=Good."],
        "export": [f"output={tmp_path / 'out'}"],
        "train": ["resume=true"],
        "compare": [],
    }[module]
    place = f"runs={run.path.parent}" if module == "compare" else f"run={run.path}"
    ended = subprocess.run(
        [sys.executable, "-m", f"src.{module}", place, *given],
        capture_output=True,
        text=True,
        cwd=CONF.parent,
        check=False,
    )
    assert ended.returncode == 2
    assert "may only build what the files in conf/ build; it names os.mkdir (freeze._target_)" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "canary").exists()


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
    assert trust.is_outside(config.data.name)
    for _ in range(3):  # what is resolved may be read again
        OmegaConf.resolve(config)
    assert config.data.name == reference.replace("${", "$(").replace("}", ")")


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


def files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]


def test_own_references_are_written_as_values_unless_they_may_be_secrets(
    run_tiny: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret-of-the-environment")
    monkeypatch.setenv("SEED", "7")
    folder, result = run_tiny(
        "data.name=${oc.env:HF_TOKEN}", 'seed="${oc.decode:${oc.env:SEED}}"', "data.text=${oc.decode:text}"
    )
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
    assert trust.changeable(saved, given) == given[:1] + given[2:3]
    trust.check_resumable(saved, folder.path, ["data.name"])


MALFORMED: dict[str, tuple[str, str]] = {
    "nothing": ("", "no section"),
    "a list": ("- a\n", "not a mapping"),
    "no YAML": ("a: [", "cannot be read"),
    "a pickle in YAML": ("!!python/object/apply:os.mkdir ['CANARY']\n", "cannot be read"),
    "a call in YAML": ("a: !!python/object/apply:os.mkdir [CANARY]\n", "cannot be read"),
    "a circle": ("a: ${b}\nb: ${a}\n", "leads nowhere"),
    "a dead end": ("a: ${nothing.at.all}\n", "leads nowhere"),
    "pieces": ("a: $\nb: '${a}{oc.env:HOME}'\n", "put references together"),
    "a seed that is none": ("seed: ten\n", "whole number"),
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
    ("callbacks.checkpoint.dirpath", "OUT"),
    ("callbacks.checkpoint.dirpath", "RUN/../../out"),
    ("callbacks.checkpoint.dirpath", "RUNaway"),
    ("callbacks.checkpoint.dirpath", "checkpoints"),
    ("callbacks.checkpoint.dirpath", "local:///OUT"),
    ("callbacks.checkpoint.dirpath", "memory://out"),
    ("callbacks.checkpoint.filename", "../../../out/best"),
    ("callbacks.checkpoint.filename", "OUT/best"),
    ("callbacks.checkpoint.filename", "~/best"),
    ("logger.save_dir", "OUT"),
    ("logger.save_dir", ""),
    ("logger.name", "../../out"),
    ("logger.version", "../../../out"),
    ("logger.version", "$HF_TOKEN"),
    ("logger.sub_dir", "~"),
    ("logger.filename_suffix", "/../../../out"),
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
    trust.check_resumable(run.saved_config(), run.path, [])
    changed = OmegaConf.create(content)
    OmegaConf.update(changed, key, value.replace("OUT", str(tmp_path / "out")).replace("RUN", str(run.path)))
    save(run, OmegaConf.to_container(changed))  # type: ignore[arg-type]
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=rf"writes into its own folder, .*; its {key} is"):
        resume(run)
    assert sorted(tmp_path.rglob("*")) == before
    trust.check_resumable(run.saved_config(), run.path, [key])


def edit_last(run: RunFolder, **values: Any) -> None:
    """Changes what the checkpoint holds, and makes the run one that can go on for an epoch."""
    file = run.last_checkpoint
    torch.save({**torch.load(file, weights_only=True), **values}, file)
    run.write_status("interrupted")


@pytest.mark.parametrize("form", ["PRECIOUS", "DIR/../../../precious", "local://PRECIOUS", "DIR/..", "DIR/a/b"])
@pytest.mark.parametrize("key", ["best_k_models", "kth_best_model_path", "last_model_path", "best_model_path"])
def test_a_checkpoint_cannot_have_other_files_deleted(key: str, form: str, run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    states = torch.load(run.last_checkpoint, weights_only=True)["callbacks"]
    (state,) = (state for state in states.values() if "best_k_models" in state)
    name = form.replace("PRECIOUS", str(tmp_path / "precious")).replace("DIR", state["dirpath"])
    state[key] = {name: torch.tensor(0.0)} if key == "best_k_models" else name
    edit_last(run, callbacks=states)
    with pytest.raises(UserError, match="must name checkpoints in its own folder only"):
        resume(run)
    assert (tmp_path / "precious").read_text() == "kept"


@pytest.mark.filterwarnings("ignore:The dirpath has changed")  # it is the copy of a run
def test_hyper_parameters_of_a_checkpoint_build_nothing(run: RunFolder, content: Content, tmp_path: Path) -> None:
    call = arguments("os.mkdir", tmp_path)
    parameters = {**call, "_instantiator": "os.mkdir", "_class_path": "os.mkdir", "path": str(tmp_path / "canary")}
    edit_last(run, hyper_parameters=parameters, hparams_name="kwargs", datamodule_hyper_parameters=parameters)
    content["trainer"]["max_epochs"] = 2
    save(run, content)
    resume(run)
    assert len(run.read_result()["history"]) == 2
    assert not (tmp_path / "canary").exists()


def test_a_pickle_in_place_of_the_last_checkpoint_is_refused(run: RunFolder, tmp_path: Path) -> None:
    for save_as in (torch.save, lambda obj, file: file.write_bytes(pickle.dumps(obj))):
        save_as({"state_dict": Canary(tmp_path / "canary")}, run.last_checkpoint)
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

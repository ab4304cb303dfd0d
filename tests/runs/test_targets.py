"""What the config of a run folder asks to be built is not built, in any place of it, by any command."""

from __future__ import annotations

import contextlib
import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import pytest
import torch
import yaml
from omegaconf import OmegaConf

from src.config.folder import CONF
from src.errors import UserError
from src.runs import saved_config
from src.runs.folder import RunFolder
from tests.conftest import Canary
from tests.runs.foreign_runs import DOORS, Content, save

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
    "pytorch_lightning.loggers.CometLogger": {"offline_directory": "CANARY"},
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
    "src.sweeps.processes.run_process": {"arguments": ["-c", "open('CANARY', 'w')"], "variables": {}, "warm": False},
    "src.sweeps.jobs.run_job": {},
    "src.runs.folder.RunFolder.file": {"_args_": [{"_target_": "src.runs.folder.RunFolder", "path": "."}, "CANARY"]},
    "src.files.hub.download_model": {"name": "a/b", "revision": None},
    # What conf/ builds too, in another section or for Hydra itself.
    "pytorch_lightning.callbacks.ModelCheckpoint": {"dirpath": "CANARY"},
    "src.sweeps.multirun.Multirun": {},
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
    *(
        "joblib.load",
        "pandas.read_pickle",
        "numpy.load",
        "torch.load",
        "torch.save",
        "src.sweeps.processes.run_process",
    ),
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


def arguments(target: str, folder: Path) -> Content:
    """What the target would be called with, the canary and the pickle being files in a folder."""
    text = yaml.safe_dump({"_target_": target, **CALLS[target]})
    node: Content = yaml.safe_load(text.replace("CANARY", f"{folder}/canary").replace("PICKLE", f"{folder}/pickle"))
    return node


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
            saved_config.checked(OmegaConf.create(spoilt), tmp_path, CONF, "training")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of files that nobody closes
@pytest.mark.parametrize("target", LIVE)
def test_hydra_alone_would_have_made_the_canary(target: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    (tmp_path / "pickle").write_bytes(pickle.dumps(Canary(canary)))
    with contextlib.suppress(Exception):
        hydra.utils.instantiate(OmegaConf.create(arguments(target, tmp_path)))
    assert canary.exists()


def would_build(door: str, place: str) -> bool:
    """Whether a command builds anything from this place, or the config is none that could be read."""
    if place in ("from pieces", "by a resolver"):
        return True
    if door in ("compare", "best"):
        return False
    return door in ("resume", "backbone") or place not in ("logger", "callback", "known callback")


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("place", PLACES)
def test_every_command_refuses_what_it_would_build(
    place: str, door: str, content: Content, run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY_TARGET", "os.mkdir")
    PLACES[place](content, arguments("os.mkdir", tmp_path))
    save(run, content)
    before = sorted(tmp_path.rglob("*"))
    if would_build(door, place):
        with pytest.raises(UserError):
            DOORS[door](run)
        assert sorted(tmp_path.rglob("*")) == before
    else:
        DOORS[door](run)
    assert not (tmp_path / "canary").exists()


def test_a_class_that_is_trusted_is_built_alone_and_in_sections_that_build(
    content: Content, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def foreign(**sections: Any) -> str:
        config = OmegaConf.create({**content, **copy.deepcopy(sections)})
        try:
            saved_config.checked(config, tmp_path, CONF, "training")
        except UserError as error:
            return str(error).partition("names ")[2].partition("\n")[0]
        return ""

    mine = {"_target_": "mine.Strategy"}
    assert foreign(freeze=mine) == "mine.Strategy (freeze._target_)."
    monkeypatch.setenv("THAW_TRUST", "mine.Other, mine.Strategy,")
    assert foreign(freeze=mine) == ""
    for other in ("mine.Strategy.__init__", "mine.os.system", "mine", "Strategy", ""):
        assert foreign(freeze={"_target_": other}) == f"{other} (freeze._target_)."
    assert foreign(freeze={**mine, "_args_": [1]}) == "[1] (freeze._args_)."
    assert foreign(freeze={**mine, "inner": mine}) == "mine.Strategy (freeze.inner._target_)."
    assert foreign(elsewhere=mine) == "mine.Strategy (elsewhere._target_)."


def test_what_a_run_folder_names_is_never_trusted_by_what_reads_it(
    content: Content, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("THAW_TRUST", raising=False)
    content["callbacks"]["x"] = {"_target_": "mine.Callback"}
    save(run, content)
    for door in ("predict", "compare", "best"):
        DOORS[door](run)
    with pytest.raises(UserError, match=r"mine\.Callback \(callbacks\.x\._target_\)"):
        DOORS["resume"](run)
    assert "THAW_TRUST" not in os.environ


@pytest.mark.slow
@pytest.mark.parametrize("module", ["predict", "explain", "export", "train"])
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
    }[module]
    ended = subprocess.run(
        [sys.executable, "-m", f"src.{module}", f"run={run.path}", *given],
        capture_output=True,
        text=True,
        cwd=CONF.parent,
        check=False,
    )
    assert ended.returncode == 2
    assert "must only build what the files in conf/ build; it names os.mkdir (freeze._target_)" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "canary").exists()

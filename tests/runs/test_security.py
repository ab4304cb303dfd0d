"""What SECURITY.md promises beside what `test_trust` tries: files that are pickles, hostile texts and names, secrets,
the own code of the project and what it installs."""

from __future__ import annotations

import ast
import csv
import html
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from src import activations
from src.backbones import loading
from src.backbones.source import read_source
from src.comparison.compare_runs import compare
from src.config.data import Data
from src.config.folder import CONF
from src.errors import UserError
from src.explain import explain
from src.export import export
from src.pages.html import TEMPLATES, save
from src.predict import Predictor
from src.report import plots
from src.runs.folder import RunFolder
from src.sweeps.folders import check_folders
from src.tables import saved_datasets
from src.tables.tables import read_table
from src.tables.writing import FORMULA
from tests.conftest import Canary, composed

ROOT = CONF.parent
SOURCES = sorted(file for folder in ("src", "hydra_plugins", "benchmarks") for file in (ROOT / folder).rglob("*.py"))
FORBIDDEN = re.compile(
    r"weights_only\s*=\s*False|allow_pickle\s*=\s*True|trust_remote_code\s*=\s*True|shell\s*=\s*True|yaml\.(unsafe_)?load\("
    r"|(?<![\w.])(eval|exec)\(|pickle\.loads?\(|os\.(system|popen)\(|load_from_checkpoint\(|\|\s*safe\b"
)
# What may hold the code of others, and must be told not to run it.
LOADERS = ("AutoConfig.from_pretrained", "AutoModel.from_pretrained", "AutoTokenizer.from_pretrained", "pipeline")


def calls(file: Path) -> list[tuple[str, dict[str, str]]]:
    """The calls in a file with their named arguments, as source text."""
    found = [node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    return [(ast.unparse(c.func), {str(k.arg): ast.unparse(k.value) for k in c.keywords}) for c in found]


def test_no_code_here_runs_what_it_reads() -> None:
    assert len(SOURCES) > 70
    files = [*SOURCES, *(ROOT / "notebooks").glob("*.ipynb"), *TEMPLATES.iterdir()]
    assert [
        f"{file}: {m.group()}" for file in files for m in FORBIDDEN.finditer(file.read_text(encoding="utf-8"))
    ] == []
    for file in SOURCES:
        for name, arguments in calls(file):
            if name == "torch.load":
                assert arguments["weights_only"] == "True", file
            if name in LOADERS and file.is_relative_to(ROOT / "src") and "options" not in arguments.get("None", ""):
                assert arguments["trust_remote_code"] == "False", (file, name)


def edited(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def _weights(make: Callable[[Path, Canary], Any]) -> Callable[[Path, Canary], None]:
    def spoil(folder: Path, canary: Canary) -> None:
        (folder / "model.safetensors").unlink()
        make(folder, canary)

    return spoil


def _indexed(folder: Path, canary: Canary) -> None:
    torch.save({"x": canary}, folder / "part.bin")
    index = {"metadata": {}, "weight_map": {"x": "part.bin"}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))


def _code(file: str, **values: Any) -> Callable[[Path, Canary], None]:
    def spoil(folder: Path, canary: Canary) -> None:
        (folder / "evil.py").write_text(f"open({str(canary.path)!r}, 'w')\nclass C: pass\n")
        edited(folder / file, **values)

    return spoil


def _adapter(folder: Path, canary: Canary) -> None:
    torch.save({"x": canary}, folder / "adapter_model.bin")
    settings = {"base_model_name_or_path": str(folder), "peft_type": "LORA", "r": 2, "target_modules": ["query"]}
    (folder / "adapter_config.json").write_text(json.dumps(settings))


MAPPED = {"AutoConfig": "evil.C", "AutoModel": "evil.C"}
BACKBONES: dict[str, Callable[[Path, Canary], None]] = {
    "weights as a pickle": _weights(lambda f, c: torch.save({"x": c}, f / "pytorch_model.bin")),
    "an old pickle": _weights(lambda f, c: (f / "pytorch_model.bin").write_bytes(pickle.dumps(c))),
    "no safetensors": _weights(lambda f, c: (f / "model.safetensors").write_bytes(pickle.dumps(c))),
    "weights in parts": _weights(_indexed),
    "a pickle beside": lambda f, c: torch.save({"x": c}, f / "pytorch_model.bin"),
    "code of its own": _code("config.json", auto_map=MAPPED),
    "code for an unknown model": _code("config.json", auto_map=MAPPED, model_type="evil"),
    "code from the hub": _code("config.json", auto_map={"AutoConfig": "evil/evil--evil.C"}, model_type="evil"),
    "a tokenizer with code": _code(
        "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.C"] * 2}, tokenizer_class="C"
    ),
    "a tokenizer that is a function": _code("tokenizer_config.json", tokenizer_class="os.system"),
    "attention from the hub": _code("config.json", attn_implementation="evil/kernel"),
    "other attention from the hub": _code("config.json", _attn_implementation="evil/kernel"),
    "an adapter": _adapter,
    "vocabulary as a pickle": lambda f, c: (f / "tokenizer.json").write_bytes(pickle.dumps(c)),
}


@pytest.mark.parametrize("what", BACKBONES)
def test_a_backbone_runs_no_code(what: str, tiny_bert: Path, tmp_path: Path) -> None:
    folder, canary = tmp_path / "backbone", Canary(tmp_path / "canary")
    shutil.copytree(tiny_bert, folder)
    BACKBONES[what](folder, canary)
    problems = []
    for load in (loading.load_tokenizer, loading.load_encoder):
        try:
            load(read_source(folder, "backbone"))
        except UserError as error:
            problems.append(error)
    harmless = ("a pickle beside", "code of its own", "a tokenizer with code", "a tokenizer that is a function")
    assert bool(problems) == (what not in harmless)
    assert not canary.path.exists()


def test_an_export_passes_no_code_on(finished: RunFolder, tiny_bert: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_bert, tmp_path / "backbone")
    _code("config.json", auto_map=MAPPED)(tmp_path / "backbone", Canary(tmp_path / "canary"))
    _code("tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.C"] * 2})(tmp_path / "backbone", Canary(tmp_path))
    run = copied(finished, tmp_path / "run", backbone={"name": str(tmp_path / "backbone"), "lr": 5e-5})
    run.write_json("result.json", {**run.read_result(), "backbone": None})  # of the same hand
    for kind in ("huggingface", "safetensors"):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            export(compose("export", [f"run='{run.path}'", f"output='{tmp_path / kind}'", f"format={kind}"]))
        written = [file.read_text() for file in (tmp_path / kind).iterdir() if file.suffix in (".json", ".py", ".md")]
        assert len(written) > 3
        assert not any("auto_map" in text or "evil" in text for text in written)


def copied(run: RunFolder, to: Path, **sections: Any) -> RunFolder:
    shutil.copytree(run.path, to)
    content = yaml.safe_load((to / "config.yaml").read_text(encoding="utf-8"))
    (to / "config.yaml").write_text(yaml.safe_dump({**content, **sections}), encoding="utf-8")
    return RunFolder(to)


@pytest.mark.rare
def test_a_cache_of_pickles_is_made_anew(run_tiny: Callable[..., Any], tmp_path: Path) -> None:
    _, result = run_tiny("model=bert_linear", "freeze=all")
    for part in (
        "tokens/*.arrow",
        "activations/*/manifest.json",
        "activations/*/journal.jsonl",
        "activations/*/values.bin",
    ):
        found = list((tmp_path / "cache").glob(part))
        assert found
        for file in found:
            file.write_bytes(pickle.dumps(Canary(tmp_path / "canary")))
        activations.main(["list", "--cache", str(tmp_path / "cache")])
        _, again = run_tiny("model=bert_linear", "freeze=all", name=part.replace("/", "_"))
        assert again["history"] == result["history"]
    assert not (tmp_path / "canary").exists()


def test_predictions_of_pickles_are_refused_or_read_as_bytes(finished: RunFolder, tmp_path: Path) -> None:
    payload = pickle.dumps(Canary(tmp_path / "canary"))
    run = copied(finished, tmp_path / "runs" / "one")
    file = run.path / "predictions" / "test.parquet"
    table = pyarrow.parquet.read_table(file)
    # The kind of Arrow type that once was a pickle.
    kind = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": payload}
    fields = [pyarrow.field(f.name, f.type, metadata=kind) for f in table.schema]
    schema = pyarrow.schema(fields, metadata={b"pandas": payload, b"huggingface": payload})
    pyarrow.parquet.write_table(pyarrow.table(table.columns, schema=schema), file)
    assert read_table(file).columns["text"] == table["text"].to_pylist()
    compare(run.path.parent, "accuracy", None, None, 0.01, False)
    for content in (payload, b"PAR1" + payload + b"PAR1"):
        file.write_bytes(content)
        with pytest.raises(UserError, match=r"test\.parquet must hold the columns"):
            compare(run.path.parent, "accuracy", None, None, 0.01, False)
        with pytest.raises(UserError, match="must be a Parquet file"):
            read_table(file)
    assert not (tmp_path / "canary").exists()


def test_a_data_set_is_no_kind_of_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.pkl").write_bytes(pickle.dumps(Canary(tmp_path / "canary")))
    monkeypatch.chdir(tmp_path)
    for name in ("pandas", "csv", "webdataset", "/tmp", "../x", "a/b/c"):
        with pytest.raises(UserError, match="must be a data set on the hub"):
            saved_datasets.read_hub(Data.model_construct(name=name, config_name=None))
    assert not (tmp_path / "canary").exists()


@pytest.mark.rare
def test_the_environment_cannot_switch_pickles_on(tmp_path: Path) -> None:
    torch.save(Canary(tmp_path / "canary"), tmp_path / "pickle")
    environment = {**os.environ, "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
    # A library that leaves the choice to PyTorch, first as it would be without this project.
    for modules, runs in (("torch", True), ("torch, src", False), ("src, torch", False)):
        (tmp_path / "canary").unlink(missing_ok=True)
        code = f"import {modules}; torch.load({str(tmp_path / 'pickle')!r})"
        subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, check=False, capture_output=True)
        assert (tmp_path / "canary").exists() == runs


MARKUP = "<img src=x onerror=alert(1)>"  # also the name of the run's folder
LABELS = (f"=HYPERLINK(1)\"'`{MARKUP}</script>", "@$\\frac{$ [a](http://evil.example) ![b](http://evil.example) \\| c")


@pytest.fixture(scope="module")
def hostile(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of two runs on texts and labels that are markup, formulas and links, with everything made of them."""
    from src.train import train

    root = tmp_path_factory.mktemp("hostile")
    texts = [f"{sign}{MARKUP} </script> {n} $x$ [c](http://evil.example)" for n in range(30) for sign in "=+-@\t"]
    with (root / "data.csv").open("w", encoding="utf-8", newline="") as file:
        rows = [(text, LABELS[number % 2]) for number, text in enumerate(texts)]
        csv.writer(file).writerows([("text", "label"), *rows])
    limits = ("data.max_length=24", "trainer=cpu", "trainer.max_epochs=1", "callbacks.progress=null")
    given = (f"backbone.name={tiny_bert}", "data=table", f"data.path={root / 'data.csv'}", f"cache={root / 'cache'}")
    for name, freeze in ((MARKUP, "all"), (f"=1+1{MARKUP}", "none")):
        folder = RunFolder(root / "runs" / name)
        train(composed(*given, *limits, "model=bert_linear", f"freeze={freeze}"), folder)
    runs = [root / "runs" / name for name in (MARKUP, f"=1+1{MARKUP}")]
    compare(root / "runs", "accuracy", None, None, 0.01, False)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("explain")
        cfg.merge_with({"run": str(runs[0]), "against": str(runs[1]), "input": str(root / "data.csv"), "limit": 2})
        explain(cfg)
        cfg = compose("export")
        cfg.merge_with({"run": str(runs[0]), "output": str(root / "export")})
        export(cfg)
    return root


@pytest.mark.filterwarnings("ignore:constrained_layout", "ignore:Glyph")  # no picture has room for such labels
@pytest.mark.rare
def test_pages_show_everything_as_text(hostile: Path) -> None:
    pages = sorted(hostile.rglob("*.html"))
    assert len(pages) == 4  # a comparison, an index and two explanations
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert "<img src=x" not in text
        assert "default-src 'none'" in text
        assert not re.search(r"""(?:src|href)=["'](?:https?:|//)|url\(""", text)
        assert html.unescape(text).count(MARKUP) > 1
        blocks = re.findall(r"<script[^>]*>(.*?)</script>", text, re.DOTALL)
        assert text.count("</script>") == len(blocks) == 1 + (page.parent.name in ("0001", "0002"))


def test_every_template_has_the_policy_and_asks_for_nothing() -> None:
    for file in TEMPLATES.iterdir():
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|innerHTML|document\.write|insertAdjacentHTML", text)
        if file.suffix == ".html" and file.name != "page.html":
            assert text.startswith('{% extends "page.html" %}')
    page = (TEMPLATES / "page.html").read_text(encoding="utf-8")
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{{ script_hash }}'"
    assert f'<meta http-equiv="Content-Security-Policy" content="{policy}">' in page


@pytest.mark.filterwarnings("ignore:constrained_layout", "ignore:Glyph")  # no picture has room for such labels
@pytest.mark.rare
def test_pictures_draw_names_and_hold_no_markup(hostile: Path, tmp_path: Path) -> None:
    pictures = sorted(hostile.rglob("*.svg"))
    assert len(pictures) > 10
    for file in pictures:
        for element in ET.parse(file).iter():
            assert element.tag.rpartition("}")[2] not in ("script", "text", "foreignObject", "a"), file
            links = [value for name, value in element.items() if name.endswith("href")]
            assert all(link.startswith(("data:", "#")) for link in links), file
    # A formula that is none would end a training with an error once everything is computed.
    save(plots.curves([{"epoch": 1, "train/loss": 1.0, "validation/loss": 1.0}], 1, LABELS[1]), tmp_path, "curves")


@pytest.mark.filterwarnings("ignore:constrained_layout", "ignore:Glyph")  # no picture has room for such labels
@pytest.mark.rare
def test_markdown_shows_everything_as_text(hostile: Path) -> None:
    for file in (hostile / "runs" / "comparison.md", hostile / "export" / "README.md"):
        text = file.read_text(encoding="utf-8")
        assert "<" not in text
        # A bracket or a bar after an even number of backslashes is markup.
        assert not re.search(r"(?<!\\)(?:\\\\)*[\[\]`](?!``|python)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    rows = [line for line in (hostile / "export" / "README.md").read_text().splitlines() if line.startswith("| labels")]
    assert "&lt;img src=x" in rows[0]
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", rows[0])) == 3


@pytest.mark.filterwarnings("ignore:constrained_layout", "ignore:Glyph")  # no picture has room for such labels
def test_spreadsheets_run_nothing_and_come_back(finished: RunFolder, tmp_path: Path) -> None:
    values = ["=1+1", "+1 x", "-1 x", "@x", "\tx", "\rx", "'=1", "plain", "-3"]
    for number, value in enumerate(values):
        copied(finished, tmp_path / "runs" / str(number), **{"=section": {"key": value}})
    compare(tmp_path / "runs", "accuracy", None, None, 0.01, False)
    with (tmp_path / "runs" / "comparison.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    cells = [cell for row in rows for cell in row]
    assert not [c for c in cells if c[:1] in tuple("=+-@\t\r") and not re.fullmatch(r"[+-]?[\d.e-]+", c)]
    (column,) = (place for place, name in enumerate(rows[0]) if name.endswith("=section.key"))
    undone = [
        cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell for cell in (r[column] for r in rows[1:])
    ]
    assert sorted(undone) == sorted(values)


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "..", ".", ".x", "a/b", "x\0y", "x" * 300, ""])
def test_explanations_have_names_of_folders(name: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("explain", ["run=x", "text=Good."])
    cfg.name = name
    with pytest.raises(UserError, match="name must be a folder name"):
        explain(cfg)


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/../../x", ".", "", "a//b"])
def test_jobs_stay_in_the_folder_of_their_sweep(name: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", [f"hydra.sweep.subdir='{name}'"], return_hydra_config=True)
    with pytest.raises(UserError, match="Folders of jobs must be inside the folder of their sweep"):
        check_folders(cfg)


def test_a_run_folder_with_an_impossible_name_is_refused(run_tiny: Callable[..., Any], tmp_path: Path) -> None:
    for name in ("zero\0byte", "x" * 300):
        with pytest.raises(UserError, match=r"cannot be written|null byte"):
            run_tiny("model=bert_linear", "freeze=all", name=name)
        with pytest.raises(UserError, match=r"must be the result of a finished run|contains a zero byte"):
            Predictor.load(tmp_path / name)
    assert {path.name for path in tmp_path.iterdir()} == {"cache"}


@pytest.mark.slow
@pytest.mark.parametrize("choice", ["freeze=../../escaped", "model=/escaped", "freeze=./../../../escaped"])
def test_a_choice_is_no_path(choice: str) -> None:
    command = [sys.executable, "-m", "src.train", choice, "run=outputs/never"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert not (ROOT / "outputs" / "never").exists()


@pytest.mark.slow
def test_secrets_of_the_environment_are_in_nothing_that_is_written(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, f"canary-of-{name}")
    tiny = [f"backbone.name={tiny_bert}", "data.limit=60", "data.max_length=32", "trainer=cpu", "model=bert_linear"]
    options = [*tiny, "trainer.max_epochs=1", f"cache={tmp_path / 'cache'}", f"run={tmp_path / 'run'}"]
    again = [f"run={tmp_path / 'run'}", "resume=true", "trainer.max_epochs=2"]
    own = "data.name=${oc.env:HF_TOKEN}"
    said = ""
    for given in ([*options, own], [*again, own]):
        command = [sys.executable, "-m", "src.train", *given]
        ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        assert ended.returncode == 0, ended.stderr
        said += ended.stdout + ended.stderr
    run = RunFolder(tmp_path / "run")
    assert run.read_result()["best"]["epoch"] in (1, 2)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        explain(compose("explain", [f"run={run.path}", "text=Good.", "methods=[occlusion]"]))
        export(compose("export", [f"run={run.path}", f"output={tmp_path / 'export'}"]))
    compare(run.path, "accuracy", None, None, 0.01, False)
    said += capsys.readouterr().out
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {"config.yaml", "compare.html", "README.md", "explanation.json", "train.log"} <= {f.name for f in written}
    assert any("tfevents" in file.name for file in written)
    assert b"${oc.env:HF_TOKEN}" in (run.path / "config.yaml").read_bytes()
    assert [str(file) for file in written if b"canary-of-" in file.read_bytes()] == []
    assert "canary-of-" not in said


def locked(name: str) -> dict[str, tuple[str, int]]:
    """The version of each package in a lock file, and how many hashes it has."""
    entries = re.findall(
        r"^([\w.-]+)==([^ ]+)[^\n]*((?:\n    --hash=sha256:[0-9a-f]{64}[ \\]*)*)$", (ROOT / name).read_text(), re.M
    )
    return {str(canonicalize_name(package)): (version, hashes.count("--hash")) for package, version, hashes in entries}


def test_what_is_installed_is_pinned_with_hashes() -> None:
    lines = [line.partition("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines()]
    pins = [Requirement(line) for line in lines if line]
    everything = locked("requirements.lock")
    for pin in pins:
        if pin.name == "lightning":
            assert not {"2.6.2", "2.6.3"} & {*pin.specifier.filter(["2.6.1", "2.6.2", "2.6.3"])}
            continue
        version, hashes = everything[canonicalize_name(pin.name)]
        assert pin.specifier.contains(version), pin
        assert hashes
    assert len(everything) >= len(pins) - 1
    for name in (file.name for file in ROOT.glob("requirements*.lock")):
        text = (ROOT / name).read_text()
        assert len(locked(name)) == len(re.findall(r"^[^ #]", text, re.MULTILINE))
        assert all(hashes for _, hashes in locked(name).values())
        assert not re.search(r"://|--(?:extra-)?index-url|--find-links|lightning==2\.6\.[23]", text)
    assert (ROOT / "Makefile").read_text().count("--require-hashes") == 5


def test_versions_with_known_holes_are_out_of_range() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ranges = {r.name: r.specifier for r in map(Requirement, project["dependencies"])}
    for package, version in (("pytorch-lightning", "2.6.5"), ("torch", "2.9.1"), ("hydra-core", "1.3.7")):
        assert not ranges[package].contains(version)
    assert "lightning" not in ranges

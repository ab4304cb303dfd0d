"""The activation store: exact, complete, and never trusted when it should not be."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from src import activations
from src.caching import encoding
from src.config.folder import CONF
from src.errors import UserError
from src.models.inference import BATCH_TOKENS
from src.modules.classifier import TextClassifier
from src.runs.folder import RunFolder
from src.store import entries
from src.store import store as store_store
from src.store.store import Mapped, Shape, Store
from tests.conftest import ARCHITECTURES, BF16, PAIRS, SMALL

Run = Callable[..., tuple[RunFolder, dict[str, Any]]]
FROZEN = {
    "freeze=all model=bert_linear": "mean vectors",
    "freeze=all model=bert_linear model.pooling=pooler": "pooler vectors",
    "freeze=all model=bert_bilstm": "token states",
    "freeze=bottom freeze.layers=2 model=bert_linear": "token states",
    "freeze=bottom freeze.layers=3 model=bert_linear model.pooling=pooler": "token states",
    "freeze=cut freeze.layers=2 model=bert_linear": "mean vectors",
    "freeze=cut freeze.layers=1 model=bert_linear model.pooling=pooler": "pooler vectors",
    "freeze=cut freeze.layers=2 model=bert_bilstm": "token states",
    "freeze=cut freeze.layers=2 freeze.train=1 model=bert_linear": "token states",
    "freeze=embeddings model=bert_bilstm": "token states",
    r"freeze=pattern freeze.frozen=['embeddings','layer\.0\.','layer\.2\.attention'] model=bert_linear": "token states",
}


def stores(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "activations").glob("*/"))


def losses(result: dict[str, Any]) -> list[float]:
    return [epoch[f"{split}/loss"] for epoch in result["history"] for split in ("train", "validation")]


@pytest.mark.parametrize("strategy", FROZEN)
def test_a_run_from_the_store_equals_the_live_run(strategy: str, run_tiny: Run) -> None:
    options = [*strategy.split(), "optimizer.lr=1e-3", "data.batch_size=8"]
    _, live = run_tiny(*options, "activations=off", name="live")
    _, stored = run_tiny(*options, "activations=require", name="stored")
    assert live["phases"][0]["activations"] == {"used": False, "reason": "activations=off"}
    assert stored["phases"][0]["activations"]["what"] == FROZEN[strategy]
    assert losses(stored) == pytest.approx(losses(live), abs=1e-4)
    assert stored["metrics"]["test"]["accuracy"] == live["metrics"]["test"]["accuracy"]


@pytest.mark.parametrize("text", ["text", PAIRS])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_continues_from_the_store_or_gives_the_reason(
    architecture: str, text: str, run_tiny: Run, backbone_folder: Callable[[str], Path]
) -> None:
    layers = 0 if architecture == "albert" else 2
    options = [f"backbone.name={backbone_folder(architecture)}", "freeze=bottom", f"freeze.layers={layers}"]
    options.append(f"data.text={text}")
    _, live = run_tiny(*options, "activations=off", name="live")
    _, stored = run_tiny(*options, name="stored")
    assert stored["phases"][0]["activations"]["used"] == (architecture != "albert")
    if architecture == "albert":
        assert "AlbertModel has no list of layers" in stored["phases"][0]["activations"]["reason"]
    assert losses(stored) == pytest.approx(losses(live), abs=1e-4)


@pytest.mark.parametrize(
    ("kind", "freeze", "used"),
    [
        ("megatron-bert", "bottom", False),  # a norm after the last layer
        ("rembert", "embeddings", False),  # narrower embeddings
        ("fnet", "all", False),  # reads padding
        ("eurobert", "bottom", True),
    ],
)
def test_an_architecture_that_cannot_be_split_is_computed_live(
    kind: str, freeze: str, used: bool, run_tiny: Run, tiny_bert: Path, tmp_path: Path
) -> None:
    settings = transformers.AutoConfig.for_model(kind, **{**SMALL, "vocab_size": 400, "input_embedding_size": 8})
    transformers.AutoModel.from_config(settings).save_pretrained(tmp_path / kind)
    transformers.AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(tmp_path / kind)
    options = [f"backbone.name={tmp_path / kind}", "model=bert_linear", f"freeze={freeze}"]
    _, result = run_tiny(*options, *(["freeze.layers=1"] if freeze == "bottom" else []))
    found = result["phases"][0]["activations"]
    assert found["used"] == used
    assert used or "cannot be split there, or reads padding" in found["reason"]


@pytest.mark.parametrize("precision", ["32-true", pytest.param("bf16-mixed", marks=BF16)])
def test_a_store_is_built_once_for_all_runs_with_the_same_prefix(
    precision: str, run_tiny: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_tiny(f"trainer.precision={precision}", name="first")
    built = stores(tmp_path)
    assert len(built) == 1  # of all splits
    monkeypatch.setattr(encoding, "_build", lambda *arguments: pytest.fail("built again"))
    for name, other in {"seed": "seed=7", "head": "model.hidden_size=4", "rate": "optimizer.head_lr=1e-2"}.items():
        run_tiny(f"trainer.precision={precision}", other, name=name)
    assert stores(tmp_path) == built


@pytest.mark.parametrize(
    "change",
    [
        *("backbone", "data.max_length=16", "freeze=embeddings", "model=bert_linear"),
        pytest.param("trainer.precision=bf16-mixed", marks=BF16),
    ],
)
def test_another_prefix_text_length_depth_or_dtype_has_another_store(
    change: str, run_tiny: Run, tmp_path: Path, tiny_bert: Path, tokenizer: Any
) -> None:
    run_tiny(name="first")
    if change == "backbone":
        import transformers

        torch.manual_seed(9)
        other = transformers.AutoModel.from_config(transformers.AutoConfig.from_pretrained(tiny_bert))
        other.save_pretrained(tmp_path / "other")
        tokenizer.save_pretrained(tmp_path / "other")
        change = f"backbone.name={tmp_path / 'other'}"
    run_tiny(change, name="second")
    assert len(stores(tmp_path)) == 2


def test_token_types_are_part_of_what_a_store_depends_on(
    run_tiny: Run, backbone_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """The same token ids with other types give other states: two stores."""
    plain = shutil.copytree(backbone_folder("bert"), tmp_path / "plain")
    tokenizer = transformers.AutoTokenizer.from_pretrained(plain)
    tokenizer.model_input_names = tokenizer.init_kwargs["model_input_names"] = ["input_ids", "attention_mask"]
    tokenizer.save_pretrained(plain)
    pairs = (f"data.text={PAIRS}", "freeze=all", "model=bert_linear", "trainer.max_epochs=1")
    _, typed = run_tiny(*pairs, name="typed")
    _, untyped = run_tiny(*pairs, f"backbone.name={plain}", name="untyped")
    keys = [json.loads((store / "manifest.json").read_text())["key"] for store in stores(tmp_path)]
    assert len(keys) == 2
    assert {name for name in keys[0] if keys[0][name] != keys[1][name]} == {"tokens", "backbone"}
    assert losses(typed) != losses(untyped)


def test_a_run_that_cannot_use_a_store_gives_the_reason(run_tiny: Run, tmp_path: Path) -> None:
    _, result = run_tiny("freeze=none", name="none")
    assert result["phases"][0]["activations"]["reason"] == "the embeddings are trainable"
    _, result = run_tiny("activations.max_gb=0", name="small")
    assert "more than activations.max_gb=0" in result["phases"][0]["activations"]["reason"]
    assert stores(tmp_path) == []
    with pytest.raises(UserError, match="activations=require needs a store, and there can be none: the embeddings"):
        run_tiny("freeze=none", "activations=require", name="required")


def test_a_folder_that_cannot_be_written_means_a_live_run(
    run_tiny: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("in the way")
    _, result = run_tiny()
    assert "cannot be written" in result["phases"][0]["activations"]["reason"]
    assert caplog.text.count("cannot be written") == 2  # the tokens, and the store


def test_a_disk_that_fills_up_leaves_nothing_behind(
    run_tiny: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Store, "write_chunk", full)
    _, result = run_tiny()
    assert "No space left on device" in result["phases"][0]["activations"]["reason"]
    assert stores(tmp_path) == []


def test_a_store_that_disagrees_with_the_model_stops_the_run(run_tiny: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = encoding.Recipe.states
    monkeypatch.setattr(encoding.Recipe, "states", lambda self, batch: real(self, batch) + 1)
    with pytest.raises(RuntimeError, match=r"must agree with the model; .* differ by \d.*, with logits up to \d"):
        run_tiny()


def contents(store: Store) -> bytes:
    return store.values.read_bytes()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, {"backbone": "b", "what": "w", "dtype": "float32"}, Shape(100, 4, "float32"))


VALUES = np.arange(400, dtype=np.float32).reshape(100, 4)


def read(store: Store) -> Any:
    return Mapped(store.values, store.shape)[np.arange(store.shape.vectors)]


def fill(store: Store, *starts: int) -> None:
    finished = store.start()
    for start in starts:
        if (start, start + 25) not in finished:
            store.write_chunk(start, VALUES[start : start + 25])


def test_a_store_is_complete_or_not_there(store: Store) -> None:
    with store.locked():
        fill(store, 0, 25, 50)
        assert not store.is_intact()
        fill(store, 75)
        store.finish()
    assert store.is_intact()
    np.testing.assert_array_equal(read(store), VALUES)


def change_manifest(store: Store, **values: Any) -> None:
    store.manifest.write_text(json.dumps(json.loads(store.manifest.read_text()) | values))


DAMAGE: dict[str, tuple[Callable[[Store], Any], int]] = {  # and how many chunks are kept
    "flipped byte": (lambda s: s.values.write_bytes(contents(s)[:500] + b"x" + contents(s)[501:]), 3),
    "truncated": (lambda s: s.values.write_bytes(contents(s)[:500]), 1),
    "empty": (lambda s: s.values.write_bytes(b""), 0),
    "text": (lambda s: s.values.write_text("text"), 0),
    "missing": (lambda s: s.values.unlink(), 0),
    "half a line": (lambda s: s.journal.write_text(s.journal.read_text()[:-20]), 3),
    "bytes in the journal": (lambda s: s.journal.write_bytes(b"\xff\n" + s.journal.read_bytes()), 4),
    "a far chunk": (lambda s: s.journal.write_text(s.journal.read_text().replace("100", "9" * 30)), 3),
    "deep nesting": (lambda s: s.journal.write_text("[" * 100_000 + "\n" + s.journal.read_text()), 4),
    "no journal": (lambda s: s.journal.unlink(), 0),
    "newer format": (lambda s: change_manifest(s, format=store_store.FORMAT + 1), 4),
    "other texts": (lambda s: change_manifest(s, key={"tokens": "other"}), 4),
    "other shape": (lambda s: change_manifest(s, shape={"vectors": 100, "width": 8, "dtype": "float16"}), 4),
    "another manifest": (lambda s: s.manifest.write_text("[1]"), 4),
    "bytes in the manifest": (lambda s: s.manifest.write_bytes(b"\xff"), 4),
}

HARMLESS = ("bytes in the journal", "deep nesting")  # lines beside those of the chunks


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found_and_only_what_is_damaged_is_built_again(store: Store, damage: str) -> None:
    with store.locked():
        fill(store, 0, 25, 50, 75)
        store.finish()
    whole = contents(store)
    ruin, kept = DAMAGE[damage]
    ruin(store)
    assert [entry.folder for entry in entries.entries(store.folder.parent.parent)] == [store.folder]
    before = {file: file.read_bytes() for file in store.folder.iterdir()}
    assert store.is_intact() == (damage in HARMLESS)
    assert {file: file.read_bytes() for file in store.folder.iterdir()} == before  # it may be that of another run
    finished = store.start()
    assert len(finished) == kept
    fill(store, 0, 25, 50, 75)
    store.finish()
    assert store.is_intact()
    np.testing.assert_array_equal(read(store), VALUES)
    assert contents(store) == whole


KILLED = """
import os, sys
from tests.caching.test_store import VALUES, fill
from src.store.store import Shape, Store
from pathlib import Path
store = Store(Path(sys.argv[1]), {"backbone": "b", "what": "w", "dtype": "float32"}, Shape(100, 4, "float32"))
with store.locked():
    fill(store, 0, 25)
    with store.journal.open("a") as file:
        file.write('{"start": 50, "st')
    with store.values.open("r+b") as file:
        file.seek(800)
        file.write(b"half a chunk")
    os.kill(os.getpid(), 9)
"""


@pytest.mark.slow
def test_a_killed_builder_leaves_no_trap(store: Store, tmp_path: Path) -> None:
    for _ in range(2):
        killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=CONF.parent, check=False)
        assert killed.returncode == -9, killed
    with store.locked():
        assert not store.is_intact()
        assert store.start() == {(0, 25), (25, 50)}
        fill(store, 50, 75)
        store.finish()
    assert store.is_intact()
    np.testing.assert_array_equal(read(store), VALUES)


BUILDER = """
import os, runpy, sys
from src.caching import encoding
from src.store import store
encoding.CHUNK_TOKENS = 1_000
write, left = store.Store.write_chunk, [int(sys.argv.pop(1))]
def dying(self, *chunk):
    write(self, *chunk)
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), 9)
store.Store.write_chunk = dying
runpy.run_module("src.train", run_name="__main__")
"""


@pytest.mark.slow
def test_what_a_killed_builder_has_allocated_is_not_needed_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = store.free_bytes()
    with store.locked():
        store.start()
    usage = shutil.disk_usage(store.folder)._replace(free=store_store.RESERVE)
    monkeypatch.setattr(store_store.shutil, "disk_usage", lambda place: usage)
    assert before > store.free_bytes() >= store.shape.bytes


def test_killed_twice_and_then_built_by_two_at_once_it_is_one_store_of_the_same_bytes(
    tiny_bert: Path, tmp_path: Path, run_tiny: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["data.limit=200", "model.hidden_size=8", "data.max_length=32", "trainer=cpu", "trainer.max_epochs=1"]
    (script := tmp_path / "build.py").write_text(BUILDER)

    def start(chunks: int, name: str) -> subprocess.Popen[str]:
        folders = [f"run={tmp_path / name}", f"cache={tmp_path / 'shared'}", f"backbone.name={tiny_bert}"]
        command = [sys.executable, str(script), str(chunks), *options, *folders]
        environment = {**os.environ, "PYTHONPATH": str(CONF.parent)}
        return subprocess.Popen(
            command, cwd=CONF.parent, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    for attempt, chunks in enumerate(np.random.default_rng().integers(1, 3, 2).tolist()):
        killed = start(chunks, f"killed-{attempt}")
        output, _ = killed.communicate()
        assert killed.returncode == -9, output
    both = [start(-1, name) for name in ("one", "two")]
    for process in both:
        output, _ = process.communicate()
        assert process.returncode == 0, output
        assert "from the activation store" in output
    monkeypatch.setattr(encoding, "CHUNK_TOKENS", 1_000)
    run_tiny(*options)
    clean = {folder.name: (folder / "values.bin").read_bytes() for folder in stores(tmp_path)}
    found = (tmp_path / "shared" / "activations").glob("*/values.bin")
    assert {file.parent.name: file.read_bytes() for file in found} == clean


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the memory of a process from /proc")
def test_memory_does_not_grow_with_what_is_read(tmp_path: Path) -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    shape = Shape(1 << 16, 512, "float32")
    with (tmp_path / "values.bin").open("wb") as file:
        file.truncate(shape.bytes)
    mapped = Mapped(tmp_path / "values.bin", shape)
    before, most = resident(), 0
    for start in range(0, shape.vectors, 256):
        mapped[np.arange(start, start + 256)]
        most = max(most, resident() - before)
    assert most < shape.bytes / 4


def test_a_mapped_store_goes_to_another_process(store: Store) -> None:
    with store.locked():
        fill(store, 0, 25, 50, 75)
    mapped = Mapped(store.values, store.shape)
    for rows in ([3, 1], [99], list(range(50))):
        np.testing.assert_array_equal(mapped[np.array(rows)], VALUES[rows])
    copied = pickle.loads(pickle.dumps(mapped))
    np.testing.assert_array_equal(copied[np.array([7])], VALUES[[7]])


def test_the_encoding_pass_leaves_the_number_of_threads_as_it_was(run_tiny: Run) -> None:
    before = torch.get_num_threads()
    try:
        run_tiny("trainer.threads=3")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_chunks_are_a_function_of_the_lengths_and_cover_every_text_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "CHUNK_TOKENS", 5_000)
    lengths = np.sort(np.random.default_rng(0).integers(1, 400, 1000))[::-1].astype(np.int64)
    chunks = list(encoding._chunks(lengths, torch.device("cpu")))
    assert np.concatenate([np.arange(1000)[s] for c in chunks for s in c]).tolist() == list(range(1000))
    assert all(lengths[s].max() * len(lengths[s]) <= BATCH_TOKENS["cpu"] for c in chunks for s in c)
    assert len(chunks) > 10


def test_list_and_prune(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill_and_finish = Store(tmp_path, {**store.key, "what": "other"}, store.shape)
    for each in (store, fill_and_finish):
        with each.locked():
            fill(each, 0, 25, 50, 75)
            each.finish()
    fill_and_finish.manifest.unlink()
    activations.main(["list", "--cache", str(tmp_path)])
    shown = capsys.readouterr().out
    assert "b, w, 100 x 4 float32" in shown
    assert "unfinished" in shown
    assert "2 stores" in shown
    for wrong in (
        ["--days", "-1"],
        ["--days", "nan"],
        ["--cache", "none"],
        ["--cache", "a" * 5000],
        ["--cache", "~none"],
    ):
        with pytest.raises(SystemExit, match="2"):
            activations.main(["prune", "--cache", str(tmp_path), *wrong])
        assert "must be a" in capsys.readouterr().err
    activations.main(["prune", "--days", "1", "--cache", str(tmp_path)])
    assert store.folder.exists()
    activations.main(["prune", "--cache", str(tmp_path)])
    assert "freed" in capsys.readouterr().out
    assert list((tmp_path / "activations").iterdir()) == []


def test_what_other_processes_delete_meanwhile_is_left_out(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with store.locked():
        fill(store, 0, 25, 50, 75)
        store.finish()
    (store.folder / ".manifest.json.1").symlink_to("nowhere")  # as if it had been renamed
    activations.main(["list", "--cache", str(tmp_path)])
    assert "1 store," in capsys.readouterr().out
    monkeypatch.setattr(json, "loads", lambda text: shutil.rmtree(store.folder) or {})
    activations.main(["prune", "--cache", str(tmp_path)])
    assert "0 stores" in capsys.readouterr().out


def test_stores_of_others_are_not_deleted(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.locked():
        fill(store, 0, 25, 50, 75)
        store.finish()
    monkeypatch.setattr(activations, "FileLock", denied)
    with pytest.raises(UserError, match=r"must be a store that you may delete; it is not: Permission denied\."):
        activations.main(["prune", "--cache", str(tmp_path)])
    assert store.is_intact()


def test_the_manifest_says_everything_the_content_depends_on(run_tiny: Run, tmp_path: Path) -> None:
    run_tiny()
    key = json.loads((stores(tmp_path)[0] / "manifest.json").read_text())["key"]
    assert key.keys() == {
        "prefix", "architecture", "attention", "tokens", "tokenizer", "max_length", "depth", "what", "dtype", "backbone"
    }  # fmt: skip


def denied(*arguments: Any) -> None:
    raise PermissionError(13, "Permission denied")


def test_a_store_of_all_layers_is_read_once_and_never_written(
    run_tiny: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("model=bert_linear", "trainer.max_epochs=1")
    run_tiny(*options, "freeze=mix", name="mix")
    (wide,) = stores(tmp_path)
    reads: list[Path] = []
    real = Store._intact_chunks
    monkeypatch.setattr(Store, "_intact_chunks", lambda self: (reads.append(self.folder), real(self))[1])
    monkeypatch.setattr(os, "utime", denied)
    _, result = run_tiny(*options, "freeze=all", name="all")
    assert result["phases"][0]["activations"]["used"]
    assert reads == stores(tmp_path) == [wide]
    (wide / "values.bin").write_bytes(b"damaged")
    before = {file: file.read_bytes() for file in wide.iterdir()}
    run_tiny(*options, "freeze=all", name="again")
    assert len(stores(tmp_path)) == 2
    assert {file: file.read_bytes() for file in wide.iterdir()} == before


def test_a_store_of_all_layers_that_may_not_be_read_is_left_alone(
    run_tiny: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("model=bert_linear", "trainer.max_epochs=1")
    run_tiny(*options, "freeze=mix", name="mix")
    (wide,) = stores(tmp_path)
    real = Store._intact_chunks
    monkeypatch.setattr(Store, "_intact_chunks", lambda self: denied() if self.folder == wide else real(self))
    run_tiny(*options, "freeze=all", name="all")
    assert len(stores(tmp_path)) == 2


def test_the_suffix_is_not_registered_twice(run_tiny: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[TextClassifier] = []
    real = TextClassifier.read_store
    monkeypatch.setattr(TextClassifier, "read_store", lambda self, s: (seen.append(self), real(self, s))[1])
    run_tiny("freeze=bottom", "freeze.layers=1")
    assert {name.partition(".")[0] for name, _ in seen[0].named_modules() if name} == {"encoder", "head"}

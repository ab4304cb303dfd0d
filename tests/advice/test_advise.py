"""`python -m src.advise`: what it finds, writes, leaves for later runs, and refuses."""

from __future__ import annotations

import csv
import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hydra import compose, initialize_config_dir

from src import advise as command
from src.advice import advice, encoded
from src.caching import encoding
from src.config.folder import CONF
from src.config.model import LinearHead
from src.errors import UserError
from src.freezing.whole_stages import Bottom, Cut, Nothing
from src.models.checks import read_training
from src.runs.folder import RunFolder
from tests.conftest import SMALL, composed, main, refusal, review_texts
from tests.data.test_data import write_csv

Run = Callable[..., tuple[RunFolder, dict[str, Any]]]
CARRIER = 2  # the layer that tells the label


@pytest.fixture(scope="module")
def uneven_bert(tokenizer: transformers.PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random BERT with weights so large that each layer's output is unlike the others'."""
    torch.manual_seed(0)
    settings = transformers.BertConfig(vocab_size=len(tokenizer), initializer_range=1.0, **SMALL)
    folder = tmp_path_factory.mktemp("backbone")
    transformers.AutoModel.from_config(settings).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def labelled(uneven_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reviews with labels that are a linear function of the mean states after one of the layers."""
    model = transformers.AutoModel.from_pretrained(uneven_bert).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(uneven_bert)
    texts = review_texts()[:300]
    means = []
    with torch.inference_mode():
        for text in texts:
            read = tokenizer(text, return_tensors="pt", truncation=True, max_length=32)
            states = model(**read, output_hidden_states=True).hidden_states[CARRIER][0]
            means.append(states.mean(0).numpy())
    vectors = np.stack(means) - np.mean(means, axis=0)
    score = vectors @ np.linalg.svd(vectors)[2][3]
    labels = np.where(score > np.median(score), "high", "low")
    return write_csv(tmp_path_factory.mktemp("data") / "data.csv", list(zip(texts, labels.tolist(), strict=True)))


@pytest.fixture
def options(uneven_bert: Path, labelled: Path, tmp_path: Path) -> list[str]:
    return [
        "data=table",
        f"data.path={labelled}",
        "data.max_length=32",
        f"backbone.name={uneven_bert}",
        "trainer=cpu",
        f"cache={tmp_path / 'cache'}",
    ]


def advised(options: Sequence[str], *more: str) -> Any:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return command.advise(compose("advise", ["run=unset", "folder=unset", *options, *more]))


def test_the_layer_that_tells_the_label_is_advised(options: Sequence[str]) -> None:
    found = advised(options, "trainer.precision=auto")  # as trainer=gpu has it
    scores = {layer.name: layer.scores["accuracy"].value for layer in found.layers}
    assert found.best.layers == CARRIER, scores
    assert found.chosen.layers == CARRIER
    assert found.decision.candidates == [f"layer {CARRIER}"]
    assert found.strategy(found.chosen) == f"cut:{CARRIER}"
    assert found.costs.keys() == {f"cut:{CARRIER}", "all", "bottom:2", "bottom:1", "none"}
    assert found.costs["none"].trainable > found.costs["bottom:2"].trainable > found.costs["all"].trainable


def test_an_epoch_is_one_of_all_texts_that_there_are(options: Sequence[str]) -> None:
    def epoch(*more: str) -> float:
        return float(advised(options, "data.batch_size=4", *more).costs["none"].epoch)

    assert epoch("max_texts=20", "trainer.limit_train_batches=0.5") > 2 * epoch("data.train_size=20")


@pytest.mark.parametrize("freeze", [["freeze=mix"], ["freeze=all"], ["freeze=cut", f"freeze.layers={CARRIER}"]])
def test_later_runs_read_what_advice_has_encoded(
    freeze: Sequence[str], options: Sequence[str], run_tiny: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    advised(options)
    given = [*options, *freeze, "model=bert_linear", "data.limit=null"]
    _, live = run_tiny(*given, "activations=off", name="live")
    monkeypatch.setattr(encoding, "_encode", None)
    _, stored = run_tiny(*given, "activations=require", name="stored")
    losses = [[epoch["validation/loss"] for epoch in result["history"]] for result in (live, stored)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)


def test_the_folder_has_the_page_the_numbers_and_a_command_that_runs(options: Sequence[str], tmp_path: Path) -> None:
    folder = tmp_path / "advice"
    main("advise", [*options, f"folder={folder}", "margin=0.02", "cost=memory"])
    assert {file.name for file in folder.iterdir()} == {
        "advise.html", "advise.json", "experiment", "label_issues.csv", "plots"
    }  # fmt: skip
    content = json.loads((folder / "advise.json").read_text())
    (found,) = content["backbones"]
    assert found["decision"]["chosen"] == f"layer {CARRIER}"
    assert found["margin"] == 0.02
    assert found["data"]["labels"].keys() == {"high", "low"}
    assert [file.name for file in sorted((folder / "experiment").iterdir())] == [
        "bottom_2.yaml", f"cut_{CARRIER}.yaml", "gradual.yaml", "none.yaml"
    ]  # fmt: skip
    with (folder / "label_issues.csv").open(newline="") as file:
        assert set(csv.DictReader(file).fieldnames or ()) == {"row", "label", "suggested", "probability", "text"}
    page = (folder / "advise.html").read_text()
    assert all(sentence.partition(":")[0] in page for sentence in found["sentences"])
    for name, strategy in {"cut_2": Cut(2), "bottom_2": Bottom(2), "none": Nothing()}.items():
        settings, found_strategy = read_training(
            composed(f"hydra.searchpath=[file://{folder}]", f"experiment={name}", *options)
        )
        assert found_strategy == strategy
        assert isinstance(settings.model, LinearHead)
        assert settings.trainer.max_epochs == (50 if name == "cut_2" else 10)
    race = shlex.split(content["command"])
    assert race[:3] == ["python", "-m", "src.train"]
    assert f"experiment=cut_{CARRIER},bottom_2,gradual,none" in race
    assert {"race.margin=0.02", "race.cost=memory", "data=table"} <= {*race}
    with initialize_config_dir(str(CONF), version_base="1.3"):
        swept = [one for one in race[5:] if not one.startswith("experiment=")]
        cfg = compose("train", [f"hydra.searchpath=[file://{folder}]", *swept], return_hydra_config=True)
    assert [*cfg.hydra.sweeper.params] == ["seed"]


@pytest.mark.rare
def test_several_backbones_are_ranked(
    options: Sequence[str], backbone_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    files = tmp_path / "conf" / "backbone"
    files.mkdir(parents=True)
    for name in ("bert", "distilbert"):
        lines = ["defaults: [minilm]", f"name: {backbone_folder(name)}"]
        (files / f"tiny_{name}.yaml").write_text("\n".join(lines) + "\n")
    given = [option for option in options if not option.startswith("backbone")]
    folder = tmp_path / "advice"
    main(
        "advise", ["--config-dir", str(files.parent), "backbone=tiny_distilbert,tiny_bert", f"folder={folder}", *given]
    )
    content = json.loads((folder / "advise.json").read_text())
    scores = [max(layer["scores"]["accuracy"]["value"] for layer in f["layers"][1:-1]) for f in content["backbones"]]
    assert scores == sorted(scores, reverse=True)
    assert {Path(found["backbone"]).name for found in content["backbones"]} == {"bert", "distilbert"}
    assert "Backbones by the best layer's accuracy" in (folder / "advise.html").read_text().replace("&#39;", "'")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["freeze=none"], "Advice is about all strategies; got freeze=none"),
        (["model=bert_bilstm"], "the head must be model=bert_linear"),
        (["model.pooling=pooler"], "the head must be model=bert_linear"),
        (["activations=off"], "needs an activation store"),
        (["margin=2"], "margin"),
        (["metric=loss"], "metric"),
        (["max_texts=3"], "max_texts"),
        (["metric=f1_macro"], "Advice by f1_macro needs at least 300 different training texts; there are 2"),
        (["backbone=minilm,mini"], "backbone has no option 'mini'"),
    ],
)
def test_what_it_refuses(
    given: Sequence[str], said: str, options: Sequence[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = [option for option in options if "backbone=" not in given[0] or not option.startswith("backbone")]
    assert said in refusal("advise", [*kept, f"folder={tmp_path / 'advice'}", *given], capsys)
    assert not (tmp_path / "advice").exists()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("the same text", label) for label in ["a", "b"] * 20], "all are copies of each other"),
        ([(f"text {i} of many {i * 7}", "a" if i > 3 else "b") for i in range(40)], "'b' has"),
        ([(f"text number {i}", "a") for i in range(40)], "label"),
        ([(f"text {i} of many {i * 7}", f"label {i % 30}") for i in range(600)], "max_texts=20 takes 20 of"),
    ],
)
def test_data_that_says_nothing_is_refused(
    rows: list[tuple[str, str]],
    said: str,
    options: Sequence[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write_csv(tmp_path / "odd.csv", rows)
    given = [*options, f"data.path={path}", f"folder={tmp_path / 'advice'}", "max_texts=20"]
    assert said in refusal("advise", given, capsys)


def test_a_backbone_that_shares_its_layers_is_refused(
    options: Sequence[str],
    backbone_folder: Callable[[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [*options, f"backbone.name={backbone_folder('albert')}", f"folder={tmp_path / 'advice'}"]
    assert "share one set of parameters" in refusal("advise", given, capsys)


@pytest.mark.slow
def test_the_proposed_race_runs(options: Sequence[str], tmp_path: Path) -> None:
    folder = tmp_path / "advice"
    main("advise", [*options, "callbacks.progress=null", f"folder={folder}", "freeze=mix", "seed=5"])
    race = shlex.split(json.loads((folder / "advise.json").read_text())["command"])
    ended = subprocess.run(
        [sys.executable, *race[1:], "trainer.max_epochs=1", "race.rates=null"],
        cwd=CONF.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    results = [json.loads(file.read_text()) for file in folder.glob("runs/*/result.json")]
    assert {result["strategy"] for result in results} >= {"bottom:2", f"cut:{CARRIER}", "none"}
    assert (folder / "runs" / "race.json").exists()


@pytest.mark.rare
def test_of_texts_in_windows_the_mean_of_their_vectors_is_probed(
    options: Sequence[str], uneven_bert: Path, labelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = ("data.max_length=16", "data.windows=true", "data.stride=4", "max_texts=60")
    seen: list[Any] = []
    real = encoded.encode
    monkeypatch.setattr(advice, "encode", lambda *given: seen.append(real(*given)) or seen[-1])
    found = advised(options, *windows)
    assert found.best.scores["accuracy"].value > 0.4
    model = transformers.AutoModel.from_pretrained(uneven_bert).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(uneven_bert)
    with labelled.open(newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    read: Any = {"truncation": True, "max_length": 16, "stride": 4, "return_overflowing_tokens": True}
    means = []
    with torch.inference_mode():
        for text in texts:
            ids = [torch.tensor([window]) for window in tokenizer(text, **read)["input_ids"]]
            means.append(torch.stack([model(one).last_hidden_state[0].mean(0) for one in ids]).mean(0))
    exact = "donot_use_mm_for_euclid_dist"
    gaps = torch.cdist(torch.from_numpy(seen[0].vectors[:, -1]), torch.stack(means), compute_mode=exact).amin(1)
    assert float(gaps.max()) < 1e-3
    with pytest.raises(UserError, match=r"the mean of its windows; got model\.windows=max"):
        advised(options, *windows, "model.windows=max")

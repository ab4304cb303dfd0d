"""`python -m src.explain`: what it leaves, what its page shows and does, and what it refuses."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir

from src.config.folder import CONF
from src.config.reading import Reading
from src.errors import UserError
from src.explain import explain
from src.explanation.attention import Attention
from src.explanation.explanation import Explanation
from src.explanation.gradients import METHODS as OF_IMPORTANCE
from src.explanation.inputs import check_runs
from src.explanation.options import Method
from src.explanation.page import Side, check_size, run_title, write_page
from src.explanation.question import Question
from src.explanation.tokens import split
from src.explanation.writing import stage_states
from src.predict import Predictor
from src.runs.folder import RunFolder
from tests.conftest import PAIRS, main

RunTiny = Callable[..., tuple[RunFolder, dict[str, Any]]]
HOSTILE = 'Good food </script><img src=x onerror="document.title=1"> slow staff'
FILES = {"index.html", "explanation.json", "attention.npz"} | {
    f"{name}.{ending}"
    for name in (
        *("integrated_gradients", "gradient_input", "occlusion"),
        *("attention_layers", "attention_heads", "faithfulness"),
    )
    for ending in ("png", "svg")
}


def explained(run: RunFolder, /, *overrides: str, **values: Any) -> Path:
    """The page that the command leaves. Values are taken as they are, like those that the command takes verbatim."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("explain", list(overrides))
    cfg.merge_with({"run": str(run.path), **values})
    return explain(cfg)


def payload(page: Path) -> dict[str, Any]:
    """What the page's script reads."""
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    content: dict[str, Any] = json.loads(found)
    return content


def test_a_page_says_what_the_run_predicts_and_shows_the_models_attention(run_tiny: RunTiny) -> None:
    run, _ = run_tiny("model=bert_linear", "freeze=bottom", "freeze.layers=2")
    page = explained(run, "name=one", "layers=[0,2]", text=HOSTILE)
    assert {file.name for file in page.parent.iterdir()} == FILES
    assert [folder.name for folder in (run.path / "explanations").iterdir()] == ["one"]
    (record,) = json.loads((page.parent / "explanation.json").read_text())["runs"]
    predictor = Predictor.load(run.path, device="cpu")
    assert record["labels"] == [label for label, _ in predictor([HOSTILE])[0]]
    assert record["probabilities"] == pytest.approx(dict(predictor([HOSTILE])[0]), abs=1e-6)
    states = {"embeddings": "frozen", "layer.0": "frozen", "layer.1": "frozen", "layer.2": "trained", "head": "trained"}
    assert record["stages"] == states
    (side,) = payload(page)["sides"]
    weights = np.load(page.parent / "attention.npz")["weights"]
    encoder = predictor.network.encoder
    encoder.set_attn_implementation("eager")
    ids = predictor.tokenizer(HOSTILE, return_tensors="pt", truncation=True, max_length=32)["input_ids"]
    with torch.no_grad():
        maps = encoder(ids, output_attentions=True).attentions
    expected = torch.cat([maps[0], maps[2]]).numpy()
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, expected, atol=1e-6)
    # Rows could not be mistaken for columns.
    assert abs(expected - expected.swapaxes(2, 3)).max() > expected.max() / 100
    shown, size = side["attention"], len(side["tokens"])
    low, high = np.frombuffer(zlib.decompress(base64.b64decode(shown["packed"])), dtype=np.uint8).reshape(2, -1)
    values = (low + 256 * high.astype(np.float64)).reshape(-1, size, size)
    values *= np.array(shown["peaks"])[:, None, None] / shown["levels"]
    assert shown["columns"] == ["head 0", "head 1", "mean", "max"]
    heads = values[: 2 * 4].reshape(2, 4, size, size)
    np.testing.assert_allclose(heads[:, :2], expected, atol=expected.max() / 100_000)
    np.testing.assert_allclose(heads[:, 2], expected.mean(1), atol=expected.max() / 100_000)
    np.testing.assert_allclose(heads[:, 3], expected.max(1), atol=expected.max() / 100_000)
    assert shown["extra"][0] == "rollout"


def test_a_run_of_a_multirun_is_called_by_what_it_is() -> None:
    result = {"strategy": "bottom:2", "seed": 2}
    assert run_title("3", result) == "bottom:2, seed 2 (3)"
    assert run_title("mine_3", result) == "mine_3"


def test_a_pair_has_its_words_by_side(run_tiny: RunTiny, tmp_path: Path) -> None:
    run, _ = run_tiny(f"data.text={PAIRS}", "model=bert_linear", "freeze=all", "trainer.max_epochs=1")
    page = explained(run, "name=pair", "methods=[occlusion]", text="Good food", pair="slow " * 40)
    (record,) = json.loads((page.parent / "explanation.json").read_text())["runs"]
    words = [(word["side"], word["word"]) for word in record["words"]]
    assert words[:3] == [(0, "Good"), (0, "food"), (1, "slow")]
    assert {side for side, _ in words[2:]} == {1}
    cut = 42 - len(words)
    assert record["warnings"] == [f"The second text is truncated to 32 tokens; the last {cut} words are ignored."]
    (side,) = payload(page)["sides"]
    assert side["text"][side["second"] :].startswith("slow slow")
    file = tmp_path / "in.csv"
    file.write_text("a,b\nGood food,slow staff\n")
    index = explained(run, "name=file", "methods=[occlusion]", input=str(file), text_column=["a", "b"])
    assert "Good food ⏎ slow staff" in index.read_text()
    for given in ({"text": "a"}, {"input": str(file), "text_column": "a"}, {"pair": "b", "input": str(file)}):
        with pytest.raises(UserError, match=r"needs two|as many columns|give the first too"):
            explained(run, **given)


def test_a_page_calls_trained_what_the_phases_that_were_reached_have_trained(run_tiny: RunTiny) -> None:
    run, result = run_tiny("model=bert_linear", "freeze=gradual", "trainer.max_epochs=2")
    names = ["embeddings", "layer.0", "layer.1", "layer.2", "head"]

    def states() -> list[str]:
        found = stage_states(Predictor.load(run.path))
        assert list(found) == names
        return list(found.values())

    assert states() == ["frozen", "frozen", "frozen", "trained", "trained"]
    # The oldest results say nothing of the steps of a phase, others might say nothing of phases.
    run.write_json("result.json", {**result, "phases": [{"trainable": ["head"]}]})
    assert states() == ["frozen", "frozen", "frozen", "frozen", "trained"]
    run.write_json("result.json", {key: value for key, value in result.items() if key != "phases"})
    assert states() == ["trained"] * 5


def test_a_page_stands_alone_and_shows_markup_as_text(run_tiny: RunTiny) -> None:
    run, _ = run_tiny("model=bert_linear", "freeze=all")
    text = explained(run, "methods=[occlusion,attention]", text=HOSTILE).read_text(encoding="utf-8")
    assert "text.slice(" not in text  # places count characters, of which JavaScript may make two units
    assert "<img src=x" not in text
    assert text.count("</script>") == 2
    assert not re.search(r"(src|href)=[\"'](?!data:)|https?://(?!www\.w3\.org/2000/svg)|url\(|\.innerHTML", text)
    script = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert "default-src 'none'" in text


def test_the_command_knows_every_method() -> None:
    assert (*OF_IMPORTANCE, "attention") == get_args(Method)


@pytest.mark.slow
def test_several_texts_have_an_index_under_two_runs(run_tiny: RunTiny, tmp_path: Path) -> None:
    rows = ["data=reviews_aspects", "freeze=lora", "freeze.rank=2", "model=bert_linear"]
    one, _ = run_tiny(*rows)
    other, _ = run_tiny("data=reviews_aspects", "freeze=mix", name="other")
    file = tmp_path / "texts.csv"
    file.write_text("text,more\nThe food was <b>good</b>.,1\nSlow service,2\nNot read,3\n", encoding="utf-8")
    index = explained(
        one,
        "name=two",
        "limit=2",
        "labels=[food]",
        "methods=[integrated_gradients,attention]",
        against=str(other.path),
        input=str(file),
    )
    assert sorted(file.name for file in index.parent.iterdir()) == ["0001", "0002", "index.html"]
    text = index.read_text(encoding="utf-8")
    assert "&lt;b&gt;good" in text
    assert "<b>good" not in text
    predictors = [Predictor.load(run.path) for run in (one, other)]
    texts = ["The food was <b>good</b>.", "Slow service"]
    likeliest = [[scored[0][0] for scored in predictor(texts)] for predictor in predictors]
    same = sum(a == b for a, b in zip(*likeliest, strict=True))
    assert f"They agree on {same} of 2 texts" in text  # whichever labels are explained
    page = (index.parent / "0001" / "index.html").read_text(encoding="utf-8")
    record = json.loads((index.parent / "0001" / "explanation.json").read_text())["runs"]
    assert [side["strategy"] for side in record] == [run.read_result()["strategy"] for run in (one, other)]
    assert [side["labels"] for side in record] == [["food"], ["food"]]
    assert len(record[0]["probabilities"]) == 9
    for side, predictor, (label, _) in zip(record, predictors, likeliest, strict=True):
        assert [side["given"]] == predictor.decide(predictor.probabilities(texts[:1]))
        assert f"by its thresholds; most probable <strong>{label}</strong>" in page
    assert record[0]["stages"]["layer.0"] == "in part"
    assert record[1]["stages"]["layer.0"] == "frozen"
    assert (index.parent / "0002" / "attention_against.npz").exists()


@pytest.mark.rare
def test_a_long_text_of_a_real_size_stays_small_and_a_huge_one_is_refused(tokenizer: Any, tmp_path: Path) -> None:
    (tokens,) = split("good food " * 70, tokenizer, Reading(128))
    weights = torch.rand(6, 12, len(tokens.ids), len(tokens.ids)).softmax(-1)
    attended = Attention(weights, weights[0, 0], weights[:2, 0], 0.0)
    found = Explanation(tokens, {"a": 0.9, "b": 0.1}, ["a", "b"], {}, attended, range(6), range(12), {})
    assert len(tokens.ids) == 128
    assert "words are ignored" in found.warnings()[0]
    write_page([Side("run", "run", "none", {"embeddings": "trained"}, found)], tmp_path)
    assert (tmp_path / "index.html").stat().st_size < 5_000_000
    check_size(128, Question(["attention"], range(6), range(12), None))
    with pytest.raises(UserError, match="24 layers and 16 heads of 512 tokens are 113 million"):
        check_size(512, Question(["attention"], range(24), range(16), None))


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ([True, 2.0, "x y"], ["true", "2", "x y"]),
        (["true", "2"], ["true", "2"]),
        ([1000], r"got 1000\.\nDid you mean 1_000\? In quotes, .*'1_000'"),
        ([False], r"got False\.\nIt may be 'False' or 'false'\. In quotes, "),
        ([[2]], r"got \[2\]\."),
    ],
)
def test_a_label_is_named_as_files_may_write_it(labels: list[Any], found: list[str] | str, run: RunFolder) -> None:
    names = ["true", "2", "1_000", "x y", "False", "false"]
    run.write_json("result.json", run.read_result() | {"objective": "multiclass", "labels": names, "typed_labels": []})
    if isinstance(found, list):
        assert check_runs([run], labels) == found
        return
    with pytest.raises(UserError, match=found):
        check_runs([run], labels)


@pytest.mark.rare
def test_wrong_arguments_are_told_with_what_is_right(run_tiny: RunTiny, tmp_path: Path) -> None:
    run, _ = run_tiny("model=bert_linear", "freeze=all")
    file = tmp_path / "rows.csv"
    file.write_text("review\ngood\n")
    blank = tmp_path / "blank.csv"
    blank.write_text('text,n\ngood,1\n" ",2\n')
    wrong: list[tuple[list[str], dict[str, Any], str]] = [
        ([], {}, r"either text=… or input=FILE .*; got neither\."),
        ([], {"text": "a", "input": str(file)}, r"either text=… or input=FILE .*; got both\."),
        ([], {"text": "", "input": str(file)}, "got both"),
        ([], {"text": "  "}, "text must hold words"),
        (
            ["limit=0", "methods=[ocklusion]"],
            {"text": "a"},
            "limit has .*: 0.\n.*greater than or equal to 1.\nmethods.0 has .*'ocklusion'.\n.*'occlusion'",
        ),
        (["methods=[]"], {"text": "a"}, r"methods must be a list .*; got \[\]\.\nFor example: methods=\["),
        (["labels=positive"], {"text": "a"}, r"labels must be a list .*; got positive\.\nFor example: labels=\["),
        (["name=a/b"], {"text": "a"}, "without slashes"),
        (["labels=[postive]"], {"text": "a"}, "got 'postive'.\nDid you mean positive"),
        (["layers=[0,3]"], {"text": "a"}, r"layers must be in 0\.\.2 for .*; got 3\."),
        (["heads=[-1]"], {"text": "a"}, r"heads must be in 0\.\.1 for .*; got -1\."),
        (["layers=some"], {"text": "a"}, "layers must be all, or numbers such as .*; got some"),
        (["heads=[true]"], {"text": "a"}, r"heads must be all, or numbers such as .*; got \[True\]"),
        ([], {"input": str(file)}, "text_column must name a column of .*; got 'text'"),
        ([], {"input": str(blank)}, "has none in line 3"),
        ([], {"input": str(tmp_path / "none.csv")}, "cannot be read"),
        ([], {"text": "a", "run": str(tmp_path / "none")}, "the result of a finished run"),
    ]
    for overrides, values, message in wrong:
        with pytest.raises(UserError, match=message):
            explained(run, *overrides, **values)
    assert not (run.path / "explanations").exists()
    result = run.read_result()
    changes = (
        ({"objective": "mlm", "labels": []}, "is a masked language model"),
        ({"labels": ["a", "b", "c"]}, "same labels"),
    )
    for change, message in changes:
        other = RunFolder(tmp_path / "other")
        other.path.mkdir(exist_ok=True)
        (other.path / "result.json").write_text(json.dumps(result | change))
        with pytest.raises(UserError, match=message):
            explained(run, text="a", against=str(other.path))
    explained(run, "name=taken", "methods=[occlusion]", text="a")
    with pytest.raises(UserError, match="already exists"):
        explained(run, "name=taken", text="a")


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("chromium"), reason="there is no browser")
def test_a_browser_shows_every_choice_and_runs_nothing_else(run_tiny: RunTiny) -> None:
    one, _ = run_tiny("model=bert_linear", "freeze=all")
    other, _ = run_tiny("model=bert_linear", "freeze=none", name="other")
    page = explained(one, "name=page", text=HOSTILE, against=str(other.path))
    weights = np.load(page.parent / "attention.npz")["weights"]
    # A cell that cannot be mistaken for the one across the diagonal.
    layer, head, i, j = np.unravel_index(abs(weights - weights.swapaxes(2, 3)).argmax(), weights.shape)
    weights = weights[layer, head]
    # The same page with a script of the test's own: it makes every choice and writes down what it sees.
    tried = """
    const attempt = () => {
    const $ = (query) => document.querySelector(query), all = (query) => [...document.querySelectorAll(query)];
    const set = (id, value) => { $(id).value = value; $(id).dispatchEvent(new Event("change")); };
    const bars = () => all("#words section")[0].querySelectorAll("tbody tr");
    const first = () => [...bars()].map((row) => row.cells[1].textContent).join();
    const seen = { panels: all("#words section").length, words: bars().length, text: $("#words .reading").textContent };
    const before = first(); set("#method", 1); seen.method = before !== first();
    const positive = first(); set("#label", 1); seen.label = positive !== first();
    set("#unit", "subwords"); seen.subwords = bars().length;
    $("#special").checked = false; $("#special").dispatchEvent(new Event("change")); seen.plain = bars().length;
    $("#special").checked = true; $("#special").dispatchEvent(new Event("change"));
    set("#order", "by importance");
    const sorted = [...bars()].map((row) => parseFloat(row.cells[1].textContent.replace("\u2212", "-")));
    seen.sorted = sorted.every((value, i) => !i || value <= sorted[i - 1]);
    all("#maps button")[MAP].click(); seen.map = $("#map-title").textContent;
    all("#map .rows button")[2].click(); seen.row = $("#reading").textContent;
    seen.arcs = all("#arcs svg path").length > 0;
    $("#map-table").open = true; $("#map-table").dispatchEvent(new Event("toggle"));
    seen.cell = parseFloat($("#map-table tbody").rows[ROW].cells[COLUMN + 1].textContent);
    set("#side", 2); seen.difference = $("#map-title").textContent;
    seen.pressed = all("#maps button[aria-pressed=true]").length;
    seen.images = all("img").filter((image) => !image.src.startsWith("data:")).length;
    seen.title = document.title;
    const told = document.body.appendChild(document.createElement("pre"));
    told.id = "seen"; told.textContent = JSON.stringify(seen);
    };
    const unpacked = new MutationObserver(() => { unpacked.disconnect(); attempt(); });
    unpacked.observe(document.querySelector("#maps"), { childList: true });
    """
    tried = tried.replace("MAP", str(4 * layer + head)).replace("ROW", str(i)).replace("COLUMN", str(j))
    text = re.sub(r"script-src '[^']*'", "script-src 'unsafe-inline'", page.read_text(encoding="utf-8"))
    press = page.with_name("press.html")
    press.write_text(text.replace("</body>", f"<script>{tried}</script></body>"), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--virtual-time-budget=5000"]
    ended = subprocess.run(
        ["chromium", *options, "--dump-dom", press.as_uri()],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "CONSOLE" not in ended.stderr
    (found,) = re.findall(r'<pre id="seen">(.*?)</pre>', ended.stdout, re.DOTALL)
    seen = json.loads(html.unescape(found))
    side = payload(page)["sides"][0]
    size = len(side["tokens"])
    assert seen["panels"] == 3
    assert HOSTILE in seen["text"].replace("[SEP]", "")  # which stands where the text is cut
    assert seen["words"] == len(side["spans"]) + 2
    assert (seen["subwords"], seen["plain"]) == (size, size - 2)
    assert seen["method"]
    assert seen["label"]
    assert seen["sorted"]
    assert seen["map"] == f"A: run, layer {layer}, head {head}"
    assert seen["row"].startswith(f"{side['tokens'][2]} attends to")
    assert seen["arcs"]
    assert seen["cell"] == pytest.approx(float(weights[i, j]), abs=1e-4)
    assert abs(weights[i, j] - weights[j, i]) > weights.max() / 100
    assert seen["difference"] == f"A minus B, layer {layer}, head {head}"
    assert (seen["pressed"], seen["images"]) == (1, 0)
    assert seen["title"].startswith("Explanation: Good food </script>")


def test_a_name_may_be_a_number(run: RunFolder) -> None:
    main("explain", [f"run={run.path}", "text=Good.", "methods=[occlusion]", "name=2024"])
    assert (run.path / "explanations" / "2024" / "index.html").exists()


def test_commands_of_the_same_second_get_folders_of_their_own(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "strftime", lambda *_: "noon")
    (run.path / "explanations" / ".noon_2.1").mkdir(parents=True)  # one that is still running
    pages = [explained(run, "methods=[occlusion]", text="good") for _ in range(2)]
    assert [page.parent.name for page in pages] == ["noon", "noon_3"]

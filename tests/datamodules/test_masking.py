"""Masked language modelling: what is hidden, what the model computes, and what a run leaves for others."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hydra.core.global_hydra import GlobalHydra
from tokenizers import Tokenizer, models

from src.backbones.scratch import train_tokenizer
from src.config import backbone as config_backbone
from src.config import model
from src.config.reading import Reading
from src.data import corpus as corpora
from src.datamodules.masking import MaskedSplit, Masking, Vocabulary, pack, read_vocabulary
from src.datamodules.ragged import Tokens
from src.datamodules.tokenizing import tokenize
from src.errors import UserError
from src.freezing.whole_stages import Nothing
from src.models.checks import check_fit, find_backbone, read_config
from src.models.heads import MaskedLanguageHead
from src.modules.masked_language_model import MaskedLanguageModel
from src.predict import Predictor
from src.runs.folder import RunFolder
from src.runs.pretrain_config import stage_configs
from src.train import train
from src.training.build import build
from tests.conftest import PAIRS, composed, review_texts

Train = Callable[..., tuple[RunFolder, dict[str, Any]]]

PLAIN = model.Masking(probability=0.15, mask=0.8, random=0.1, whole_words=False)
WORDS = model.Masking(probability=0.15, mask=0.8, random=0.1, whole_words=True)
TINY = ["backbone=scratch", "backbone/size=tiny", "backbone.vocabulary=400", "backbone.max_length=64"]
TEXTS = review_texts()
TEN = [
    "the sun is warm today",
    "my brother plays the violin",
    "rain fell on the old roof",
    "she bought three red apples",
    "the train leaves at noon",
    "a small dog barked loudly",
    "we ate soup for dinner",
    "his coat was very dirty",
    "the river froze last winter",
    "they painted their house green",
]


@pytest.fixture(scope="module")
def tokens(tokenizer: transformers.PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    return tokenize(TEXTS, tokenizer, Reading(64), tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def vocabulary(tokenizer: transformers.PreTrainedTokenizerFast) -> Vocabulary:
    return read_vocabulary(tokenizer)


def hidden(tokens: Tokens, masking: Masking, epoch: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = np.arange(len(tokens.lengths))
    ids = tokens.flat(rows).astype(np.int64)
    return ids, *masking(ids, tokens.lengths, rows, epoch)


@pytest.mark.parametrize("cfg", [PLAIN, WORDS], ids=["tokens", "words"])
def test_rates_are_those_of_the_config_and_special_tokens_stay(
    tokens: Tokens, vocabulary: Vocabulary, cfg: model.Masking
) -> None:
    ids, seen, chosen = hidden(tokens, Masking(vocabulary, cfg, seed=1))
    ordinary = ~vocabulary.special[ids]
    assert not chosen[~ordinary].any()
    assert (seen[~chosen] == ids[~chosen]).all()
    count = chosen.sum()
    assert count / ordinary.sum() == pytest.approx(0.15, abs=0.012)
    masked = (seen == vocabulary.mask) & chosen
    assert masked.sum() / count == pytest.approx(0.8, abs=0.03)
    # A random token is the right one by chance once in a vocabulary.
    assert ((seen != ids) & chosen & ~masked).sum() / count == pytest.approx(0.1, abs=0.025)
    assert not vocabulary.special[seen[chosen & ~masked]].any()


def test_masks_are_a_function_of_seed_epoch_and_text(tokens: Tokens, vocabulary: Vocabulary) -> None:
    _, first, chosen = hidden(tokens, Masking(vocabulary, WORDS, seed=1))
    for seed, epoch in ((2, 0), (1, 1)):
        _, _, other = hidden(tokens, Masking(vocabulary, WORDS, seed), epoch)
        # Independent draws agree as often as chance has it.
        assert (chosen & other).sum() / chosen.sum() == pytest.approx(0.15, abs=0.04)
    split = MaskedSplit(tokens, Masking(vocabulary, WORDS, seed=1), padding=0)
    starts = np.cumsum(tokens.lengths) - tokens.lengths
    batch = split[0, np.array([7, 300, 4])]
    for place, row in enumerate((7, 300, 4)):
        length = tokens.lengths[row]
        assert batch["input_ids"][place, :length].tolist() == first[starts[row] : starts[row] + length].tolist()


def test_whole_words_are_hidden_together(tokens: Tokens, vocabulary: Vocabulary) -> None:
    ids, _, chosen = hidden(tokens, Masking(vocabulary, WORDS, seed=1))
    inside = vocabulary.continues[ids]
    assert inside.sum() > 1000
    assert (chosen[1:] == chosen[:-1])[inside[1:]].all()
    _, _, alone = hidden(tokens, Masking(vocabulary, PLAIN, seed=1))
    assert not (alone[1:] == alone[:-1])[inside[1:]].all()


def test_a_text_in_a_script_without_spaces_is_not_one_word() -> None:
    kinds = {
        "##": ["the", "##re", "##ก", "!", "▁"],
        "▁": ["▁the", "re", "今天", "ご", "ไทย", "é", "!", "Ġ"],
        "Ġ": ["Ġthe", "re", "ä»Ĭå¤©", "ãģĶ", "à¹Ħ", "Ã©", "!"],  # bytes of 今天, ご, ไ and é
    }
    for kind, tokens in kinds.items():
        listed = [*tokens, *(f"{kind}{letter}" for letter in "xyz"), "[MASK]"]
        core = Tokenizer(models.WordLevel({token: i for i, token in enumerate(listed)}, "[MASK]"))
        found = read_vocabulary(transformers.PreTrainedTokenizerFast(tokenizer_object=core, mask_token="[MASK]"))
        continued = {token for token, inside in zip(listed, found.continues, strict=True) if inside}
        wanted = {"##": {"##re", "##x", "##y", "##z"}, "▁": {"re", "é", "Ġ"}, "Ġ": {"re", "Ã©"}}[kind]
        assert continued == wanted, kind


def test_targets_are_the_tokens_at_their_places(tokens: Tokens, vocabulary: Vocabulary) -> None:
    rows = np.array([5, 90, 6, 7])
    batch = MaskedSplit(tokens, Masking(vocabulary, WORDS, seed=1), padding=0)[3, rows]
    plain, _ = tokens.padded(rows, padding=0)
    assert batch["targets"].tolist() == plain.reshape(-1)[batch["masked_positions"].numpy()].tolist()
    assert batch["mask"].flatten()[batch["masked_positions"]].all()
    assert float(batch["loss_divisor"]) == len(batch["targets"]) > 0


def test_processes_share_the_masked_tokens_of_a_batch(tokens: Tokens, vocabulary: Vocabulary) -> None:
    masking, rows = Masking(vocabulary, WORDS, seed=1), np.arange(9)
    whole = MaskedSplit(tokens, masking, padding=0)[0, rows]
    parts = [MaskedSplit(tokens, masking, 0, rank, 2)[0, rows] for rank in range(2)]
    assert sum(len(p["targets"]) for p in parts) == len(whole["targets"])
    assert all(float(p["loss_divisor"]) == float(whole["loss_divisor"]) / 2 for p in parts)


def test_masked_pairs_keep_their_token_types(
    tokenizer: transformers.PreTrainedTokenizerFast, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    pairs = [(TEXTS[i], TEXTS[i + 1]) for i in range(9)]
    found = MaskedSplit(tokenize(pairs, tokenizer, Reading(40), tmp_path), Masking(vocabulary, PLAIN, seed=1), 0)[
        0, np.arange(9)
    ]
    expected = tokenizer(*map(list, zip(*pairs, strict=True)), truncation=True, max_length=40, padding=True)
    assert found["token_type_ids"].tolist() == expected["token_type_ids"]
    assert found["mask"].int().tolist() == expected["attention_mask"]


def test_pairs_are_pretrained_on_and_filled_in(run_tiny: Train) -> None:
    folder, _ = run_tiny("model=bert_mlm", f"data.text={PAIRS}", "data.label=null", "trainer.max_epochs=1")
    predictor = Predictor.load(folder.path)
    (one,), (other,) = (predictor.fill(("The film", f"was {end}."), top=3) for end in ("[MASK]", "very [MASK]"))
    assert len(one) == len(other) == 3
    with pytest.raises(UserError, match="needs two"):
        predictor.fill("The film was [MASK].", top=3)


def test_packed_rows_hold_every_text_once_and_are_nearly_full(tokens: Tokens) -> None:
    blocks = pack(tokens.lengths, 64)
    assert sorted(np.concatenate(blocks).tolist()) == list(range(len(TEXTS)))
    sizes = [int(tokens.lengths[block].sum()) for block in blocks]
    assert max(sizes) <= 64
    assert len(blocks) <= np.ceil(tokens.lengths.sum() / 64) * 11 / 9 + 1


def module_of(*overrides: str, cache: Path) -> tuple[MaskedLanguageModel, Any]:
    cfg = composed("model=bert_mlm", *TINY, "data.max_length=64", f"cache={cache}", *overrides)
    settings, strategy = read_config(cfg)
    source = find_backbone(settings.backbone)
    check_fit(settings, strategy, source)
    module, data = build(cfg, settings, strategy, source, corpora.load(settings.data, masked=True))
    data.setup()
    assert isinstance(module, MaskedLanguageModel)
    return module.eval(), data


def test_texts_in_one_row_do_not_see_each_other(tmp_path: Path) -> None:
    module, data = module_of("data.pack=true", cache=tmp_path)
    packed = data.split("train")
    alone = copy.copy(packed)
    alone.blocks = None
    row = max(range(len(packed)), key=lambda i: len(packed.blocks[i]))
    texts = packed.blocks[row]
    assert len(texts) > 1
    with torch.inference_mode():
        together, apart = module(packed[0, np.array([row])]), [module(alone[0, np.array([text])]) for text in texts]
    torch.testing.assert_close(together, torch.cat(apart), atol=1e-5, rtol=1e-5)


def test_logits_of_masked_places_are_those_of_all_places(tmp_path: Path) -> None:
    module, data = module_of(cache=tmp_path)
    batch = data.split("train")[0, np.arange(8)]
    everywhere = {**batch, "masked_positions": torch.arange(batch["input_ids"].numel())}
    with torch.inference_mode():
        torch.testing.assert_close(module(batch), module(everywhere)[batch["masked_positions"]], atol=1e-5, rtol=1e-5)


def test_the_network_is_that_of_transformers(tiny_bert: Path, tmp_path: Path) -> None:
    """With the weights of a `BertForMaskedLM`, the head's among them, the loss is the one that it computes."""
    reference = transformers.BertForMaskedLM(transformers.AutoConfig.from_pretrained(tiny_bert)).eval()
    reference.save_pretrained(tmp_path / "bert")
    transformers.AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(tmp_path / "bert")
    cfg = composed("model=bert_mlm", f"backbone.name={tmp_path / 'bert'}", "data.max_length=64", f"cache={tmp_path}")
    settings, strategy = read_config(cfg)
    source = find_backbone(settings.backbone)
    module, data = build(cfg, settings, strategy, source, corpora.load(settings.data, masked=True))
    data.setup()
    batch = data.split("train")[0, np.arange(8)]
    labels = torch.full_like(batch["input_ids"], -100)
    labels.view(-1)[batch["masked_positions"]] = batch["targets"]
    with torch.inference_mode():
        loss = reference(batch["input_ids"], batch["mask"].long(), labels=labels).loss
        torch.testing.assert_close(module.eval().step(batch)[0], loss, atol=1e-5, rtol=1e-5)


def test_sums_of_batches_are_the_scores_of_all_tokens(tmp_path: Path) -> None:
    module, data = module_of(cache=tmp_path)
    rows = np.arange(40)
    with torch.inference_mode():
        parts = [module.step(data.split("train")[0, rows[i : i + 7]])[1] for i in range(0, 40, 7)]
        batch = data.split("train")[0, rows]
        logits = module(batch)
    found = module.measure(parts, "train")
    loss = float(torch.nn.functional.cross_entropy(logits, batch["targets"]))
    assert found["loss"] == pytest.approx(loss, rel=1e-5)
    assert found["perplexity"] == pytest.approx(np.exp(loss), rel=1e-4)
    five = (logits.topk(5).indices == batch["targets"][:, None]).any(1).float().mean()
    assert found["accuracy_top5"] == pytest.approx(float(five))
    assert found["accuracy"] == pytest.approx(float((logits.argmax(1) == batch["targets"]).float().mean()))


def test_the_tokenizer_of_the_same_texts_is_the_same(tmp_path: Path) -> None:
    settings, _ = read_config(composed(*TINY, "model=bert_mlm"))
    assert isinstance(settings.backbone, config_backbone.Scratch)
    one, two = (train_tokenizer(TEXTS, settings.backbone) for _ in range(2))
    assert one.get_vocab() == two.get_vocab()
    assert len(one) == 400
    one.save_pretrained(tmp_path)
    again = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert again(TEXTS[:20])["input_ids"] == one(TEXTS[:20])["input_ids"]
    assert again.mask_token == "[MASK]"


@pytest.fixture
def pretrain(tmp_path: Path) -> Train:
    """A run of masked language modelling, of a tiny BERT from scratch unless told otherwise."""

    def run(*overrides: str, name: str = "mlm") -> tuple[RunFolder, dict[str, Any]]:
        GlobalHydra.instance().clear()
        folder = RunFolder(tmp_path / name)
        scratch = [] if any(o.startswith("backbone") for o in overrides) else TINY
        fixed = ["model=bert_mlm", "data.limit=80", "data.max_length=32", "trainer=cpu", "callbacks.progress=null"]
        cfg = composed(*fixed, *scratch, f"cache={tmp_path / 'cache'}", "trainer.max_epochs=2", *overrides)
        return folder, train(cfg, folder)

    return run


def weights(folder: RunFolder, name: str = "best") -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(folder.path / "checkpoints" / f"{name}.ckpt", weights_only=True)[
        "state_dict"
    ]
    return found


def test_pretrain_fine_tune_and_predict(pretrain: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, result = pretrain()
    assert result["objective"] == "mlm"
    assert {"loss", "perplexity", "accuracy", "accuracy_top5", "unigram_perplexity"} == result["metrics"]["test"].keys()
    predictor = Predictor.load(folder.path)
    (guesses,) = predictor.fill("The film was [MASK].", top=5)
    assert len(guesses) == 5
    assert sorted(guesses, key=lambda scored: -scored[1]) == guesses
    with pytest.raises(UserError, match=r"Call fill: predictor\.fill\("):
        predictor(["The film was [MASK]."])

    best, tuned = weights(folder), RunFolder(tmp_path / "tuned")
    cfg = composed(
        *("model=bert_linear", "freeze=all", "backbone=run", f"backbone.run={folder.path}", "data.limit=80"),
        *("data.max_length=32", "trainer=cpu", "trainer.max_epochs=1", f"cache={tmp_path}", "callbacks.progress=null"),
    )
    train(cfg, tuned)
    said = capsys.readouterr().out
    assert "Loaded all 37 tensors of the encoder" in said
    assert "newly initialised: head (2 tensors)" in said
    encoder = Predictor.load(tuned.path).network.encoder.state_dict()
    assert all(torch.equal(tensor, best[f"encoder.{name}"]) for name, tensor in encoder.items())
    (labels,) = Predictor.load(tuned.path)(["A fine film."])
    assert sum(probability for _, probability in labels) == pytest.approx(1, abs=1e-5)


def test_output_matrix_and_embeddings_stay_one(pretrain: Train) -> None:
    folder, _ = pretrain()
    module = Predictor.load(folder.path).network
    names = [
        name for name, _ in module.named_parameters() if _.shape == module.encoder.get_input_embeddings().weight.shape
    ]
    assert names == ["encoder.embeddings.word_embeddings.weight"]
    assert sum(key.endswith("word_embeddings.weight") for key in weights(folder)) == 1
    saved = transformers.AutoModel.from_pretrained(folder.model).get_input_embeddings().weight
    assert torch.equal(saved, module.encoder.get_input_embeddings().weight)
    with torch.no_grad():
        ids = torch.tensor([[2, 9, 4, 11, 3]])
        batch = {"input_ids": ids, "mask": ids > 0, "masked_positions": torch.tensor([2])}
        before = module(batch)
        module.encoder.get_input_embeddings().weight[:] *= 2
        assert not torch.allclose(module(batch), before)


@pytest.mark.parametrize("strategy", ["embeddings", "bottom", "gradual", "lora", "bitfit", "lp_ft"])
def test_freezing_strategies_work_for_masked_words(pretrain: Train, strategy: str) -> None:
    extra = {"bottom": ["freeze.layers=1"], "lp_ft": ["freeze.epochs=1"]}.get(strategy, [])
    folder, result = pretrain(f"freeze={strategy}", *extra)
    assert all(row["before"] == row["after"] for row in result["phases"][0]["audit"] if not row["trainable"])
    assert result["phases"][0]["activations"] == {"used": False, "reason": "other tokens are masked in every epoch"}
    predictor = Predictor.load(folder.path)
    predictor.fill("A [MASK] film.", top=3)
    # What is loaded again is what was tested.
    network = predictor.network
    module = MaskedLanguageModel(network.encoder, network.head, network.stages, Nothing().phases(network.stages)).eval()
    _, data = module_of("data.max_length=32", "data.limit=80", cache=folder.path.parent / "cache")
    with torch.inference_mode():
        sums = [module.step(data.split("test")[0, np.arange(len(data.split("test")))])[1]]
    assert module.measure(sums, "test")["loss"] == pytest.approx(result["metrics"]["test"]["loss"], rel=1e-4)


@pytest.mark.rare
def test_a_pretraining_that_goes_on_takes_the_head_along(
    pretrain: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = pretrain()
    again, _ = pretrain(
        "backbone=run", f"backbone.run={folder.path}", "freeze=all", "optimizer.head_lr=1e-5", name="on"
    )
    assert "newly initialised: none" in capsys.readouterr().out
    before, after = Predictor.load(folder.path).network.head, Predictor.load(again.path).network.head
    torch.testing.assert_close(before.state_dict(), after.state_dict(), atol=1e-3, rtol=1e-3)


@pytest.mark.rare
def test_bfloat16_and_packing_train(pretrain: Train) -> None:
    _, result = pretrain("trainer.precision=bf16-mixed", "data.pack=true", "data.batch_size=4")
    assert result["metrics"]["test"]["perplexity"] < 400


@pytest.mark.slow
def test_ten_sentences_are_learned_by_heart(pretrain: Train, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name in ("train", "validation", "test"):
        (tmp_path / "data" / f"{name}.txt").write_text("\n".join(TEN), encoding="utf-8")
    _, result = pretrain(
        *("data=lines", f"data.path={tmp_path / 'data'}", "data.limit=null", "backbone=scratch", "backbone/size=tiny"),
        *("backbone.vocabulary=100", "backbone.min_frequency=1", "backbone.dropout=0", "data.batch_size=10"),
        *("trainer.max_epochs=150", "optimizer.lr=3e-3", "callbacks=no_early_stopping", "callbacks.progress=null"),
        *(
            "model.masking.whole_words=false",
            "trainer.enable_checkpointing=true",
            "trainer.check_val_every_n_epoch=50",
            "monitor.metric=train/loss",
        ),
    )
    assert result["history"][-1]["train/accuracy"] > 0.9


@pytest.mark.slow
def test_both_halves_in_one_command(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "both")
    cfg = composed(
        *(
            "experiment=mlm_then_classify",
            "backbone/size=tiny",
            "backbone.vocabulary=400",
            "data.limit=80",
            "trainer=cpu",
        ),
        *("trainer.max_epochs=2", "pretrain.trainer.max_epochs=1", f"cache={tmp_path}", "callbacks.progress=null"),
    )
    result = train(cfg, folder)
    inner = RunFolder(folder.path / "pretrain")
    assert result["pretraining"]["metrics"] == inner.read_result()["metrics"]
    assert inner.read_result()["objective"] == "mlm"
    assert len(inner.read_result()["history"]) == 1
    assert len(result["history"]) == 2
    assert "Backbone pretrained" in (folder.path / "report" / "classification_report.txt").read_text()
    Predictor.load(folder.path)(["A fine film."])
    with pytest.raises(UserError, match="finished"):
        train(composed("resume=true"), folder)
    # A second training that is gone is done again, from the first one's weights.
    before = json.loads((inner.path / "status.json").read_text())["time"]
    for name in ("best", "last"):
        (folder.path / "checkpoints" / f"{name}.ckpt").unlink()
    folder.write_status("failed")
    train(composed("resume=true"), folder)
    assert json.loads((inner.path / "status.json").read_text())["time"] == before


def test_what_would_stop_the_second_training_is_found_before_the_first(tmp_path: Path) -> None:
    tiny = ["experiment=mlm_then_classify", "backbone/size=tiny", f"cache={tmp_path}"]
    for mistake, message in (
        (["freeze=bottom", "freeze.layers=9"], r"freeze\.layers must lie in 0..2"),
        (["data.label=nothing"], r"data\.label must name a column"),
        (["backbone.vocabulary=90000"], r"backbone\.vocabulary must be at most"),
        (["trainer.devices=2"], "Pretraining and classification in one command"),
    ):
        with pytest.raises(UserError, match=message):
            train(composed(*tiny, *mistake), RunFolder(tmp_path / "both"))
        assert not (tmp_path / "both").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["backbone.vocabulary=200000", *TINY[:2]], "backbone.vocabulary must be at most .* tokens"),
        (
            ["data.limit=3", "backbone=scratch", "backbone.vocabulary=200"],
            "Give more texts; a vocabulary has at least 100 tokens",
        ),
        (
            ["backbone=scratch", "backbone.tokenizer=/none"],
            "^/none must hold a tokenizer; .* No such file or directory",
        ),
        (["data.label=null", "model=bert_linear"], "data.label must name the column"),
        (["data.pack=true", "model=bert_linear"], "data.pack=true needs masked language modelling"),
        (["model.masking.mask=0.9", "model.masking.random=0.2"], "they add up to 1.1"),
        (["freeze=mix", *TINY], "freeze=mix needs a head for labels"),
        (["monitor.metric=validation/f1_macro", *TINY], "monitor.metric must be validation/ and a score of this task"),
        (["data.max_length=100", *TINY], r"at most 64 for .*\nLower it, or raise backbone\.max_length"),
        (["backbone=scratch", "backbone.heads=3"], "must be a multiple of heads"),
        (["backbone=scratch", "+backbone.layer=3"], "Did you mean layers"),
    ],
)
def test_mistakes_are_answered(pretrain: Train, tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        pretrain(*(["backbone=scratch", *overrides] if not any("backbone" in o for o in overrides) else overrides))
    assert not (tmp_path / "mlm").exists()


def test_a_backbone_can_only_come_from_a_finished_run_of_masked_words(run_tiny: Train, tmp_path: Path) -> None:
    folder, _ = run_tiny("trainer.max_epochs=1")
    with pytest.raises(UserError, match=r"backbone\.run must be a run of masked language modelling"):
        train(
            composed("backbone=run", f"backbone.run={folder.path}", "data.max_length=32"),
            RunFolder(tmp_path / "second"),
        )
    with pytest.raises(UserError, match="result of a finished run"):
        train(composed("backbone=run", f"backbone.run={tmp_path}"), RunFolder(tmp_path / "second"))
    with pytest.raises(UserError, match="Only a masked language model predicts"):
        Predictor.load(folder.path).fill("A [MASK] film.", top=5)


def test_a_text_without_a_masked_word_is_refused(pretrain: Train) -> None:
    predictor = Predictor.load(pretrain()[0].path)
    for text in ("A film.", "word " * 60 + "[MASK]"):
        with pytest.raises(UserError, match=r"must contain \[MASK\]"):
            predictor.fill(text, top=5)


def test_a_damaged_backbone_of_a_run_is_an_error(pretrain: Train, tmp_path: Path) -> None:
    folder, _ = pretrain()
    settings = json.loads((folder.model / "config.json").read_text())
    (folder.model / "config.json").write_text(json.dumps({**settings, "intermediate_size": 64}))
    folder.write_json("result.json", {**folder.read_result(), "sha256": folder.digests()})
    with pytest.raises(UserError, match="hold every tensor of the encoder"):
        train(
            composed("backbone=run", f"backbone.run={folder.path}", "data.max_length=32"),
            RunFolder(tmp_path / "second"),
        )


def test_the_head_of_a_tokenizer_without_a_mask_is_refused(tokenizer: transformers.PreTrainedTokenizerFast) -> None:
    bare = copy.deepcopy(tokenizer)
    bare.mask_token = None
    with pytest.raises(UserError, match="mask token"):
        read_vocabulary(bare)


def test_a_head_is_as_large_as_the_embeddings() -> None:
    head = MaskedLanguageHead(width=8, embedding_width=4, vocabulary=11)
    assert head(torch.randn(3, 8), torch.randn(11, 4)).shape == (3, 11)


def test_a_vocabulary_that_nobody_asked_for_is_what_the_texts_support() -> None:
    settings, _ = read_config(composed("experiment=mlm_then_classify"))
    assert isinstance(settings.backbone, config_backbone.Scratch)
    assert 1_000 < len(train_tokenizer(TEXTS, settings.backbone)) < 8_000


@pytest.mark.parametrize("backbone", ["minilm", "run"])
def test_both_halves_begin_with_any_backbone(backbone: str, tmp_path: Path) -> None:
    place = [f"backbone.run={tmp_path}"] if backbone == "run" else []
    both = stage_configs(composed("experiment=mlm_then_classify", f"backbone={backbone}", *place), RunFolder(tmp_path))
    objectives = [read_config(half)[0].model for half in both]
    assert isinstance(objectives[0], model.MaskedLanguageHead)
    assert isinstance(objectives[1], model.LinearHead)

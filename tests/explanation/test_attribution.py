"""Importance, attention and faithfulness are what their definitions say, whatever the backbone, head and strategy."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import captum.attr
import pytest
import torch
import transformers
from scipy import stats
from torch import nn

from src.backbones.loading import load_encoder
from src.backbones.source import read_source
from src.config.model import StatePooling
from src.config.reading import Reading
from src.data.labels import LabelSpace
from src.errors import UserError
from src.explanation import attention, faithfulness, gradients
from src.explanation.attention import Attention, attend, entropy, mass, relevance, rollout
from src.explanation.explanation import Explanation, attention_record
from src.explanation.gradients import METHODS, Attribution, integrated_gradients
from src.explanation.scoring import LabelScores
from src.explanation.tokens import Tokens, split
from src.freezing.strategy import Strategy
from src.freezing.whole_stages import Everything, Nothing
from src.models.build import stages_and_phases
from src.models.heads import BiLSTMHead, LinearHead
from src.models.networks import Network
from tests.conftest import ARCHITECTURES, TYPED, WIDTH

Make = Callable[..., LabelScores]
TEXT = "The food was wonderful, but the rooms weren't cosy at all."
BINARY = LabelSpace("binary", ("no", "yes"))


@pytest.fixture
def scores(backbone_folder: Callable[[str], Path]) -> Make:
    """The scores of a small random classifier, with weights large enough that tokens matter."""

    def make(
        architecture: str = "bert",
        lstm: StatePooling | None = None,
        space: LabelSpace = BINARY,
        strategy: Strategy | None = None,
        seed: int = 0,
    ) -> LabelScores:
        encoder = load_encoder(read_source(backbone_folder(architecture), architecture))
        torch.manual_seed(seed)
        head: nn.Module = LinearHead(WIDTH, space.outputs, "mean", 0.1)
        if lstm:
            head = BiLSTMHead(WIDTH, space.outputs, 8, 1, lstm, 0.1)
        for parameter in [*encoder.parameters(), *head.parameters()]:
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.3)
        chosen = strategy or Nothing()
        network = Network(encoder, head, *stages_and_phases(encoder, head, chosen), space)
        return LabelScores(network.eval())

    return make


@pytest.fixture(scope="session")
def tokens(tokenizer: transformers.PreTrainedTokenizerFast) -> Tokens:
    return split(TEXT, tokenizer, Reading(64))[0]


def padded(tokens: Tokens, count: int) -> Tokens:
    """The same text with padding behind it."""

    def extend(values: torch.Tensor, filler: int) -> torch.Tensor:
        return torch.cat([values, torch.full((count,), filler, dtype=values.dtype)])

    return dataclasses.replace(
        tokens,
        names=(*tokens.names, *["[PAD]"] * count),
        ids=extend(tokens.ids, 0),
        special=extend(tokens.special, 1),
        mask=extend(tokens.mask, 0),
        words=(*tokens.words, *[-1] * count),
    )


def test_subwords_are_put_together_by_where_they_lie(tokens: Tokens) -> None:
    words = [TEXT[begin:end] for begin, end in tokens.spans.values()]
    assert words == ["The", "food", "was", "wonderful", ",", "but", "the", "rooms", "weren't", "cosy", "at", "all", "."]
    assert tokens.words[0] == tokens.words[-1] == -1
    assert tokens.words[1:-1] == tuple(sorted(tokens.words[1:-1]))
    assert len(set(tokens.words)) - 1 == len(words) < len(tokens.words) - 2


@pytest.mark.parametrize("length", [64, 9])
def test_words_of_a_pair_have_their_side(tokenizer: transformers.PreTrainedTokenizerFast, length: int) -> None:
    (found,) = split(("The food was good.", "The food!"), tokenizer, Reading(length))
    assert found.text == "The food was good. ⏎ The food!"
    words = [(found.side(word), found.word(word)) for word in found.spans]
    every = [(0, "The"), (0, "food"), (0, "was"), (0, "good"), (0, "."), (1, "The"), (1, "food"), (1, "!")]
    assert words == [pair for pair in every if pair in words]
    assert (len(words) == len(every)) == (length == 64)
    assert found.types is not None
    assert [found.side(word) for word in found.words if word >= 0] == found.types[~found.special].tolist()
    assert found.label(found.words[1]) == "1: The"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_pair_is_explained_as_the_encoder_reads_it(
    scores: Make, tokenizer: transformers.PreTrainedTokenizerFast, architecture: str
) -> None:
    label_scores = scores(architecture)
    (tokens,) = split(("The food was good.", "The food!"), tokenizer, Reading(64))
    encoder, head = label_scores.network.encoder, label_scores.network.head
    encoded = tokenizer("The food was good.", "The food!", return_tensors="pt")
    inputs = {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}
    if architecture in TYPED:
        inputs["token_type_ids"] = encoded["token_type_ids"]
    with torch.no_grad():
        expected = head(encoder(**inputs).last_hidden_state.mean(1))[0]
        found = label_scores(tokens.ids[None], tokens)[0]
    torch.testing.assert_close(found[1:], expected)
    assert integrated_gradients(label_scores, tokens, [1]).missing.max() < 0.02


def test_other_scripts_have_words_too(tokenizer: transformers.PreTrainedTokenizerFast) -> None:
    (found,) = split("素晴 café नमस्ते …", tokenizer, Reading(64))
    assert [found.text[slice(*span)] for span in found.spans.values()] == ["素", "晴", "café", "नमस्ते", "…"]


def test_a_text_without_tokens_is_refused(tokenizer: transformers.PreTrainedTokenizerFast) -> None:
    with pytest.raises(UserError, match="must contain tokens"):
        split("\u200b\x00", tokenizer, Reading(64))


@pytest.mark.parametrize(
    ("architecture", "lstm"),
    [*((architecture, None) for architecture in ARCHITECTURES), ("bert", "max"), ("bert", "last")],
)
def test_integrated_gradients_add_up_to_the_change(
    scores: Make, tokens: Tokens, architecture: str, lstm: StatePooling | None
) -> None:
    found = integrated_gradients(scores(architecture, lstm), tokens, [1, 0])
    assert (found.missing < gradients.TOLERANCE).all() or found.steps == gradients.MOST_STEPS
    assert (found.change != 0).all()
    torch.testing.assert_close(found.values.sum(1), found.change, atol=1e-3, rtol=0.02)
    torch.testing.assert_close(found.values[0], -found.values[1])


@pytest.mark.parametrize("lstm", [None, "mean"])
def test_integrated_gradients_are_captums(scores: Make, tokens: Tokens, lstm: StatePooling | None) -> None:
    label_scores = scores(lstm=lstm)
    own = integrated_gradients(label_scores, tokens, [1])
    theirs = captum.attr.IntegratedGradients(lambda vectors: label_scores.of_vectors(vectors, tokens)[:, 1]).attribute(
        label_scores.embed(tokens.ids)[None],
        baselines=label_scores.embed(tokens.masked)[None],
        n_steps=own.steps,
        method="gausslegendre",
    )
    torch.testing.assert_close(own.values[0], theirs[0].sum(-1).float(), atol=1e-5, rtol=0)


def test_gradient_input_and_occlusion_are_what_they_say(scores: Make, tokens: Tokens) -> None:
    label_scores, place = scores(), 3
    without = tokens.ids.clone()
    without[place] = tokens.mask_id
    with torch.no_grad():
        whole, less = label_scores(torch.stack([tokens.ids, without]), tokens)[:, 1]
    fall = METHODS["occlusion"](label_scores, tokens, [1]).values[0, place]
    assert float(fall) == pytest.approx(float(whole - less), abs=1e-5)
    values = METHODS["gradient_input"](label_scores, tokens, [1]).values[0]
    place, step = int(values.abs().argmax()), 0.01
    vectors = label_scores.embed(tokens.ids).repeat(2, 1, 1)
    vectors[:, place] *= torch.tensor([[1 + step], [1 - step]])
    with torch.no_grad():
        more, fewer = label_scores.of_vectors(vectors, tokens)[:, 1]
    assert float(values[place]) == pytest.approx(float(more - fewer) / (2 * step), rel=1e-2)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("architecture", "lstm"), [("bert", None), ("bert", "mean"), ("modernbert", None)])
def test_padding_changes_nothing_and_gets_nothing(
    scores: Make, tokens: Tokens, method: str, architecture: str, lstm: StatePooling | None
) -> None:
    label_scores, more = scores(architecture, lstm), padded(tokens, 7)
    plain = METHODS[method](label_scores, tokens, [0]).values
    found = METHODS[method](label_scores, more, [0]).values
    assert (found[:, more.special] == 0).all()
    assert (found[:, ~more.special] != 0).all()
    torch.testing.assert_close(found[:, : len(tokens.ids)], plain, atol=1e-5, rtol=1e-3)


def test_words_add_up_to_their_tokens(scores: Make, tokens: Tokens) -> None:
    values = METHODS["gradient_input"](scores(), tokens, [0, 1]).values
    words = tokens.by_word(values)
    assert words.shape == (2, len(tokens.spans))
    torch.testing.assert_close(words.sum(1), values.sum(1))
    assert words[0, 3] == pytest.approx(float(sum(v for v, w in zip(values[0], tokens.words, strict=True) if w == 3)))


def test_a_multilabel_task_has_values_for_each_label(scores: Make, tokens: Tokens) -> None:
    space = LabelSpace("multilabel", ("a", "b", "c"))
    label_scores = scores(space=space)
    found = integrated_gradients(label_scores, tokens, [2, 0])
    with torch.no_grad():
        text, masked = label_scores(torch.stack([tokens.ids, tokens.masked]), tokens)
    torch.testing.assert_close(found.change, (text - masked)[[2, 0]])
    torch.testing.assert_close(found.values.sum(1), found.change, rtol=0.05, atol=0.01)


@pytest.fixture
def every_method() -> Callable[[LabelScores, Tokens], list[torch.Tensor]]:
    def run(label_scores: LabelScores, tokens: Tokens) -> list[torch.Tensor]:
        attended = attend(label_scores, tokens, [0])
        return [
            *(method(label_scores, tokens, [0]).values for method in METHODS.values()),
            *(attended.weights, attended.flow, attended.relevance),
        ]

    return run


def test_frozen_or_not_the_values_are_the_same(scores: Make, tokens: Tokens, every_method: Callable[..., list]) -> None:
    free, frozen = scores(strategy=Nothing()), scores(strategy=Everything())
    assert free.network.trained > frozen.network.trained
    for one, other in zip(every_method(free, tokens), every_method(frozen, tokens), strict=True):
        assert torch.equal(one, other)
    assert all(parameter.grad is None for parameter in free.network.parameters())


def test_inference_mode_makes_no_difference(scores: Make, tokens: Tokens, every_method: Callable[..., list]) -> None:
    label_scores = scores()
    with torch.inference_mode():
        inside = every_method(label_scores, dataclasses.replace(tokens, ids=tokens.ids.clone()))
    for one, other in zip(inside, every_method(label_scores, tokens), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_attention_is_the_encoders_own_and_leaves_it_as_it_was(scores: Make, tokens: Tokens, architecture: str) -> None:
    label_scores, more = scores(architecture), padded(tokens, 5)
    encoder, count = label_scores.network.encoder, len(tokens.ids)
    before = encoder.config._attn_implementation
    found = attend(label_scores, more, [0, 1])
    assert encoder.config._attn_implementation == before
    assert not encoder._forward_hooks
    assert not encoder._forward_pre_hooks
    torch.testing.assert_close(found.weights.sum(-1), torch.ones(found.weights.shape[:-1]))
    assert (found.weights[:, :, :count, count:] == 0).all()
    encoder.set_attn_implementation("eager")
    with torch.no_grad():
        maps = encoder(more.ids[None], attention_mask=more.mask[None].long(), output_attentions=True).attentions
    torch.testing.assert_close(found.weights, torch.cat(maps))
    torch.testing.assert_close(found.flow.sum(-1), torch.ones(count + 5))
    # The labels of a binary task are one score and its negative; what speaks for one does not speak for the other.
    assert not torch.allclose(found.relevance[0], found.relevance[1])
    assert found.gap <= 1e-4


def test_attention_that_gives_other_logits_is_refused(
    scores: Make, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    label_scores = scores()
    before = label_scores.network.encoder.config._attn_implementation
    assert before != "eager"
    monkeypatch.setattr(attention, "TOLERANCE", -1.0)
    with pytest.raises(UserError, match="must give the logits of the run's own attention; they differ by"):
        attend(label_scores, tokens, [0])
    assert label_scores.network.encoder.config._attn_implementation == before


def test_rollout_and_relevance_by_hand() -> None:
    first, second = torch.tensor([[0.5, 0.5], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.25, 0.75]])
    weights = torch.stack([first, second])[:, None]
    expected = (second + torch.eye(2)) / 2 @ ((first + torch.eye(2)) / 2)
    torch.testing.assert_close(rollout(weights), expected)
    slopes = torch.tensor([[[[1.0, -1.0], [2.0, 1.0]]], [[[0.0, 1.0], [4.0, -1.0]]]])
    one, two = torch.tensor([[0.5, 0.0], [0.0, 1.0]]), torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    torch.testing.assert_close(relevance(weights, slopes), one + two @ (torch.eye(2) + one))


def test_entropy_and_mass_sum_up_a_head() -> None:
    even, sharp = torch.full((4, 4), 0.25), torch.eye(4)
    weights = torch.stack([even, sharp])[None]
    torch.testing.assert_close(entropy(weights), torch.tensor([[2.0, 0.0]]))
    first = torch.tensor([True, False, False, False])
    torch.testing.assert_close(mass(weights, first), torch.tensor([[0.25, 0.25]]))
    weights[0, 1] = torch.tensor([1.0, 0, 0, 0]).expand(4, 4)
    assert mass(weights, first)[0, 1] == 1


def test_all_tokens_of_a_name_are_in_its_fraction(tokenizer: transformers.PreTrainedTokenizerFast) -> None:
    (pair,) = split(("The food was good.", "The food!"), tokenizer, Reading(64))
    weights = torch.rand(1, 1, len(pair.ids), len(pair.ids)).softmax(-1)
    found = Explanation(pair, {"a": 1.0}, ["a"], {}, Attention(weights, weights[0, 0], weights[0], 0.0), [0], [0], {})
    (record,) = attention_record(found)
    assert pair.names.count("[SEP]") == 2
    expected = sum(weights[0, 0, :, at].mean() for at, name in enumerate(pair.names) if name == "[SEP]")
    assert record["[SEP]"] == pytest.approx(float(expected))


def test_curves_begin_and_end_where_they_must(scores: Make, tokens: Tokens) -> None:
    label_scores = scores()
    later = torch.tensor([0.0 if word < 0 else word / tokens.words.count(word) for word in tokens.words])
    found = faithfulness.by_importance(label_scores, tokens, 1, later)  # the last word first
    chance = faithfulness.at_random(label_scores, tokens, 1)
    with torch.no_grad():
        both = label_scores(torch.stack([tokens.ids, tokens.masked]), tokens)
    whole, nothing = label_scores.probabilities(both)[:, 1].tolist()
    for curves in (found, chance):
        assert curves.full == pytest.approx(whole)
        for curve, (begin, end) in ((curves.deletion, (whole, nothing)), (curves.insertion, (nothing, whole))):
            torch.testing.assert_close(curve[:, 0], torch.full_like(curve[:, 0], begin))
            torch.testing.assert_close(curve[:, -1], torch.full_like(curve[:, -1], end))
    assert chance.deletion.shape == (faithfulness.ORDERS, len(faithfulness.GRID))
    # Of 13 words the shares 1, 5, 10, 20 and 50% are 1, 1, 2, 3 and 7.
    last = [list(tokens.spans)[-count:] for count in (1, 1, 2, 3, 7)]
    masked = torch.tensor([[word in chosen for word in tokens.spans] for chosen in last])
    with torch.no_grad():
        probs = label_scores.probabilities(label_scores(tokens.with_masked(masked), tokens))[:, 1]
    assert float(found.comprehensiveness) == pytest.approx(float((whole - probs).mean()), abs=1e-5)


@pytest.fixture
def planted(scores: Make, tokenizer: transformers.PreTrainedTokenizerFast) -> tuple[LabelScores, list[Tokens]]:
    """A classifier that has learned to look for one word, and texts with it."""
    label_scores, draw = scores(seed=1), torch.Generator().manual_seed(0)
    words = ["the", "food", "was", "cold", "and", "staff", "that", "day", "very", "bad", "room", "little", "time", "us"]

    def text(keyword: bool) -> str:
        chosen = [words[i] for i in torch.randint(len(words), (9,), generator=draw)]
        return " ".join([*chosen[:4], "quality" if keyword else "story", *chosen[4:]])

    optimizer = torch.optim.Adam(label_scores.network.parameters(), lr=5e-3)
    for _ in range(60):
        targets = torch.randint(2, (16,), generator=draw)
        batch = tokenizer([text(bool(t)) for t in targets], padding=True, return_tensors="pt")
        logits = label_scores.network({"input_ids": batch["input_ids"], "mask": batch["attention_mask"].bool()})
        loss = nn.functional.binary_cross_entropy_with_logits(logits[:, 0], targets.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.2
    optimizer.zero_grad()
    return label_scores, [split(text(True), tokenizer, Reading(64))[0] for _ in range(5)]


def test_a_planted_word_is_found_and_random_weights_forget_it(
    planted: tuple[LabelScores, list[Tokens]], scores: Make
) -> None:
    label_scores, texts = planted
    other, alike = scores(seed=2), []
    for tokens in texts:
        found = integrated_gradients(label_scores, tokens, [1])
        words = tokens.by_word(found.values[0])
        assert tokens.text[slice(*list(tokens.spans.values())[int(words.argmax())])] == "quality"
        own = faithfulness.by_importance(label_scores, tokens, 1, found.values[0])
        chance = faithfulness.at_random(label_scores, tokens, 1)
        assert float(own.comprehensiveness) > float(chance.comprehensiveness.mean()) + 0.1
        assert float(own.sufficiency) < float(chance.sufficiency.mean())
        assert float(own.deletion_area) < float(chance.deletion_area.mean())
        random_weights = integrated_gradients(other, tokens, [1]).values[0]
        alike.append(stats.spearmanr(words, tokens.by_word(random_weights)).statistic)
    # The cascade of Adebayo et al. 2018 at its end: an explanation of the weights must change with them.
    assert abs(sum(alike) / len(alike)) < 0.5


def test_a_missing_share_is_of_the_change() -> None:
    found = Attribution(torch.tensor([[1.0, 0.5, 0.0]]), torch.tensor([2.0]), 32)
    assert float(found.missing) == pytest.approx(0.25)
    assert math.isfinite(float(Attribution(torch.zeros(1, 3), torch.zeros(1)).missing))

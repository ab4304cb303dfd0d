"""Tokens, batches and their order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from src.config.reading import Reading
from src.datamodules.batching import BatchLoader, BatchPlan, EncodedSplit
from src.datamodules.ragged import Tokens
from src.datamodules.tokenizing import fingerprint, tokenize
from tests.conftest import review_texts

LENGTHS = np.random.default_rng(0).integers(1, 40, 103)
TOKENS = Tokens(np.arange(LENGTHS.sum(), dtype=np.int32), LENGTHS, LENGTHS)


def split(rank: int = 0, ranks: int = 1) -> EncodedSplit:
    weights = np.linspace(1, 2, 103).astype(np.float32)
    return EncodedSplit(TOKENS, np.arange(103), weights, padding=-1, rank=rank, ranks=ranks)


def plan(shuffle: bool = True, size: int = 8, seed: int = 3, buckets: bool = True, ranks: int = 1) -> BatchPlan:
    return BatchPlan(LENGTHS, size, seed, shuffle, buckets, ranks)


def test_padded_rows_hold_their_values_and_nothing_else() -> None:
    rows = np.array([5, 0, 102])
    values, mask = TOKENS.padded(rows, padding=-1)
    assert values.shape == (3, LENGTHS[rows].max())
    for i, row in enumerate(rows):
        start = LENGTHS[:row].sum()
        assert values[i, : LENGTHS[row]].tolist() == list(range(start, start + LENGTHS[row]))
        assert set(values[i, LENGTHS[row] :].tolist()) <= {-1}
        assert mask[i].sum() == LENGTHS[row]


@pytest.mark.parametrize("buckets", [True, False])
def test_every_epoch_has_every_row_once_in_an_order_of_its_own(buckets: bool) -> None:
    epochs = [plan(buckets=buckets).batches(epoch) for epoch in (0, 1, 0)]
    for batches in epochs:
        assert sorted(np.concatenate(batches).tolist()) == list(range(103))
        assert [len(b) for b in batches].count(8) == 12
        assert len(batches) == len(plan())
    flat = [np.concatenate(batches).tolist() for batches in epochs]
    assert flat[0] == flat[2] != flat[1]
    assert np.concatenate(plan(seed=4).batches(0)).tolist() != flat[0]


def test_buckets_spare_padding() -> None:
    def padded_places(buckets: bool) -> int:
        return sum(LENGTHS[b].max() * len(b) for b in plan(buckets=buckets).batches(0))

    assert padded_places(True) < 0.75 * padded_places(False)


def test_processes_share_every_batch_and_no_row_is_lost_or_seen_twice() -> None:
    for ranks in (2, 3, 4):
        shared = plan(size=6, ranks=ranks)
        batches = shared.batches(0)
        assert len(batches) == len(shared)
        parts = [[split(rank, ranks)[0, b] for b in batches] for rank in range(ranks)]
        seen = torch.cat([batch["rows"] for part in parts for batch in part])
        assert sorted(seen.tolist()) == list(range(103))
        assert all(len(batch["rows"]) for part in parts for batch in part)


def test_the_mean_of_the_processes_losses_is_the_loss_of_the_batch() -> None:
    rows = np.array([4, 9, 11])
    losses = torch.rand(103)

    def loss(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return (losses[batch["rows"]] * batch["weights"]).sum() / batch["loss_divisor"]

    whole = loss(split()[0, rows])
    mean = sum(loss(split(rank, 2)[0, rows]) for rank in range(2)) / 2
    torch.testing.assert_close(mean, whole)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine with one core
@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_goes_on_where_its_state_says(workers: int) -> None:
    whole = BatchLoader(split(), plan(), workers)
    orders = []
    for epoch in range(2):
        whole.sampler.set_epoch(epoch)
        orders.append([b["rows"].tolist() for b in whole])
    first = BatchLoader(split(), plan(), workers)
    batches = iter(first)
    for _ in range(5):
        next(batches)
    state = first.state_dict()
    resumed = BatchLoader(split(), plan(), workers)
    resumed.load_state_dict(state)
    resumed.sampler.set_epoch(0)
    assert [b["rows"].tolist() for b in resumed] == orders[0][5:]
    resumed.sampler.set_epoch(1)
    assert [b["rows"].tolist() for b in resumed] == orders[1]


def test_opening_a_loader_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    next(iter(BatchLoader(split(), plan())))
    assert torch.equal(before, torch.get_rng_state())


def test_evaluation_always_starts_from_the_first_batch() -> None:
    loader = BatchLoader(split(), plan(shuffle=False))
    first = next(iter(loader))["rows"].tolist()
    assert next(iter(loader))["rows"].tolist() == first


def test_evaluations_are_all_of_one_epoch() -> None:
    fixed = plan(shuffle=False)
    fixed.set_epoch(3)
    assert {epoch for epoch, _ in fixed} == {0}


def test_tokens_equal_the_tokenizers_and_come_back_from_the_cache(
    tokenizer: transformers.PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = review_texts()[:50]
    found = tokenize(texts, tokenizer, Reading(20), tmp_path)
    wanted = tokenizer(texts, truncation=True, max_length=20)["input_ids"]
    assert found.values.tolist() == [i for ids in wanted for i in ids]
    assert found.lengths.tolist() == [len(ids) for ids in wanted]
    assert found.lengths.max() == 20

    class Unused:
        backend_tokenizer = tokenizer.backend_tokenizer

        def __call__(self, *args: object, **kwargs: object) -> None:
            raise AssertionError("tokenised again")

    again = tokenize(texts, Unused(), Reading(20), tmp_path)
    assert again.values.tolist() == found.values.tolist()


def test_the_cache_key_is_the_content(tokenizer: transformers.PreTrainedTokenizerFast) -> None:
    key = fingerprint(["a", "bc"], tokenizer, Reading(20))
    assert key == fingerprint(["a", "bc"], tokenizer, Reading(20))
    tokenizer(["a"], padding="max_length", truncation=True, max_length=7)  # changes the backend's settings
    assert key == fingerprint(["a", "bc"], tokenizer, Reading(20))
    others = {
        fingerprint(["ab", "c"], tokenizer, Reading(20)),
        fingerprint(["a", "bc"], tokenizer, Reading(21)),
        fingerprint(["a"], tokenizer, Reading(20)),
    }
    assert len(others | {key}) == 4

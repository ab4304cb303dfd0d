"""Several batches in a step of the optimizer: the step is that of one batch of all their texts. The same few batches in
every epoch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from src.config.model import Masking as Settings
from src.datamodules.batching import BatchLoader, BatchPlan
from src.datamodules.masking import MaskedSplit, Masking, read_vocabulary
from src.datamodules.ragged import Batch, Tokens
from src.runs.folder import RunFolder
from tests.commands.test_commands import run as command
from tests.conftest import power_cut
from tests.datamodules.test_batching import LENGTHS, plan, split
from tests.datamodules.test_masking import Train, pretrain  # noqa: F401
from tests.training.test_training import Watch, watch  # noqa: F401

Run = Callable[..., tuple[RunFolder, dict[str, Any]]]
# Nothing is drawn at random and batches follow each other, so that four of eight texts are one of thirty-two.
EXACT = [
    *("model=bert_linear", "model.dropout=0.0", "backbone.dropout=0.0", "data.buckets=false", "freeze=none"),
    *("optimizer=sgd", "optimizer.lr=0.1", "scheduler=constant", "trainer.max_epochs=1"),
]
TASKS = {
    "binary": ["data=table", "data.path=src/data/examples/polarity.csv"],
    "multiclass": ["data=reviews"],
    "multilabel": ["data=reviews_aspects"],
}


def trained(folder: RunFolder) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(folder.last_checkpoint, weights_only=True)["state_dict"]
    return found


def assert_same(first: RunFolder, second: RunFolder, atol: float = 1e-6) -> None:
    one, other = trained(first), trained(second)
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], atol=atol, rtol=1e-4, msg=name)


@pytest.mark.parametrize("weights", ["null", pytest.param("balanced", marks=pytest.mark.slow)])
@pytest.mark.parametrize("task", TASKS)
def test_an_accumulated_step_is_that_of_the_joined_batch(task: str, weights: str, run_tiny: Run) -> None:
    # Sixty texts: seven batches of eight and one of four, in groups of thirty-two and twenty-eight texts.
    options = [*EXACT, *TASKS[task], f"data.class_weights={weights}"]
    joined, _ = run_tiny(*options, "data.batch_size=32", name="joined")
    accumulated, result = run_tiny(
        *options, "data.batch_size=8", "trainer.accumulate_grad_batches=4", name="accumulated"
    )
    assert result["history"][-1]["step"] == 2
    assert_same(joined, accumulated)


@pytest.mark.parametrize(("size", "batches"), [(8, 3), (16, 5), (4, 99)])
def test_the_last_group_of_an_epoch_counts_what_it_has(size: int, batches: int, run_tiny: Run) -> None:
    joined, _ = run_tiny(*EXACT, f"data.batch_size={size * batches}", name="joined")
    options = [f"data.batch_size={size}", f"trainer.accumulate_grad_batches={batches}"]
    accumulated, _ = run_tiny(*EXACT, *options, name="accumulated")
    assert_same(joined, accumulated)


@pytest.mark.slow
def test_masked_tokens_count_over_the_whole_step(pretrain: Train) -> None:  # noqa: F811
    options = [
        "data.buckets=false",
        "backbone.dropout=0.0",
        "optimizer=sgd",
        "optimizer.lr=0.1",
        "trainer.max_epochs=1",
    ]
    joined, _ = pretrain(*options, "data.batch_size=30", name="joined")
    accumulated, _ = pretrain(*options, "data.batch_size=10", "trainer.accumulate_grad_batches=3", name="accumulated")
    assert_same(joined, accumulated)


def test_the_training_loss_of_an_epoch_is_the_mean_over_its_texts(run_tiny: Run) -> None:
    still = [*EXACT, "optimizer.lr=1e-9", "optimizer.head_lr=1e-9"]
    _, plain = run_tiny(*still, name="plain")
    _, accumulated = run_tiny(*still, "data.batch_size=8", "trainer.accumulate_grad_batches=3", name="accumulated")
    assert accumulated["history"][0]["train/loss"] == pytest.approx(plain["history"][0]["train/loss"], rel=1e-5)


def test_a_step_interrupted_between_groups_goes_on_with_the_same_weights(run_tiny: Run, tmp_path: Path) -> None:
    from src import train as training
    from tests.conftest import composed

    options = ["model=bert_linear", "data.batch_size=8", "trainer.accumulate_grad_batches=3"]
    whole, _ = run_tiny(*options, name="whole")
    with power_cut(1, 5):
        run_tiny(*options, name="broken")
    folder = RunFolder(tmp_path / "broken")
    training.train(composed(f"run={folder.path}", "resume=true"), folder)
    for name, tensor in trained(whole).items():
        assert torch.equal(tensor, trained(folder)[name]), name


def _group_losses(batches: list[Batch], losses: torch.Tensor) -> list[torch.Tensor]:
    return [(losses[b["rows"]] * b["weights"]).sum() / b["loss_divisor"] * b["step_fraction"] for b in batches]


@pytest.mark.parametrize("limit", [1.0, 0.5, 6])
@pytest.mark.parametrize("ranks", [1, 2])
def test_the_losses_of_a_group_add_up_to_the_weighted_mean_of_its_rows(ranks: int, limit: int | float) -> None:
    losses = torch.rand(103, dtype=torch.float64)
    for group in (2, 4, 5):
        grouped = BatchPlan(LENGTHS, 8, 3, True, ranks=ranks, limit=limit, group=group)
        orders = [list(BatchLoader(split(rank, ranks), grouped_copy(grouped))) for rank in range(ranks)]
        rows = grouped.batches(0)
        for first in range(0, grouped.taken, group):
            last = min(first + group, grouped.taken)
            found = sum(sum(_group_losses(order[first:last], losses)) for order in orders) / ranks
            members = np.concatenate(rows[first:last])
            weights = torch.from_numpy(np.linspace(1, 2, 103).astype(np.float32)[members]).double()
            torch.testing.assert_close(
                torch.as_tensor(found), (losses[members] * weights).sum() / weights.sum(), rtol=1e-6, atol=0
            )


def grouped_copy(made: BatchPlan) -> BatchPlan:
    """Another plan with the same order, at its beginning."""
    copied = BatchPlan(LENGTHS, made.size, made.seed, True, ranks=made.ranks, group=made.group)
    copied.taken = made.taken
    return copied


def test_the_parts_of_a_masked_group_add_up_to_one(tokenizer: transformers.PreTrainedTokenizerFast) -> None:
    settings = Settings(probability=0.15, mask=0.8, random=0.1, whole_words=True)
    lengths = np.random.default_rng(1).integers(3, 20, 40)
    tokens = Tokens(np.random.default_rng(2).integers(5, 400, lengths.sum()).astype(np.int32), lengths, lengths)
    for ranks in (1, 2):
        shares = [
            MaskedSplit(tokens, Masking(read_vocabulary(tokenizer), settings, 0), 0, rank, ranks)
            for rank in range(ranks)
        ]
        for shared in shares:
            batches = list(BatchLoader(shared, BatchPlan(lengths, 6, 0, True, ranks=ranks, group=3)))
            parts = [float(batch["step_fraction"]) for batch in batches]
            assert [sum(parts[i : i + 3]) for i in range(0, len(parts), 3)] == pytest.approx([1.0] * 3)
            masked = [float(batch["loss_divisor"]) * ranks for batch in batches]
            assert parts[0] == pytest.approx(masked[0] / sum(masked[:3]))


def test_without_accumulation_batches_are_as_they_were() -> None:
    assert all(len(item) == 2 for item in plan())
    assert "step_fraction" not in next(iter(BatchLoader(split(), plan())))


def test_a_group_begins_anew_where_a_run_goes_on() -> None:
    grouped = BatchPlan(LENGTHS, 8, 3, True, group=4)
    grouped.position = 6
    rows = grouped.batches(0)
    items = list(grouped)
    assert items[0][2].tolist() == np.concatenate(rows[6:8]).tolist()  # type: ignore[misc]
    assert items[2][2].tolist() == np.concatenate(rows[8:12]).tolist()  # type: ignore[misc]


def test_overfitting_takes_the_same_batches_in_every_epoch(run_tiny: Run, watch: Watch) -> None:  # noqa: F811
    options = ["model=bert_linear", "data.batch_size=8", "trainer.overfit_batches=2", "trainer.max_epochs=4"]
    _, result = run_tiny(*options, "freeze=none", "callbacks=no_early_stopping")
    assert len(watch.rows) == 8
    assert watch.rows[:2] == watch.rows[2:4] == watch.rows[4:6] == watch.rows[6:]
    assert watch.rows[0] != watch.rows[1]
    assert [epoch["step"] for epoch in result["history"]] == [2, 4, 6, 8]
    assert result["texts"]["validation"] == 60 - result["texts_left_out"].get("validation", 0)


@pytest.mark.slow
def test_overfitting_learns_its_batches_by_heart(run_tiny: Run) -> None:
    options = ["trainer.overfit_batches=1", "trainer.max_epochs=60", "optimizer.lr=3e-3", "scheduler=constant"]
    _, result = run_tiny(*EXACT[:5], *options, "data.batch_size=8", "callbacks=no_early_stopping")
    assert result["history"][-1]["train/loss"] < 0.2 * result["history"][0]["train/loss"]


def test_an_overfitted_masked_batch_keeps_its_masks() -> None:
    repeated = BatchPlan(LENGTHS, 8, 3, True, limit=1, repeat=True)
    found = []
    for epoch in range(3):
        repeated.set_epoch(epoch)
        item = next(iter(repeated))
        found.append((item[0], item[1].tolist()))
    assert found[0] == found[1] == found[2]


@pytest.mark.slow
def test_two_processes_accumulate_to_the_weights_of_one_large_batch(tmp_path: Path, tiny_bert: Path) -> None:
    still = shutil.copytree(tiny_bert, tmp_path / "still")
    config = json.loads((still / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (still / "config.json").write_text(json.dumps(config))
    options = [*EXACT, "data.limit=61", "data.class_weights=balanced"]
    one, two = tmp_path / "one", tmp_path / "two"
    command(tmp_path, f"run={one}", "trainer=cpu", "data.batch_size=32", *options, tiny=still)
    ddp = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.accumulate_grad_batches=4"]
    command(tmp_path, f"run={two}", "data.batch_size=8", *ddp, *options, tiny=still)
    assert_same(RunFolder(one), RunFolder(two), atol=1e-5)

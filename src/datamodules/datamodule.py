"""The LightningDataModules: batches of a tokenised corpus."""

from __future__ import annotations

import dataclasses
import logging
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from pytorch_lightning import LightningDataModule

from src.arrays import NDArray
from src.config import model
from src.config.data import Data
from src.data.corpus import Corpus
from src.data.split import Split
from src.datamodules.batching import BatchLoader, BatchPlan, EncodedSplit
from src.datamodules.masking import MaskedSplit, Masking, pack, read_vocabulary
from src.datamodules.ragged import Batch, StoredStates, Tokens
from src.datamodules.tokenizing import tokenize
from src.datamodules.windows import WINDOWS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

Shared = TypeVar("Shared", EncodedSplit, MaskedSplit)


# The Trainer's arguments that limit the batches of each split.
LIMITS = {"train": "limit_train_batches", "validation": "limit_val_batches", "test": "limit_test_batches"}


class TextDataModule(LightningDataModule, ABC):
    """Batches for training, validation and test. Subclasses define the content of a batch.

    Args:
        corpus: the checked examples.
        tokenizer: the backbone's.
        cfg: the data section of the config.
        seed: of the order of the training texts.
        cache: the folder for tokenised texts.
    """

    def __init__(self, corpus: Corpus, tokenizer: PreTrainedTokenizerBase, cfg: Data, seed: int, cache: Path) -> None:
        super().__init__()
        self.corpus, self.tokenizer, self.cfg, self.seed, self.cache = corpus, tokenizer, cfg, seed, cache
        self.all_tokens: Tokens | None = None
        self.tokens: dict[str, Tokens] = {}

    @abstractmethod
    def split(self, name: str) -> EncodedSplit | MaskedSplit:
        """Returns a split for the batches of this process: the same object in every call."""

    def setup(self, stage: str | None = None) -> None:
        """Tokenises all texts, or reads the cache; called by Lightning before each stage, in every process."""
        if self.all_tokens is None:
            self.all_tokens = tokenize(self.corpus.texts, self.tokenizer, self.cfg.reading, self.cache)
            self.tokens = {name: self.all_tokens.take(s.positions) for name, s in self.corpus.splits.items()}

    def train_dataloader(self) -> BatchLoader:
        return self._loader("train", self.cfg.batch_size, shuffle=True)

    def val_dataloader(self) -> BatchLoader:
        return self._loader("validation", self.cfg.eval_batch_size, shuffle=False)

    def test_dataloader(self) -> BatchLoader:
        return self._loader("test", self.cfg.eval_batch_size, shuffle=False)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Moves all but the numbers of windows, which the host reads: it would wait for the device."""
        kept = {WINDOWS: batch[WINDOWS]} if WINDOWS in batch else {}
        return {**super().transfer_batch_to_device(batch, device, dataloader_idx), **kept}

    def evaluated_corpus(self) -> Corpus:
        """Returns the corpus with only those texts of validation and test that are evaluated."""
        texts = {name: self.split(name).texts(self.evaluated(name)) for name in ("validation", "test")}
        splits = {n: split.take(texts[n]) if n in texts else split for n, split in self.corpus.splits.items()}
        return dataclasses.replace(self.corpus, splits=splits)

    @property
    def padding(self) -> int:
        """The id of the padding token."""
        return int(self.tokenizer.pad_token_id or 0)

    @property
    def ranks(self) -> tuple[int, int]:
        """The rank of this process, and the number of processes."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _shared(self, split: Shared) -> Shared:
        """Sets the rank and the number of processes, which are known only once a trainer is attached."""
        split.rank, split.ranks = self.ranks
        return split

    def _loader(self, name: str, size: int, shuffle: bool) -> BatchLoader:
        split = self.split(name)
        given: Any = self.trainer
        plan = BatchPlan(
            split.lengths,
            max(size, split.ranks),
            self.seed,
            shuffle,
            self.cfg.buckets,
            split.ranks,
            limit=getattr(given, LIMITS[name], 1.0),
            group=given.accumulate_grad_batches if given and shuffle else 1,
            repeat=bool(given and shuffle and given.overfit_batches),
            labels=self.corpus.splits[name].targets if shuffle and self.cfg.sampling else None,
        )
        pinned = bool(given and given.strategy.root_device.type == "cuda")
        return BatchLoader(split, plan, self.cfg.workers, pinned)

    def evaluated(self, name: str) -> NDArray[np.intp]:
        """Returns the rows of validation or test that are evaluated, in ascending order."""
        plan = self._loader(name, self.cfg.eval_batch_size, shuffle=False).plan
        return np.sort(np.concatenate(plan.batches(0)[: plan.taken]))


class LabelledDataModule(TextDataModule):
    """Batches of labels with token ids, or with states from the activation store."""

    def __init__(self, corpus: Corpus, tokenizer: PreTrainedTokenizerBase, cfg: Data, seed: int, cache: Path) -> None:
        super().__init__(corpus, tokenizer, cfg, seed, cache)
        self.label_weights = corpus.label_weights(cfg.class_weights) if cfg.class_weights else None
        self._splits: dict[str, EncodedSplit] = {}

    def split(self, name: str) -> EncodedSplit:
        if name not in self._splits:
            split = self.corpus.splits[name]
            weights = self.example_weights(split)
            self._splits[name] = EncodedSplit(self.tokens[name], split.targets, weights, self.padding)
        return self._shared(self._splits[name])

    def example_weights(self, split: Split) -> NDArray[np.float32]:
        """Returns each example's weight in the loss; 1 for multi-label, where the loss has weights per label."""
        if self.label_weights is None or split.targets.ndim == 2:
            return np.ones(len(split), dtype=np.float32)
        return np.asarray(self.label_weights[split.targets], dtype=np.float32)

    def read_states(self, stored: StoredStates | None) -> None:
        """Makes batches contain stored states instead of token ids; None: token ids again.

        Args:
            stored: of all texts, or of their windows.
        """
        assert self.all_tokens is not None
        for name, split in self.corpus.splits.items():
            self.split(name).states = stored and stored.take(self.all_tokens.rows(split.positions))


class MaskedDataModule(TextDataModule):
    """Batches with masked tokens: different ones in each training epoch, the same in every validation.

    Args:
        corpus: the checked examples.
        tokenizer: the backbone's.
        cfg: the data section of the config.
        seed: of the order and the masks of the training texts; other splits are masked by `cfg.seed`, so that runs of
            different seeds are evaluated on the same masked tokens.
        cache: the folder for tokenised texts.
        masking: which tokens are masked, and how.

    Raises:
        UserError: the tokenizer has no mask token.
    """

    def __init__(
        self,
        corpus: Corpus,
        tokenizer: PreTrainedTokenizerBase,
        cfg: Data,
        seed: int,
        cache: Path,
        masking: model.Masking,
    ) -> None:
        super().__init__(corpus, tokenizer, cfg, seed, cache)
        self.vocabulary = read_vocabulary(tokenizer)
        self.masking = masking
        self._splits: dict[str, MaskedSplit] = {}

    def split(self, name: str) -> MaskedSplit:
        if name not in self._splits:
            tokens = self.tokens[name]
            masking = Masking(self.vocabulary, self.masking, self.seed if name == "train" else self.cfg.seed)
            blocks = pack(tokens.lengths, self.cfg.max_length) if self.cfg.pack else None
            if blocks:
                filled = tokens.lengths.sum() / (len(blocks) * self.cfg.max_length)
                log.info(
                    "Packed %s texts of %s into %s sequences, %.0f%% full",
                    f"{len(tokens.lengths):,}",
                    name,
                    f"{len(blocks):,}",
                    100 * filled,
                )
            self._splits[name] = MaskedSplit(tokens, masking, self.padding, blocks=blocks)
        return self._shared(self._splits[name])

    def unigram_perplexity(self, name: str) -> float:
        """Returns the perplexity on the masked tokens of a split for a unigram model, which predicts tokens by their
        frequency in training."""
        train = self.tokens["train"]
        tokens = train.flat(np.arange(len(train.lengths)))
        counts = np.bincount(tokens, minlength=len(self.vocabulary.special)) + 1.0
        counts[self.vocabulary.special] = 0
        targets = self.split(name).masked_tokens(0, self.evaluated(name))
        return float(np.exp(-np.log(counts[targets] / counts.sum()).mean())) if len(targets) else float("nan")

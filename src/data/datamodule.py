"""The LightningDataModule: a corpus, tokenised, as batches."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pytorch_lightning import LightningDataModule

from src.config import Data
from src.data.batching import BatchLoader, BatchPlan, EncodedSplit, Ragged, Stored
from src.data.corpus import Corpus, Split
from src.data.tokenizing import tokenize

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class TextDataModule(LightningDataModule):
    """Batches of token ids and targets for training, validation and test.

    Args:
        corpus: the checked rows.
        tokenizer: the backbone's.
        cfg: the data section of the config.
        seed: of the order of the training texts.
        cache: the folder for tokenised texts.
    """

    def __init__(self, corpus: Corpus, tokenizer: PreTrainedTokenizerBase, cfg: Data, seed: int, cache: Path) -> None:
        super().__init__()
        self.corpus, self.tokenizer, self.cfg, self.seed, self.cache = corpus, tokenizer, cfg, seed, cache
        self.label_weights = corpus.label_weights() if cfg.class_weights else None
        self.tokens: dict[str, Ragged] = {}
        self._splits: dict[str, EncodedSplit] = {}

    def setup(self, stage: str | None = None) -> None:
        """Tokenises every split, or reads the cache; called by Lightning before each stage, in every process."""
        for name, split in self.corpus.splits.items():
            if name not in self.tokens:
                self.tokens[name] = tokenize(split.texts, self.tokenizer, self.cfg.max_length, self.cache, name)

    def train_dataloader(self) -> BatchLoader:
        return self._loader("train", self.cfg.batch_size, shuffle=True)

    def val_dataloader(self) -> BatchLoader:
        return self._loader("validation", self.cfg.eval_batch_size, shuffle=False)

    def test_dataloader(self) -> BatchLoader:
        return self._loader("test", self.cfg.eval_batch_size, shuffle=False)

    def row_weights(self, split: Split) -> NDArray[np.float32]:
        """The weight of each row in the loss; multi-label rows weigh the same, since their weights go by label."""
        if self.label_weights is None or split.targets.ndim == 2:
            return np.ones(len(split), dtype=np.float32)
        return np.asarray(self.label_weights[split.targets], dtype=np.float32)

    @property
    def padding(self) -> int:
        """The id of the padding token."""
        return int(self.tokenizer.pad_token_id or 0)

    def encoded(self, name: str) -> EncodedSplit:
        """A split as batches of this process see it: the same object in every call."""
        if name not in self._splits:
            split = self.corpus.splits[name]
            rank, ranks = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
            weights = self.row_weights(split)
            self._splits[name] = EncodedSplit(self.tokens[name], split.targets, weights, self.padding, rank, ranks)
        return self._splits[name]

    def read_states(self, stored: dict[str, Stored]) -> None:
        """From now on batches of these splits hold stored states, and those of the other splits hold token ids."""
        for name in self.corpus.splits:
            self.encoded(name).states = stored.get(name)

    def _loader(self, name: str, size: int, shuffle: bool) -> BatchLoader:
        split = self.encoded(name)
        lengths, ranks = split.tokens.lengths, split.ranks
        plan = BatchPlan(lengths, max(size, ranks), self.seed, shuffle, self.cfg.buckets, ranks)
        return BatchLoader(split, plan, self.cfg.workers)

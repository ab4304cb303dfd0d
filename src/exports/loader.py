"""Loads a text classifier from a folder with config.json, model.safetensors and a tokenizer.

    from load import load

    classify = load(".")
    classify(["A text.", "Another one."])  # [{"label": …, "score": …}, …]; of pairs: [("A text.", "Its pair."), …]

A regression gives the number of each target instead: [{"label": …, "score": …}, …] per text, `score` being the number.

It needs torch, transformers and safetensors.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar  # noqa: F401

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoConfig, AutoModel, AutoTokenizer

from src.datamodules.pieces import joined, piece_slices
from src.models.heads import BiLSTMHead, LinearHead, MixedHead, decide, logits_of, probabilities
from src.models.windows import combine_windows

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int  # noqa: F401

HEADS: dict[str, Any] = {"LinearHead": LinearHead, "BiLSTMHead": BiLSTMHead}


class Classifier:
    """An encoder, a head and a tokenizer, ready for texts. Made with `load`."""

    def __init__(self, encoder: nn.Module, head: nn.Module, tokenizer: Any, config: dict[str, Any]) -> None:
        self.encoder, self.head, self.tokenizer, self.config = encoder.eval(), head.eval(), tokenizer, config
        self.pairs: bool = config["pairs"]

    def probabilities(
        self, texts: Sequence[str | tuple[str, str]], batch_size: int = 32
    ) -> Float[Tensor, "texts labels"]:
        """Returns the probability of each label, in the order of the config's labels; multi-label ones are independent.
        Of a regression, the numbers of the targets.

        Raises:
            TypeError: `texts` is one text, which would be read as a list of characters, or the model takes pairs and a
                text is none, or the other way round.
        """
        if isinstance(texts, str):
            raise TypeError("texts must be a list of texts; got a single one. Put it in a list: classify([text])")
        if any(isinstance(text, str) == self.pairs for text in texts):
            raise TypeError(f"each text must be {'a pair (first, second)' if self.pairs else 'a single text'}")
        if not texts:
            return torch.empty(0, len(self.config["labels"]))
        batches = [list(texts[start : start + batch_size]) for start in range(0, len(texts), batch_size)]
        with torch.inference_mode():
            logits = torch.cat([self._logits(batch) for batch in batches])
        if "target_std" in self.config:
            logits = logits * torch.tensor(self.config["target_std"]) + torch.tensor(self.config["target_mean"])
        return probabilities(logits, self.config["objective"])

    def __call__(self, texts: Sequence[str | tuple[str, str]]) -> list[dict[str, Any]] | list[list[dict[str, Any]]]:
        """Returns the predicted label of each text with its probability: the most probable one or, where the config has
        the threshold of the second of two labels, that one from there on; for multi-label data, all labels whose
        probability reaches their threshold; of a regression, all targets with their numbers."""
        labels, limits, objective = (self.config[key] for key in ("labels", "thresholds", "objective"))
        probs = self.probabilities(texts)
        rows: list[list[dict[str, Any]]] = [
            [{"label": label, "score": score} for label, score in zip(labels, row, strict=True)]
            for row in probs.tolist()
        ]
        if objective == "regression":
            return rows
        thresholds = torch.tensor([limits[label] for label in labels if label in limits]) if limits else None
        chosen = decide(probs, objective, thresholds).tolist()
        if objective == "multilabel":
            marked = (zip(*pair, strict=True) for pair in zip(rows, chosen, strict=True))
            return [[scored for scored, on in row if on] for row in marked]
        return [row[label] for row, label in zip(rows, chosen, strict=True)]

    def _logits(self, texts: list[Any]) -> Tensor:
        if self.pairs:
            options = {"truncation": True, "max_length": self.config["max_length"], "padding": True}
            columns = [list(side) for side in zip(*texts, strict=True)]
            return self._sequence_logits(self.tokenizer(*columns, **options, return_tensors="pt"))
        pieces = [self._pieces(ids) for ids in self.tokenizer(texts, verbose=False)["input_ids"]]
        rows = [torch.tensor(ids) for ids in itertools.chain(*pieces)]
        # As many at once as there are texts, however many windows these have.
        turns = [rows[start : start + len(texts)] for start in range(0, len(rows), len(texts))]
        found = torch.cat([self._sequence_logits(self._padded(turn)) for turn in turns])
        if self.config["stride"] is None:
            return found
        return combine_windows(found, torch.tensor([len(windows) for windows in pieces]), self.config["windows"])

    def _pieces(self, ids: list[int]) -> list[list[int]]:
        """Returns the sequences that the encoder reads of a text: its windows or, without windows, one."""
        names = ("special_ends", "max_length", "first_tokens", "stride", "max_windows")
        slices = piece_slices(len(ids), *(self.config[name] for name in names))
        return [joined(ids, piece) for piece in slices]

    def _padded(self, rows: list[Tensor]) -> dict[str, Tensor]:
        padding = int(self.tokenizer.pad_token_id or 0)
        mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
        return {"input_ids": pad_sequence(rows, batch_first=True, padding_value=padding), "attention_mask": mask}

    def _sequence_logits(self, found: Any) -> Tensor:
        mask = found["attention_mask"].bool()
        return logits_of(self.head, self.encoder(**found), mask, isinstance(self.head, MixedHead))


def load(folder: str | Path) -> Classifier:
    """Loads the classifier in a folder.

    Raises:
        OSError: a file is missing.
        RuntimeError: the weights do not match config.json.
    """
    config: dict[str, Any] = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    weights = load_file(Path(folder) / "model.safetensors")
    model_class: Any = AutoModel
    encoder = model_class.from_config(AutoConfig.for_model(**config["encoder"]))
    if not any(name.startswith("encoder.pooler.") for name in weights):
        encoder.pooler = None
    options = dict(config["head"])
    head: nn.Module = HEADS[options.pop("name")](**options)
    if config["mixed_layers"]:
        head = MixedHead(head, config["mixed_layers"])
    for name, part in (("encoder.", encoder), ("head.", head)):
        part.load_state_dict({key.removeprefix(name): w for key, w in weights.items() if key.startswith(name)})
    return Classifier(encoder, head, AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False), config)

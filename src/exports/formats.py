"""The formats of an exported run. Each is written, read back in the way of its users, and compared with the run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from src.backbones.loading import silence_transformers
from src.config.reading import Reading
from src.data.labels import LabelSpace
from src.data.texts import Text, from_columns, sides
from src.datamodules.pieces import special_ends
from src.datamodules.ragged import Batch
from src.datamodules.tokenizing import read_tokens
from src.errors import UserError
from src.exports import native, onnx_model, sentence_transformer, standalone
from src.exports.card import backbone_name
from src.exports.usage import Kind
from src.models.adapters import merge_adapters
from src.models.heads import probabilities
from src.models.networks import fold_temperature, reads_types
from src.modules import metrics
from src.prediction.predictor import Predictor
from src.runs.folder import RunFolder

# Texts on which the exported model must agree with the run; the last is longer than most backbones allow.
SAMPLES = (
    "Good.",
    "A warm, funny and quietly devastating film; see it twice!",
    "Überraschend schön: 10/10 😀, said nobody. " * 3,
    "It goes on and on and on. " * 400,
)
EXACT = 1e-5  # maximum difference of probabilities
OF_NUMBERS = 1e-3  # maximum difference of predicted numbers, in standard deviations of the training targets
CLOSE = 1e-4  # maximum difference of logits for ONNX, whose operators sum in another order

PIPELINES_CUT = "Pipelines keep the first tokens of longer texts; in training, the last ones were kept too."


Written = tuple[Kind, list[str]]  # how the folder is loaded, and notes for the user


class Original:
    """A run's best weights with merged adapters and temperature, and its logits for some texts before merging.

    Args:
        run: the run folder.
        cfg: the run's config.
        predictor: of the run; its network and tokenizer are modified.
    """

    def __init__(self, run: RunFolder, cfg: DictConfig, predictor: Predictor) -> None:
        silence_transformers()
        self.run, self.cfg, self.result = run, cfg, predictor.result
        self.network, self.tokenizer, self.reading = predictor.network, predictor.tokenizer, predictor.data.reading
        self.thresholds = predictor.thresholds
        masked, self.pairs = self.result["objective"] == "mlm", predictor.data.pairs
        self.inputs = ["input_ids", "attention_mask"]
        if self.pairs and reads_types(self.network.encoder):
            self.inputs += [name for name in self.tokenizer.model_input_names if name == "token_type_ids"]
        self.samples = _samples(str(self.tokenizer.mask_token) if masked else None, self.pairs, self.reading)
        batch = self.batch(self.samples)
        if masked:
            batch["masked_positions"] = (
                (batch["input_ids"].flatten() == self.tokenizer.mask_token_id).nonzero().flatten()
            )
        with torch.inference_mode():
            self.logits: Tensor = self.network(batch)
        merge_adapters(self.network.encoder)
        fold_temperature(self.network)

    @property
    def probabilities(self) -> Tensor:
        """Of the labels of each sample, or of the vocabulary at its masked token."""
        objective = self.result["objective"]
        return self.logits.softmax(1) if objective == "mlm" else probabilities(self.logits, objective)

    @property
    def about(self) -> dict[str, Any]:
        """What config.json contains about the run."""
        return {
            "objective": self.result["objective"],
            "labels": self.result["labels"],
            **{key: self.result[key] for key in ("target_mean", "target_std") if key in self.result},
            "thresholds": self.result.get("thresholds"),
            "max_length": self.reading.max_length,
            "first_tokens": self.reading.first,
            "stride": self.reading.stride,
            "max_windows": self.reading.max_windows,
            "windows": self.network.windows,
            "special_ends": None if self.pairs else special_ends(self.tokenizer),
            "pairs": self.pairs,
            "backbone": backbone_name(self.cfg),
            "strategy": self.result["strategy"],
        }

    def encode(self, texts: list[Text]) -> dict[str, Tensor]:
        """Returns the inputs of the model [texts, tokens], truncated as in training, and padded."""
        batch = self.batch(texts)
        batch["attention_mask"] = batch["mask"].long()
        return {name: batch[name] for name in self.inputs}

    def batch(self, texts: list[Text]) -> Batch:
        """Returns what the run's network reads of these texts."""
        tokens = read_tokens(texts, self.tokenizer, self.reading)
        return tokens.batch(np.arange(len(texts)), int(self.tokenizer.pad_token_id or 0))

    def agrees(self, found: Tensor, expected: Tensor, limit: float) -> bool:
        """Returns whether a written model computes the same as the run."""
        return self._difference(found, expected) <= self._limit(limit)

    def check(self, found: Tensor, expected: Tensor, limit: float) -> None:
        """Checks that a written model computes the same as the run.

        Raises:
            UserError: it does not.
        """
        if not self.agrees(found, expected, limit):
            raise UserError(
                f"The exported model must agree with the run within {self._limit(limit):g}; it differs by "
                f"{self._difference(found, expected):.2g}. Nothing was written.\n"
                "Choose another format: format=huggingface, onnx or safetensors."
            )

    def _limit(self, limit: float) -> float:
        return OF_NUMBERS if self.network.space.is_regression else limit

    def _difference(self, found: Tensor, expected: Tensor) -> float:
        difference = (found - expected).abs()
        return float((difference / torch.tensor(self.network.space.std or 1.0)).max())

    def save_tokenizer(self, folder: Path) -> None:
        tokenizer: Any = self.tokenizer
        tokenizer.model_max_length = self.reading.max_length
        if self.reading.truncation == "tail":
            tokenizer.truncation_side = tokenizer.init_kwargs["truncation_side"] = "left"
        # Runs pass token types only of pairs; not every architecture accepts them.
        tokenizer.model_input_names = tokenizer.init_kwargs["model_input_names"] = self.inputs
        tokenizer.init_kwargs.pop("auto_map", None)  # the backbone's own code, which no run uses
        tokenizer.save_pretrained(folder)


def _samples(mask_token: str | None, pairs: bool, reading: Reading) -> list[Text]:
    """Returns the texts to compare on: with a mask token for a masked language model, where it is read; otherwise pairs
    for pairs."""
    if mask_token and reading.truncation == "head_tail":  # whose pipeline truncates in another way
        return [f"{mask_token} {text}" for text in SAMPLES[:-1]]
    if mask_token:
        return [f"{text} {mask_token}" if reading.truncation == "tail" else f"{mask_token} {text}" for text in SAMPLES]
    return [*zip(SAMPLES, reversed(SAMPLES), strict=True)] if pairs else [*SAMPLES]


def write_huggingface(folder: Path, original: Original) -> Written:
    """Writes a transformers model if one computes the same, otherwise the weights with their own loader."""
    if original.result["objective"] == "mlm":
        native.write_masked(folder, original.network)
        (texts,) = sides(original.samples)
        original.check(native.read_masked(folder, texts), original.probabilities, EXACT)
        return "fill-mask", [PIPELINES_CUT] if original.reading.truncation == "head_tail" else []
    windows, head_tail = original.reading.stride is not None, original.reading.truncation == "head_tail"
    by_pipeline = not (windows or head_tail)
    if by_pipeline and native.write_classifier(folder, original.network, original.result.get("thresholds")):
        found = native.read_classifier(folder, original.result["labels"], original.samples)
        if original.agrees(found, original.probabilities, EXACT):
            return "pipeline", []
        # Some settings of an architecture change what its classifier computes; the files are overwritten below.
    standalone.write_loader(folder)
    write_safetensors(folder, original)
    what = "windows of a text" if windows else "data.truncation=head_tail"
    what = "this combination of backbone and head" if by_pipeline else what
    note = f"No transformers class computes {what}: load it with load.py."
    return "loader", [note]


def write_safetensors(folder: Path, original: Original) -> Written:
    """Writes the weights and their description."""
    standalone.write_weights(folder, original.network, original.cfg.model, original.about)
    original.check(standalone.read_back(folder, original.samples), original.probabilities, EXACT)
    return "weights", []


def write_sentence_transformers(folder: Path, original: Original) -> Written:
    """Writes the modules of a sentence-transformers model."""
    thresholds = original.result.get("thresholds")
    sentence_transformer.write(folder, original.network, original.reading.max_length, thresholds)
    found = sentence_transformer.read_back(folder, original.samples)
    original.check(probabilities(found, original.result["objective"]), original.probabilities, EXACT)
    return "sentence-transformers", []


def write_onnx(folder: Path, original: Original, opset: int, int8: bool) -> Written:
    """Writes an ONNX model and, if requested, a smaller one with 8-bit weights."""
    content = json.dumps(original.about, indent=2, ensure_ascii=False)
    (folder / "config.json").write_text(f"{content}\n", encoding="utf-8")
    file = folder / "model.onnx"
    onnx_model.write(file, original.network, original.encode(original.samples), opset)
    session = onnx_model.open_session(file)
    original.check(onnx_model.logits(session, original.encode(original.samples)), original.logits, CLOSE)
    for text, expected in zip(original.samples, original.logits, strict=True):
        original.check(onnx_model.logits(session, original.encode([text])), expected[None], CLOSE)
    if not int8:
        return "onnx", []
    quantised = folder / "model_int8.onnx"
    onnx_model.quantise(file, quantised)
    sizes = [f"{path.stat().st_size / 1e6:,.1f} MB" for path in (file, quantised)]
    return "onnx", [f"model_int8.onnx: {_loss(quantised, original)}; {sizes[1]} instead of {sizes[0]}."]


def _loss(quantised: Path, original: Original) -> str:
    """Returns in words how a smaller model's score compares with the run's."""
    run = original.result["metrics"]["test"]
    # Test texts with the same target have no correlation.
    names = ("pearson", "rmse") if original.result["objective"] == "regression" else ("accuracy",)
    score = next(name for name in names if run[name] is not None)
    scores, texts = _scores(quantised, original)
    found, before = scores[score], run[score]
    return (
        f"{score} {found:.4f} on the {texts:,} test texts of the run, {found - before:+z.4f} compared with "
        f"{before:.4f} in full precision"
    )


def _scores(file: Path, original: Original) -> tuple[dict[str, float], int]:
    """Returns the scores of an ONNX model on the run's test texts, one at a time, and their number.

    Raises:
        UserError: the run's predictions, which contain these texts, cannot be read.
    """
    texts, targets = _test_texts(original)
    space = LabelSpace.of(original.result)
    session = onnx_model.open_session(file)
    found = torch.cat([onnx_model.logits(session, original.encode([text])) for text in texts])
    probs = probabilities(found, space.objective)
    return metrics.measure(probs, targets, space, original.thresholds), len(texts)


def _test_texts(original: Original) -> tuple[Sequence[Text], Tensor]:
    import pyarrow
    import pyarrow.parquet

    file = original.run.path / "predictions" / "test.parquet"
    columns = ["text", "text_pair"] if original.pairs else ["text"]
    try:
        table = pyarrow.parquet.read_table(file, columns=[*columns, "true"])
    except (OSError, pyarrow.ArrowException) as error:
        raise UserError(
            f"int8=true measures on the run's test texts in {file}; they cannot be read: {error}\nChoose int8=false."
        ) from None
    labels, true = original.result["labels"], table.column("true").to_pylist()
    if original.result["objective"] == "regression":
        targets = torch.tensor(true)
    elif original.result["objective"] == "multilabel":
        targets = torch.tensor([[float(label in row) for label in labels] for row in true])
    else:
        targets = torch.tensor([labels.index(row) for row in true])
    return from_columns({name: table.column(name).to_pylist() for name in columns}), targets

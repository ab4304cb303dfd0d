"""Loads and saves the model of a masked language modelling run: backbone, tokenizer and head."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from src.backbones.source import Source, read_source
from src.backbones.stages import current_name
from src.config.backbone import FromRun
from src.errors import UserError
from src.files.paths import user_path
from src.runs.folder import RunFolder

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

KINDS = ("weight", "bias")


# The names of the head's dense layer, norm and output bias in the checkpoints of the architectures.
HEADS = (
    ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.bias"),
    ("lm_head.dense", "lm_head.layer_norm", "lm_head.bias"),
    ("vocab_transform", "vocab_layer_norm", "vocab_projector.bias"),
    ("generator_predictions.dense", "generator_predictions.LayerNorm", "generator_lm_head.bias"),
)


def find_pretrained(cfg: FromRun) -> Source:
    """Finds the backbone that a run of masked language modelling has saved.

    Raises:
        UserError: there is no such run, it has not finished, or its objective is not masked language modelling.
    """
    folder = RunFolder(user_path(cfg.run))
    result = folder.read_result()
    if result["objective"] != "mlm":
        raise UserError(
            "backbone.run must be a run of masked language modelling; "
            f"the objective of {folder.path} is {result['objective']}.\nGive a run of model=bert_mlm."
        )
    folder.check_weights(result)
    return read_source(folder.model, str(folder.path))


def _head_names(dense: str, norm: str, bias: str) -> dict[str, str]:
    """Returns the head's parameter names in a checkpoint, by their names here."""
    parts = (("dense", dense), ("norm", norm))
    return {"bias": bias} | {f"{ours}.{kind}": f"{theirs}.{kind}" for ours, theirs in parts for kind in KINDS}


def head_names(names: Iterable[str]) -> dict[str, str] | None:
    """Finds the head's parameters in a checkpoint.

    Args:
        names: of all tensors of the checkpoint.

    Returns:
        Their names in the checkpoint, by their names here; None if the checkpoint has no such head.
    """
    stored = {current_name(name): name for name in names}
    heads = (_head_names(*parts) for parts in HEADS)
    known = next((head for head in heads if stored.keys() >= set(head.values())), None)
    return known and {ours: stored[theirs] for ours, theirs in known.items()}


def load_head(source: Source, head: nn.Module) -> bool:
    """Loads the head's weights from the backbone's files; returns whether they are there."""
    from safetensors import safe_open

    shapes = {name: parameter.shape for name, parameter in head.named_parameters()}
    for file in sorted(source.folder.glob("model*.safetensors")) if source.folder else ():
        with safe_open(file, framework="pt") as content:
            if names := head_names(content.keys()):
                tensors = {ours: content.get_tensor(theirs) for ours, theirs in names.items()}
                if all(tensors[name].shape == shape for name, shape in shapes.items()):
                    head.load_state_dict(tensors)
                    return True
    return False


def save_model(folder: Path, encoder: PreTrainedModel, head: nn.Module, tokenizer: PreTrainedTokenizerBase) -> None:
    """Saves a backbone for `AutoModel.from_pretrained(folder)`, and the head under BERT's names for `load_head`."""
    names = _head_names(*HEADS[0])
    beside = {names[name]: tensor for name, tensor in head.state_dict().items()}
    encoder.save_pretrained(folder, state_dict={**encoder.state_dict(), **beside})
    tokenizer.save_pretrained(folder)

"""What a run of masked language modelling leaves for others: a backbone, its tokenizer, and the head's weights."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from src.config.backbone import FromRun
from src.errors import UserError
from src.files.paths import user_path
from src.models.backbones import Source, read_source
from src.runs.folder import RunFolder

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

KINDS = ("weight", "bias")


# What the architectures call the head's dense layer, norm and output bias in their checkpoints.
HEADS = (
    ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.bias"),
    ("lm_head.dense", "lm_head.layer_norm", "lm_head.bias"),
    ("vocab_transform", "vocab_layer_norm", "vocab_projector.bias"),
    ("generator_predictions.dense", "generator_predictions.LayerNorm", "generator_lm_head.bias"),
)


def find_pretrained(cfg: FromRun) -> Source:
    """The backbone that a run has left.

    Raises:
        UserError: there is no such run, it has not finished, or it did not learn to fill in masked words.
    """
    folder = RunFolder(user_path(cfg.run))
    result = folder.read_result()
    if result["objective"] != "mlm":
        raise UserError(
            "backbone.run must be a run of masked language modelling; "
            f"{folder.path} learned a {result['objective']} task.\nGive a run of model=bert_mlm."
        )
    folder.check_weights(result)
    return read_source(folder.model, str(folder.path))


def _head_names(dense: str, norm: str, bias: str) -> dict[str, str]:
    """What the head's parameters are called in a checkpoint, by what they are called here."""
    parts = (("dense", dense), ("norm", norm))
    return {"bias": bias} | {f"{ours}.{kind}": f"{theirs}.{kind}" for ours, theirs in parts for kind in KINDS}


def head_names(there: Iterable[str]) -> dict[str, str] | None:
    """What a checkpoint with these names calls the head's parameters, by what they are called here; None where it has
    no such head."""
    found = set(there)
    return next((names for names in (_head_names(*parts) for parts in HEADS) if found.issuperset(names.values())), None)


def load_head(source: Source, head: nn.Module) -> bool:
    """Gives the head the weights that the backbone's own pretraining has left, if they are in its files."""
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
    """Leaves a backbone in the form that transformers reads, `AutoModel.from_pretrained(folder)`, and the head beside
    it under BERT's names, where `load_head` finds it."""
    names = _head_names(*HEADS[0])
    beside = {names[name]: tensor for name, tensor in head.state_dict().items()}
    encoder.save_pretrained(folder, state_dict={**encoder.state_dict(), **beside})
    tokenizer.save_pretrained(folder)

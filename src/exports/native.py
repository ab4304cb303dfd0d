"""A run's network as a model of transformers' own classes, which `pipeline(…)` loads as it loads any other.

Only where both compute the same: what transformers puts between an encoder and the labels differs by architecture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from src.errors import UserError
from src.exports.standalone import plain_settings
from src.models.heads import LinearHead
from src.models.masked_language import head_names
from src.models.networks import Network

if TYPE_CHECKING:
    from transformers import PretrainedConfig


@dataclass(frozen=True)
class Layout:
    """What an architecture's classifier does with the encoder's states.

    Args:
        pooling: which head of a run fits: one on the encoder's `pooler`, or on the first token's state (`cls`).
        last: the name of the linear layer that gives the logits.
        dense: the name of the layer on the first token before it; none where the encoder's own pooler is used.
    """

    pooling: str
    last: str
    dense: str = ""


# The first token, a dense layer and tanh are also what the encoder's own pooler does.
TANH = Layout("pooler", "classifier.out_proj", "classifier.dense")
CLASSIFIERS = {
    "bert": Layout("pooler", "classifier"),
    "albert": Layout("pooler", "classifier"),
    **dict.fromkeys(("roberta", "xlm-roberta", "camembert", "mpnet"), TANH),
    # Between the two layers stands a ReLU or a GELU.
    "distilbert": Layout("cls", "classifier", "pre_classifier"),
    "electra": Layout("cls", "classifier.out_proj", "classifier.dense"),
    "deberta-v2": Layout("cls", "classifier", "pooler.dense"),
}


def write_classifier(folder: Path, network: Network, thresholds: dict[str, float] | None) -> bool:
    """Leaves config.json and model.safetensors of a classifier of the encoder's architecture.

    Args:
        folder: is there.
        network: with merged adapters.
        thresholds: by label, of a multi-label task; pipelines do not use them, but config.json keeps them.

    Returns:
        Whether there is one that computes the same; otherwise nothing is written.
    """
    from transformers import AutoModelForSequenceClassification

    layout, head, names = CLASSIFIERS.get(network.encoder.config.model_type), network.head, network.space.names
    if layout is None or not isinstance(head, LinearHead) or head.pooling != layout.pooling:
        return False
    if layout.pooling == "cls" and 2 * len(names) > head.linear.in_features:
        return False
    settings: Any = _settings(network)
    settings.id2label = dict(enumerate(names))
    settings.label2id = {name: index for index, name in enumerate(names)}
    multilabel = network.space.objective == "multilabel"
    settings.problem_type = "multi_label_classification" if multilabel else "single_label_classification"
    if thresholds:
        settings.thresholds = thresholds
    model_class: Any = AutoModelForSequenceClassification
    model = model_class.from_config(settings)
    model.load_state_dict(_classifier_state(network, layout, model.base_model_prefix))
    model.save_pretrained(folder)
    return True


def _settings(network: Network) -> PretrainedConfig:
    from transformers import AutoConfig

    return AutoConfig.for_model(**plain_settings(network.encoder))


def _classifier_state(network: Network, layout: Layout, prefix: str) -> dict[str, Tensor]:
    """The weights by the names of transformers' classifier."""
    state = {f"{prefix}.{name}": tensor for name, tensor in network.encoder.state_dict().items()}
    linear: Any = network.head.linear
    weight, bias = linear.weight.detach(), linear.bias.detach()
    if network.space.objective == "binary":
        # Softmax over the logits 0 and z is the sigmoid of z.
        weight, bias = (torch.cat([torch.zeros_like(tensor), tensor]) for tensor in (weight, bias))
    if layout.pooling == "pooler" and layout.dense:
        pooler = f"{prefix}.pooler.dense"
        state |= {f"{layout.dense}.{kind}": state.pop(f"{pooler}.{kind}") for kind in ("weight", "bias")}
    if layout.pooling == "cls":
        # For ReLU and GELU alike a(z) - a(-z) = z, so that the first layer can hold the logits already.
        labels, width = weight.shape
        signs = torch.cat([torch.eye(labels), -torch.eye(labels)])  # [2 labels, labels]
        state[f"{layout.dense}.weight"] = _padded(signs @ weight, width, width)
        state[f"{layout.dense}.bias"] = _padded((signs @ bias)[None], 1, width)[0]
        weight, bias = _padded(signs.T, labels, width), torch.zeros(labels)
    return {**state, f"{layout.last}.weight": weight, f"{layout.last}.bias": bias}


def _padded(matrix: Float[Tensor, "rows columns"], rows: int, columns: int) -> Float[Tensor, "more_rows more_columns"]:
    found = torch.zeros(rows, columns)
    found[: matrix.shape[0], : matrix.shape[1]] = matrix
    return found


def read_classifier(folder: Path, labels: Sequence[str], texts: Sequence[str]) -> Float[Tensor, "texts labels"]:
    """The probabilities that a pipeline gives."""
    from transformers import pipeline

    options: Any = {"truncation": True, "top_k": None, "trust_remote_code": False}
    classify: Any = pipeline("text-classification", model=str(folder), device="cpu", **options)
    rows = [{scored["label"]: scored["score"] for scored in scores} for scores in classify(list(texts))]
    return torch.tensor([[row[label] for label in labels] for row in rows])


def write_masked(folder: Path, network: Network) -> None:
    """Leaves config.json and model.safetensors of a masked language model of the encoder's architecture.

    Raises:
        UserError: the architecture guesses masked words with another kind of head.
    """
    from transformers import AutoModelForMaskedLM

    model_class: Any = AutoModelForMaskedLM
    model = model_class.from_config(_settings(network))
    there = model.state_dict()
    names = head_names(there)
    if names is None:
        raise UserError(
            "format=huggingface needs a backbone that guesses masked words as BERT does; "
            f"{network.encoder.config.model_type} does it otherwise.\n"
            "The run's folder model/ has the backbone, as AutoModel.from_pretrained reads it."
        )
    state = {f"{model.base_model_prefix}.{name}": tensor for name, tensor in network.encoder.state_dict().items()}
    state |= {names[name]: tensor for name, tensor in network.head.state_dict().items()}
    # The output matrix is the input embeddings again.
    model.load_state_dict({**there, **state}, strict=False)
    model.tie_weights()
    model.save_pretrained(folder)


def read_masked(folder: Path, texts: Sequence[str]) -> Float[Tensor, "texts vocabulary"]:
    """The probability of each token in the one masked place of each text, as a pipeline gives it."""
    from transformers import pipeline

    options: Any = {"tokenizer_kwargs": {"truncation": True}, "trust_remote_code": False}
    fill: Any = pipeline("fill-mask", model=str(folder), device="cpu", **options)
    size = fill.model.config.vocab_size
    found = torch.zeros(len(texts), size)
    for row, guesses in zip(found, (fill(text, top_k=size) for text in texts), strict=True):
        row[[guess["token"] for guess in guesses]] = torch.tensor([guess["score"] for guess in guesses])
    return found

"""Exports a run's network as a model of a transformers class, which `pipeline(…)` can load.

Only where both compute the same: the layers of transformers between encoder and logits differ by architecture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from src.data.texts import COLUMNS, Text
from src.errors import UserError
from src.exports.standalone import plain_settings
from src.models.heads import LinearHead
from src.models.masked_language import head_names
from src.models.networks import Network

if TYPE_CHECKING:
    from transformers import PretrainedConfig


@dataclass(frozen=True)
class Layout:
    """How an architecture's classifier computes logits from the encoder's states.

    Args:
        pooling: the pooling of a head that can be exported: the encoder's `pooler`, or the first token's state (`cls`).
        last: the name of the linear layer that computes the logits.
        dense: the name of the layer before it, on the first token; empty where the encoder's own pooler is used.
    """

    pooling: str
    last: str
    dense: str = ""


# A dense layer and tanh on the first token, which is what the encoder's own pooler computes.
TANH = Layout("pooler", "classifier.out_proj", "classifier.dense")
CLASSIFIERS = {
    "bert": Layout("pooler", "classifier"),
    "albert": Layout("pooler", "classifier"),
    **dict.fromkeys(("roberta", "xlm-roberta", "camembert", "mpnet"), TANH),
    # With a ReLU or GELU between the two layers.
    "distilbert": Layout("cls", "classifier", "pre_classifier"),
    "electra": Layout("cls", "classifier.out_proj", "classifier.dense"),
    "deberta-v2": Layout("cls", "classifier", "pooler.dense"),
}


PROBLEMS = {"multilabel": "multi_label_classification", "regression": "regression"}


def write_classifier(folder: Path, network: Network, thresholds: dict[str, float] | None) -> bool:
    """Writes config.json and model.safetensors of a classifier of the encoder's architecture.

    Args:
        folder: an existing folder.
        network: with merged adapters.
        thresholds: by label; pipelines do not use them, but config.json keeps them.

    Returns:
        Whether such a classifier computes the same; otherwise nothing is written.
    """
    from transformers import AutoModelForSequenceClassification

    layout, head = CLASSIFIERS.get(network.encoder.config.model_type), network.head
    if layout is None or not isinstance(head, LinearHead) or head.pooling != layout.pooling:
        return False
    if layout.pooling == "cls" and 2 * len(network.space.names) > head.linear.in_features:
        return False
    model_class: Any = AutoModelForSequenceClassification
    model = model_class.from_config(described(network, thresholds))
    model.load_state_dict(_classifier_state(network, layout, model.base_model_prefix))
    model.save_pretrained(folder)
    return True


def described(network: Network, thresholds: dict[str, float] | None) -> PretrainedConfig:
    """Returns the encoder's config with the labels, the kind of task and, where labels have them, the thresholds."""
    settings: Any = _settings(network)
    settings.id2label = dict(enumerate(network.space.names))
    settings.label2id = {name: index for index, name in enumerate(network.space.names)}
    settings.problem_type = PROBLEMS.get(network.space.objective, "single_label_classification")
    if thresholds:
        settings.thresholds = thresholds
    return cast("PretrainedConfig", settings)


def _settings(network: Network) -> PretrainedConfig:
    from transformers import AutoConfig

    return AutoConfig.for_model(**plain_settings(network.encoder))


def linear_in_units(network: Network) -> tuple[Float[Tensor, "outputs width"], Float[Tensor, " outputs"]]:
    """Returns weight and bias of a linear head; in regression, those that give numbers in the units of the targets."""
    linear: Any = network.head.linear
    weight, bias = linear.weight.detach(), linear.bias.detach()
    if not network.space.is_regression:
        return weight, bias
    std, mean = weight.new_tensor(network.space.std), weight.new_tensor(network.space.mean)
    return weight * std[:, None], bias * std + mean


def _classifier_state(network: Network, layout: Layout, prefix: str) -> dict[str, Tensor]:
    """Returns the weights with the names of the transformers classifier."""
    state = {f"{prefix}.{name}": tensor for name, tensor in network.encoder.state_dict().items()}
    weight, bias = linear_in_units(network)
    if network.space.objective == "binary":
        # Softmax over the logits 0 and z is the sigmoid of z.
        weight, bias = (torch.cat([torch.zeros_like(tensor), tensor]) for tensor in (weight, bias))
    if layout.pooling == "pooler" and layout.dense:
        pooler = f"{prefix}.pooler.dense"
        state |= {f"{layout.dense}.{kind}": state.pop(f"{pooler}.{kind}") for kind in ("weight", "bias")}
    if layout.pooling == "cls":
        # For ReLU and GELU alike a(z) - a(-z) = z, so that the first layer can already compute the logits.
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


def read_classifier(folder: Path, labels: Sequence[str], texts: Sequence[Text]) -> Float[Tensor, "texts labels"]:
    """Returns the probabilities, or the numbers of a regression, from a pipeline."""
    from transformers import pipeline

    options: Any = {"truncation": True, "top_k": None, "trust_remote_code": False}
    classify: Any = pipeline("text-classification", model=str(folder), device="cpu", **options)
    given = [text if isinstance(text, str) else dict(zip(COLUMNS, text, strict=True)) for text in texts]
    rows = [{scored["label"]: scored["score"] for scored in scores} for scores in classify(given)]
    return torch.tensor([[row[label] for label in labels] for row in rows])


def write_masked(folder: Path, network: Network) -> None:
    """Writes config.json and model.safetensors of a masked language model of the encoder's architecture.

    Raises:
        UserError: the architecture has another kind of masked-language-modelling head.
    """
    from transformers import AutoModelForMaskedLM

    model_class: Any = AutoModelForMaskedLM
    model = model_class.from_config(_settings(network))
    initial = model.state_dict()
    names = head_names(initial)
    if names is None:
        raise UserError(
            "format=huggingface needs a backbone whose masked-language-modelling head is like BERT's; that of "
            f"{network.encoder.config.model_type} is not.\n"
            "The run's folder model/ has the backbone, for AutoModel.from_pretrained."
        )
    state = {f"{model.base_model_prefix}.{name}": tensor for name, tensor in network.encoder.state_dict().items()}
    state |= {names[name]: tensor for name, tensor in network.head.state_dict().items()}
    # The output matrix is tied to the input embeddings.
    model.load_state_dict({**initial, **state}, strict=False)
    model.tie_weights()
    model.save_pretrained(folder)


def read_masked(folder: Path, texts: Sequence[str]) -> Float[Tensor, "texts vocabulary"]:
    """Returns the probability of each vocabulary token for the one masked token of each text, from a pipeline."""
    from transformers import pipeline

    options: Any = {"tokenizer_kwargs": {"truncation": True}, "trust_remote_code": False}
    fill: Any = pipeline("fill-mask", model=str(folder), device="cpu", **options)
    size = fill.model.config.vocab_size
    found = torch.zeros(len(texts), size)
    for row, predictions in zip(found, (fill(text, top_k=size) for text in texts), strict=True):
        row[[token["token"] for token in predictions]] = torch.tensor([token["score"] for token in predictions])
    return found

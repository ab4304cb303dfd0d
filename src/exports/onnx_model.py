"""Exports a run's classifier to ONNX: token ids, attention mask and, of pairs, token types in; logits out; with dynamic
batch and token axes."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from src.models.networks import Network

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Encoded = Mapping[str, Int[Tensor, "texts tokens"]]  # the arguments of _Classifier, in order


class _Classifier(nn.Module):
    """A classifier with the ONNX inputs as arguments."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        input_ids: Int[Tensor, "texts tokens"],
        attention_mask: Int[Tensor, "texts tokens"],
        token_type_ids: Int[Tensor, "texts tokens"] | None = None,
    ) -> Float[Tensor, "texts outputs"]:
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        logits: Tensor = self.network({"input_ids": input_ids, "mask": attention_mask.bool(), **types})
        return logits


def write(file: Path, network: Network, example: Encoded, opset: int) -> None:
    """Writes an ONNX model with dynamic axes `batch` and `tokens`; weights of more than 2 GB get a file of their own.

    Args:
        file: the output file.
        network: with merged adapters, in evaluation mode.
        example: two texts or more of different lengths.
        opset: the version of ONNX's operators.
    """
    axes = {0: "batch", 1: "tokens"}
    with warnings.catch_warnings(), torch.no_grad():
        # The older of PyTorch's two exporters traces a forward pass: seconds instead of a minute. It warns of lengths
        # that became constants; running the model on texts of other lengths detects these.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Classifier(network).eval(),
            tuple(example.values()),
            str(file),
            input_names=list(example),
            output_names=["logits"],
            dynamic_axes={**dict.fromkeys(example, axes), "logits": {0: "batch"}},
            opset_version=opset,
            dynamo=False,
        )


def quantise(file: Path, to: Path) -> None:
    """Writes the model with 8-bit integer matrices. Activations are quantised per batch too, so that a logit depends
    slightly on the other texts of the batch."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it recommends a preprocessing step that changes nothing for encoders
    try:
        # One scale per column loses little accuracy. With 7 bits nothing overflows on CPUs without 8-bit dot-product
        # instructions, so that the accuracy measured here holds there too.
        quantize_dynamic(file, to, per_channel=True, reduce_range=True, weight_type=QuantType.QInt8)
    finally:
        root.setLevel(level)


def open_session(file: Path) -> InferenceSession:
    from onnxruntime import InferenceSession

    return InferenceSession(str(file), providers=["CPUExecutionProvider"])


def logits(session: InferenceSession, encoded: Encoded) -> Float[Tensor, "texts outputs"]:
    """Returns the logits of an ONNX model for a batch."""
    (found,) = session.run(["logits"], {name: tensor.numpy() for name, tensor in encoded.items()})
    return torch.as_tensor(found)

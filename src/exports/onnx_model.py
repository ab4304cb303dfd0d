"""A run's classifier as an ONNX model: token ids and a mask in, logits out, for any number of texts and tokens."""

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

Encoded = Mapping[str, Int[Tensor, "texts tokens"]]  # input_ids and attention_mask

INPUTS = ("input_ids", "attention_mask")
LARGEST = 1_900_000_000  # bytes of weights; a single ONNX file holds at most 2 GB


class _Classifier(nn.Module):
    """A classifier with ONNX's inputs as its arguments."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, input_ids: Int[Tensor, "texts tokens"], attention_mask: Int[Tensor, "texts tokens"]
    ) -> Float[Tensor, "texts outputs"]:
        logits: Tensor = self.network({"input_ids": input_ids, "mask": attention_mask.bool()})
        return logits


def write(file: Path, network: Network, example: Encoded, opset: int) -> None:
    """Leaves an ONNX model with the axes `batch` and `tokens`; weights of more than 2 GB lie beside it.

    Args:
        file: to be written.
        network: with merged adapters, in evaluation mode.
        example: two texts or more of different lengths.
        opset: the version of ONNX's operators.
    """
    axes = {0: "batch", 1: "tokens"}
    size = sum(p.numel() * p.element_size() for p in network.parameters())
    with warnings.catch_warnings(), torch.no_grad():
        # Of the two ways that PyTorch has, the older one records a run: seconds instead of a minute. What it warns of,
        # lengths that have become constants, is found by running the model on texts of other lengths.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Classifier(network).eval(),
            tuple(example[name] for name in INPUTS),
            str(file),
            input_names=list(INPUTS),
            output_names=["logits"],
            dynamic_axes={**dict.fromkeys(INPUTS, axes), "logits": {0: "batch"}},
            opset_version=opset,
            dynamo=False,
            external_data=size > LARGEST,
        )


def quantise(file: Path, to: Path) -> None:
    """Leaves the same model with matrices of 8-bit integers. What they are multiplied with is rounded too, batch by
    batch, so that a logit depends a little on the texts beside it."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    root = logging.getLogger()
    level, root.level = root.level, logging.ERROR  # it advises a preparation that changes nothing for encoders
    try:
        # One scale for each column loses little. With 7 bits nothing overflows on processors without instructions for
        # products of 8 bits, so that what is measured here holds there as well.
        quantize_dynamic(file, to, per_channel=True, reduce_range=True, weight_type=QuantType.QInt8)
    finally:
        root.level = level


def open_session(file: Path) -> InferenceSession:
    from onnxruntime import InferenceSession

    return InferenceSession(str(file), providers=["CPUExecutionProvider"])


def logits(session: InferenceSession, encoded: Encoded) -> Float[Tensor, "texts outputs"]:
    """What an ONNX model says of a batch."""
    (found,) = session.run(["logits"], {name: encoded[name].numpy() for name in INPUTS})
    return torch.as_tensor(found)

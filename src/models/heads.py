"""Heads: modules that turn the backbone's output into logits. A head declares what it reads, `pooled` or `tokens`."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from src.config.model import Pooling, StatePooling
from src.config.schema import Objective

Reads = Literal["pooled", "tokens"]


class LinearHead(nn.Module):
    """Dropout and a linear layer on one vector per text.

    Args:
        width: of the backbone's vectors.
        outputs: logits per text.
        pooling: how the states of a text's tokens become one vector.
        dropout: dropout rate of the vector.
    """

    reads: ClassVar[Reads] = "pooled"

    def __init__(self, width: int, outputs: int, pooling: Pooling, dropout: float) -> None:
        super().__init__()
        self.pooling = pooling
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, outputs)

    def forward(self, pooled: Float[Tensor, "texts width"]) -> Float[Tensor, "texts outputs"]:
        logits: Tensor = self.linear(self.dropout(pooled))
        return logits


class BiLSTMHead(nn.Module):
    """A bidirectional LSTM over the token states, pooling over the tokens, dropout, a linear layer.

    Padding never changes a logit: the backward direction reads each text from its own last token, and the pooling
    skips padded positions. Two plain LSTMs on padded input take half the time of packed sequences.

    Args:
        width: of the backbone's token states.
        outputs: logits per text.
        hidden_size: of the LSTM's state, per direction.
        layers: of the LSTM.
        pooling: over the tokens; `last` takes the last state of each direction.
        dropout: dropout rate between LSTM layers and before the linear layer.
    """

    reads: ClassVar[Reads] = "tokens"

    def __init__(
        self, width: int, outputs: int, hidden_size: int, layers: int, pooling: StatePooling, dropout: float
    ) -> None:
        super().__init__()
        self.pooling = pooling
        widths = [width] + [2 * hidden_size] * (layers - 1)
        self.rightward = nn.ModuleList(nn.LSTM(w, hidden_size, batch_first=True) for w in widths)
        self.leftward = nn.ModuleList(nn.LSTM(w, hidden_size, batch_first=True) for w in widths)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(2 * hidden_size, outputs)

    def forward(
        self, states: Float[Tensor, "texts tokens width"], mask: Bool[Tensor, "texts tokens"]
    ) -> Float[Tensor, "texts outputs"]:
        lengths = mask.sum(1, keepdim=True)
        positions = torch.arange(mask.shape[1], device=mask.device)
        mirrored = torch.where(positions < lengths, lengths - 1 - positions, positions)
        for layer, (rightward, leftward) in enumerate(zip(self.rightward, self.leftward, strict=True)):
            states = self.dropout(states) if layer else states
            right, _ = rightward(states)
            left, _ = leftward(_reorder(states, mirrored))
            states = torch.cat([right, _reorder(left, mirrored)], dim=2)
        if self.pooling == "last":
            right, left = states.chunk(2, dim=2)
            pooled = torch.cat([_reorder(right, lengths - 1)[:, 0], left[:, 0]], dim=1)
        else:
            pooled = pool_states(states, mask, self.pooling)
        logits: Tensor = self.linear(self.dropout(pooled))
        return logits


class MaskedLanguageHead(nn.Module):
    """BERT's head that predicts masked tokens (Devlin et al. 2019): a dense layer, GELU, a layer norm, and the input
    embeddings as the output matrix. The embeddings are an argument of `forward`, so that they are registered only once.

    Args:
        width: of the backbone's token states.
        embedding_width: of the backbone's input embeddings.
        vocabulary: the number of tokens.
    """

    reads: ClassVar[Reads] = "tokens"

    def __init__(self, width: int, embedding_width: int, vocabulary: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, embedding_width)
        self.norm = nn.LayerNorm(embedding_width, eps=1e-12)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(
        self,
        states: Float[Tensor, "masked width"],
        embeddings: Float[Tensor, "vocabulary embedding_width"],
    ) -> Float[Tensor, "masked vocabulary"]:
        return nn.functional.linear(self.norm(nn.functional.gelu(self.dense(states))), embeddings, self.bias)


class MixedHead(nn.Module):
    """A head that reads a learned mix of all layers' outputs: a weighted mean, scaled (Peters et al. 2018, eq. 1).

    Args:
        inner: the head that reads the mix.
        layers: how many outputs are mixed: the embeddings' and each layer's.
    """

    all_layers: ClassVar[bool] = True  # it reads the concatenated outputs of all layers

    def __init__(self, inner: nn.Module, layers: int) -> None:
        super().__init__()
        # A head of one's own that reads tokens need not have a pooling.
        self.reads, self.pooling = inner.reads, getattr(inner, "pooling", None)
        self.layers = layers
        self.weights, self.scale = nn.Parameter(torch.zeros(layers)), nn.Parameter(torch.ones(()))
        self.inner = inner

    def forward(
        self, states: Float[Tensor, "texts *tokens all_layers_width"], *mask: Bool[Tensor, "texts tokens"]
    ) -> Float[Tensor, "texts outputs"]:
        parts = states.view(*states.shape[:-1], self.layers, -1)
        mixed = self.scale * torch.einsum("...lw,l->...w", parts, self.weights.softmax(0).to(parts.dtype))
        logits: Tensor = self.inner(mixed, *mask)
        return logits


def _reorder(
    states: Float[Tensor, "texts tokens width"], order: Int[Tensor, "texts positions"]
) -> Float[Tensor, "texts positions width"]:
    return states.gather(1, order.unsqueeze(-1).expand(-1, -1, states.shape[2]))


def logits_of(
    head: nn.Module, output: Any, mask: Bool[Tensor, "texts tokens"], all_layers: bool
) -> Float[Tensor, "texts outputs"]:
    """Returns the logits of a head from the output of an encoder.

    Args:
        head: reads pooled vectors or token states.
        output: of the encoder.
        mask: true for tokens, false for padding.
        all_layers: whether the head reads the outputs of all layers, from `output.hidden_states`.
    """
    if head.reads == "pooled" and head.pooling == "pooler":
        return torch.as_tensor(head(output.pooler_output))
    states = read_states(output, all_layers)
    return torch.as_tensor(
        head(states, mask) if head.reads == "tokens" else head(pool_states(states, mask, str(head.pooling)))
    )


def read_states(output: Any, all_layers: bool) -> Float[Tensor, "texts tokens width"]:
    """Returns the hidden states that a head reads: those of the last layer, or those of all layers concatenated."""
    return torch.cat(output.hidden_states, dim=-1) if all_layers else torch.as_tensor(output.last_hidden_state)


def pool_states(
    states: Float[Tensor, "texts tokens width"], mask: Bool[Tensor, "texts tokens"], pooling: str
) -> Float[Tensor, "texts width"]:
    """Returns one vector per text: the first token's state (`cls`), or the mean or maximum over all but padding."""
    if pooling == "cls":
        return states[:, 0]
    real = mask.unsqueeze(-1)
    if pooling == "max":
        return states.masked_fill(~real, -torch.inf).amax(1)
    return (states * real).sum(1) / real.sum(1)


def probabilities(logits: Float[Tensor, "rows outputs"], objective: Objective) -> Float[Tensor, "rows labels"]:
    """Returns probabilities per label: for binary two columns that sum to 1, for multi-label independent ones; in
    regression the predicted numbers, which the network's outputs are already."""
    if objective == "regression":
        return logits
    if objective == "multiclass":
        return logits.softmax(1)
    positive = logits.sigmoid()
    return torch.cat([1 - positive, positive], dim=1) if objective == "binary" else positive


def decide(
    probs: Float[Tensor, "rows labels"], objective: Objective, thresholds: Float[Tensor, " decided"] | None = None
) -> Int[Tensor, "rows ..."]:
    """Returns the predicted label indices, or for multi-label data 0 and 1 per label.

    Args:
        probs: from `probabilities`, not of a regression.
        objective: the run's.
        thresholds: from which probability on labels are predicted: each of a multi-label task, or the positive one of a
            binary task; None: 0.5, or the most probable label.
    """
    if objective == "multilabel":
        return (probs >= (0.5 if thresholds is None else thresholds)).long()
    return probs.argmax(1) if thresholds is None else (probs[:, 1] >= thresholds[0]).long()

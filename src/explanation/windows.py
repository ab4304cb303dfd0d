"""Which window of a document decides, for its explanation."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from src.explanation.tokens import Tokens, Window
from src.models.heads import probabilities
from src.models.networks import Network
from src.models.windows import combine_windows


def decisive(network: Network, windows: Sequence[Tokens]) -> Tokens:
    """Returns the window without which the probability of the document's most probable label would fall most; in
    regression, the number of the first target would change most.

    Args:
        network: in evaluation mode.
        windows: of a document, in order; a text that is read as one is returned as it is.
    """
    if len(windows) == 1:
        return windows[0]
    with torch.no_grad():
        parts = [{"input_ids": tokens.ids[None], "mask": tokens.mask[None]} for tokens in windows]
        logits = torch.cat([network(part) for part in parts])
        whole = _probabilities(network, logits[None])[0]
        without = torch.stack([logits[torch.arange(len(windows)) != index] for index in range(len(windows))])
        regression = network.space.is_regression
        label = 0 if regression else int(whole.argmax())
        change = whole[label] - _probabilities(network, without)[:, label]
        index = int((change.abs() if regression else change).argmax())
    read = max(end for _, end in windows[-1].spans.values())
    return dataclasses.replace(windows[index], window=Window(index, logits, network.space.names[label], read))


def _probabilities(
    network: Network, logits: Float[Tensor, "documents windows columns"]
) -> Float[Tensor, "documents labels"]:
    counts = torch.full((len(logits),), logits.shape[1])
    return probabilities(combine_windows(logits.flatten(0, 1), counts, network.windows), network.space.objective)

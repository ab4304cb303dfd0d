"""The network of a finished run: encoder and head, and the logits of a batch. Free of imports that only training needs,
since they take longer than labelling a text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from src.config.reading import WindowPooling
from src.data.labels import LabelSpace
from src.datamodules.ragged import Batch
from src.datamodules.windows import WINDOWS
from src.freezing.strategy import HEAD, Phase, Stage, trained_in
from src.models.heads import BiLSTMHead, LinearHead, MixedHead, logits_of
from src.models.windows import combine_windows, in_turns

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Network(nn.Module):
    """The encoder and the head of a finished run.

    Args:
        encoder: the backbone.
        head: reads the encoder's pooled vectors or token states.
        stages: the backbone's and the head's, from the input to the output.
        phases: of the freezing strategy.
        space: the labels and the objective.
        windows: how the logits of a document's windows become one.
        temperature: that the logits of labels are divided by.
    """

    def __init__(
        self,
        encoder: PreTrainedModel,
        head: nn.Module,
        stages: Sequence[Stage],
        phases: Sequence[Phase],
        space: LabelSpace,
        windows: WindowPooling = "mean",
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        self.encoder, self.head, self.windows, self.temperature = encoder, head, windows, temperature
        self.stages, self.phases, self.space = list(stages), list(phases), space
        self.trained = trained_in(phases)  # if the training reaches all phases

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def forward(self, batch: Batch) -> Float[Tensor, "rows outputs"]:
        """Returns the logits of each text of a batch or, for masked language modelling, of each masked token; in
        regression the predicted numbers. A batch that does not say which windows are of a document has the logits of
        each window."""
        if self.space.objective == "mlm":
            return token_logits(self.encoder, self.head, batch)
        logits = label_logits(self.encoder, self.head, batch, windows=self.windows)
        return in_units(tempered(logits, self.space.outputs, self.temperature), self.space)


def tempered(logits: Float[Tensor, "rows columns"], outputs: int, temperature: float) -> Float[Tensor, "rows columns"]:
    """Returns logits divided by a temperature, apart from the score that a window may have behind them."""
    if temperature == 1:
        return logits
    return torch.cat([logits[:, :outputs] / temperature, logits[:, outputs:]], dim=1)


def fold_temperature(network: Network) -> None:
    """Divides the last layer of the head instead of the logits, where that layer is known, so that the weights alone
    have the temperature."""
    head: Any = network.head.inner if isinstance(network.head, MixedHead) else network.head
    if isinstance(head, LinearHead | BiLSTMHead):
        with torch.no_grad():
            for parameter in head.linear.parameters():
                parameter[: network.space.outputs] /= network.temperature
        network.temperature = 1.0


def in_units(outputs: Float[Tensor, "rows columns"], space: LabelSpace) -> Float[Tensor, "rows columns"]:
    """Returns a head's outputs; in regression, where it predicts standardised targets, in the units of the targets."""
    if not space.is_regression:
        return outputs
    targets = len(space.std)
    numbers = outputs[:, :targets] * constants(space.std, outputs) + constants(space.mean, outputs)
    return torch.cat([numbers, outputs[:, targets:]], dim=1)  # a window may have a score besides


def constants(values: Sequence[float], like: Tensor) -> Float[Tensor, " values"]:
    """Returns numbers in the dtype and on the device of a tensor, without waiting for that device."""
    return torch.tensor(values, dtype=like.dtype).to(like.device, non_blocking=True)


def label_logits(
    encoder: PreTrainedModel,
    head: nn.Module,
    batch: Batch,
    suffix: nn.Module | None = None,
    windows: WindowPooling = "mean",
) -> Float[Tensor, "texts outputs"]:
    """Returns the logits of texts.

    Args:
        encoder: the backbone.
        head: reads pooled vectors or token states.
        batch: token ids, or states from the activation store; of texts in windows with the number of each one's.
        suffix: the part of the encoder that stored states pass through; None: the head reads them directly.
        windows: how the logits of a text's windows become one.
    """
    if WINDOWS not in batch:
        return _sequence_logits(encoder, head, batch, suffix)
    found = in_turns(lambda part: _sequence_logits(encoder, head, part, suffix), batch)
    return combine_windows(found, batch[WINDOWS], windows)


def _sequence_logits(
    encoder: PreTrainedModel, head: nn.Module, batch: Batch, suffix: nn.Module | None
) -> Float[Tensor, "texts outputs"]:
    """As `label_logits`, of texts that are one sequence each."""
    if "pooled" in batch:
        logits: Tensor = head(batch["pooled"].float())
        return logits.float()
    mask = batch["mask"]
    if "states" not in batch:
        output = encoder(**encoder_inputs(encoder, batch))
    elif suffix:
        output = suffix(inputs_embeds=batch["states"].float(), attention_mask=mask.long())
    else:
        output = BaseModelOutput(last_hidden_state=batch["states"].float())
    # For a head that reads all layers, the states in a store are concatenated already.
    return logits_of(head, output, mask, reads_all_layers(head) and "states" not in batch).float()


def encoder_inputs(encoder: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Returns what an encoder reads of a batch: token ids, their mask, and of pairs the types of their tokens, where it
    has embeddings for these."""
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["mask"].long()}
    if "token_type_ids" in batch and reads_types(encoder):
        inputs["token_type_ids"] = batch["token_type_ids"]
    return inputs


def reads_types(encoder: nn.Module) -> bool:
    """Whether an encoder has embeddings for several types of tokens."""
    return getattr(encoder.config, "type_vocab_size", 0) > 1


def token_logits(encoder: PreTrainedModel, head: nn.Module, batch: Batch) -> Float[Tensor, "masked vocabulary"]:
    """Returns the logits at `masked_positions`, which are indices into the flattened padded batch."""
    inputs = encoder_inputs(encoder, batch)
    if "segments" in batch:
        # Packed texts do not attend to each other, and the positions of each start at 0.
        segments = batch["segments"]
        mask = segments[:, None, :, None] == segments[:, None, None, :]
        inputs |= {"attention_mask": mask, "position_ids": batch["positions"]}
    states = encoder(**inputs).last_hidden_state
    logits: Tensor = head(states.flatten(0, 1)[batch["masked_positions"]], encoder.get_input_embeddings().weight)
    return logits.float()


def reads_all_layers(head: nn.Module) -> bool:
    """Whether a head reads the outputs of all layers instead of the last one's."""
    return bool(getattr(head, "all_layers", False))


def checkpoint_names(trained: Iterable[str]) -> set[str]:
    """Returns the names of trained parameters in checkpoints; frozen weights are loaded from the backbone."""
    return {name if name.startswith(f"{HEAD}.") else f"encoder.{name}" for name in trained}


def check_state(state: dict[str, Any], trained: Iterable[str]) -> None:
    """Checks that a checkpoint has exactly the trained parameters.

    Raises:
        ValueError: a trained tensor is missing, or there are others.
    """
    if differing := sorted(state.keys() ^ checkpoint_names(trained)):
        raise ValueError(f"the checkpoint is of another model or strategy: {', '.join(differing[:5])}")

"""How a strategy changes a network before training: dropped or re-initialised layers, adapters, a mix of layers."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from src.errors import UserError, reason
from src.freezing.parameter_efficient import Adapters, Lora, Mix, Peft, peft_method
from src.freezing.strategy import Stage, Strategy
from src.freezing.whole_stages import Cut
from src.models.frozen_prefix import CutError, truncate
from src.models.heads import MaskedLanguageHead, MixedHead

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)


def adapt(
    encoder: PreTrainedModel, head: nn.Module, strategy: Strategy, stages: Sequence[Stage]
) -> tuple[PreTrainedModel, nn.Module]:
    """Returns the encoder, changed in place, and the head that the strategy trains.

    Args:
        encoder: the pretrained backbone.
        head: reads its output.
        strategy: decides what is changed.
        stages: of the backbone as it was loaded.

    Raises:
        UserError: the strategy does not fit this backbone.
    """
    if isinstance(strategy, Cut):
        drop_layers(encoder, strategy.layers)
        stages = strategy.kept(stages)
    if strategy.reinit_top:
        reinitialise(encoder, [stage for stage in stages if stage.is_layer][-strategy.reinit_top :])
    if isinstance(strategy, Adapters):
        add_adapters(encoder, strategy, strategy.find(stages))
    if isinstance(strategy, Mix):
        if isinstance(head, MaskedLanguageHead):
            raise UserError(
                "freeze=mix needs a head for labels; masked tokens are predicted from one layer.\nChoose freeze=all."
            )
        if getattr(head, "pooling", None) == "pooler":
            raise UserError(
                "freeze=mix reads all layers, but the pooler only the last.\nChoose model.pooling=mean or cls."
            )
        encoder.config.output_hidden_states = True
        head = MixedHead(head, 1 + int(encoder.config.num_hidden_layers))
    return encoder, head


def drop_layers(encoder: PreTrainedModel, layers: int) -> None:
    """Drops all but the first `layers` layers, in place.

    Raises:
        UserError: the layers of this architecture cannot be told apart.
    """
    before = int(encoder.config.num_hidden_layers)
    try:
        truncate(encoder, layers)
    except CutError as error:
        raise UserError(f"freeze=cut needs a backbone that can be cut: {error}.\nChoose freeze=all.") from None
    log.info("The encoder ends after the first %d of its %d layers; the others are dropped", layers, before)


def reinitialise(encoder: PreTrainedModel, layers: Iterable[Stage]) -> None:
    """Re-initialises these layers as the architecture does before pretraining (Zhang et al. 2021)."""
    model: Any = encoder
    for stage in layers:
        owners = {name.rpartition(".")[0] for name in stage.parameters}
        for owner in sorted(owners):
            module = encoder.get_submodule(owner)
            for parameter in module.parameters(recurse=False):
                # from_pretrained marks loaded parameters, and _init_weights skips marked ones.
                parameter.__dict__.pop("_is_hf_initialized", None)
            model._init_weights(module)


def add_adapters(encoder: PreTrainedModel, strategy: Adapters, targets: Sequence[str] | None) -> None:
    """Adds an adapter to each of these layers, in place.

    Raises:
        UserError: one of them cannot have an adapter, or the method does not fit the backbone.
    """
    # Imported here because only these strategies need it, and it takes a second.
    from peft import get_peft_model_state_dict, inject_adapter_in_model

    try:
        inject_adapter_in_model(_config(encoder, strategy, targets), encoder)
    except (ValueError, TypeError) as error:
        key = "freeze.options" if isinstance(error, TypeError) else "freeze.targets"
        raise UserError(
            f"{key} must fit {strategy.kind} and this backbone: {reason(error)}.\n"
            "freeze.targets are regular expressions for names of linear layers, freeze.options arguments of PEFT."
        ) from None
    state = get_peft_model_state_dict(encoder, save_embedding_layers=False)
    if len(state) != sum(f".{strategy.prefix}" in name for name, _ in encoder.named_parameters()):
        raise UserError(
            f"freeze={strategy.kind} must keep all it adds in parameters; it has buffers, which checkpoints lack.\n"
            "Choose another method: dora, ia3, loha, lokr, oft, boft or hra."
        )


def _config(encoder: PreTrainedModel, strategy: Adapters, targets: Sequence[str] | None) -> Any:
    from peft import LoraConfig

    layers = list(targets) if targets else None
    shared: dict[str, Any] = {"target_modules": layers, "base_model_name_or_path": encoder.name_or_path}
    if isinstance(strategy, Lora):
        return LoraConfig(r=strategy.rank, lora_alpha=strategy.alpha, lora_dropout=strategy.dropout, **shared)
    assert isinstance(strategy, Peft)
    more = {"use_dora": True} if strategy.method == "dora" else {}
    return peft_method(strategy.method)[0](**{**shared, **more, **strategy.options})


def save_adapters(encoder: PreTrainedModel, folder: Path) -> None:
    """Writes only the adapters, in PEFT's format: `PeftModel.from_pretrained(encoder, folder)`."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    # By default PEFT asks the hub for the original size of the vocabulary, which no adapter changes.
    state = get_peft_model_state_dict(encoder, save_embedding_layers=False)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"base_model.model.{name}": tensor.cpu().contiguous() for name, tensor in state.items()}
    save_file(tensors, folder / "adapter_model.safetensors")
    next(iter(encoder.peft_config.values())).save_pretrained(folder)


def merge_adapters(encoder: nn.Module) -> None:
    """Merges each adapter into the weights of its layer, in place; the output of the network stays the same."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(encoder.named_modules()):
        if isinstance(module, BaseTunerLayer):
            merged: Any = module
            merged.merge()
            parent, _, last = name.rpartition(".")
            setattr(encoder.get_submodule(parent), last, merged.get_base_layer())

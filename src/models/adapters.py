"""What a strategy changes in a network before it trains: layers that start anew, adapters, a mix of layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from src.errors import UserError
from src.freezing.parameter_efficient import Lora, Mix
from src.freezing.strategy import Stage, Strategy
from src.models.heads import MaskedLanguageHead, MixedHead

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def adapt(
    encoder: PreTrainedModel, head: nn.Module, strategy: Strategy, stages: Sequence[Stage]
) -> tuple[PreTrainedModel, nn.Module]:
    """The encoder, changed in place, and the head that the strategy trains.

    Args:
        encoder: the pretrained backbone.
        head: reads its output.
        strategy: says what to change.
        stages: of the backbone as it was loaded.

    Raises:
        UserError: the strategy does not fit this backbone.
    """
    if strategy.reinit_top:
        reinitialise(encoder, [stage for stage in stages if stage.is_layer][-strategy.reinit_top :])
    if isinstance(strategy, Lora):
        add_adapters(encoder, strategy, strategy.find(stages))
    if isinstance(strategy, Mix):
        if isinstance(head, MaskedLanguageHead):
            raise UserError("freeze=mix is for labels; masked words are read from the last layer.\nChoose freeze=all.")
        if getattr(head, "pooling", None) == "pooler":
            raise UserError(
                "freeze=mix reads all layers, and the pooler only the last.\nChoose model.pooling=mean or cls."
            )
        encoder.config.output_hidden_states = True
        head = MixedHead(head, 1 + int(encoder.config.num_hidden_layers))
    return encoder, head


def reinitialise(encoder: PreTrainedModel, layers: Iterable[Stage]) -> None:
    """Gives these layers the random weights that the architecture starts its pretraining from (Zhang et al. 2021)."""
    model: Any = encoder
    for stage in layers:
        owners = {name.rpartition(".")[0] for name in stage.parameters}
        for owner in sorted(owners):
            module = encoder.get_submodule(owner)
            for parameter in module.parameters(recurse=False):
                # Loading marks what came from the checkpoint, and initialising passes over what is marked.
                parameter.__dict__.pop("_is_hf_initialized", None)
            model._init_weights(module)


def add_adapters(encoder: PreTrainedModel, strategy: Lora, targets: Sequence[str]) -> None:
    """Puts a low-rank adapter beside each of these layers, in place.

    Raises:
        UserError: one of them cannot have an adapter.
    """
    # Imported here because only this strategy needs it, and it takes a second.
    from peft import LoraConfig, inject_adapter_in_model

    cfg = LoraConfig(
        r=strategy.rank,
        lora_alpha=strategy.alpha,
        lora_dropout=strategy.dropout,
        target_modules=list(targets),
        base_model_name_or_path=encoder.name_or_path,
    )
    try:
        inject_adapter_in_model(cfg, encoder)
    except ValueError as error:
        raise UserError(
            f"freeze.targets must match linear layers: {str(error).splitlines()[0]}\nMake the expressions narrower."
        ) from None


def save_adapters(encoder: PreTrainedModel, folder: Path) -> None:
    """Writes the adapters alone, in the form that PEFT loads: `PeftModel.from_pretrained(encoder, folder)`."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    # Left to itself, PEFT looks on the hub for how large the vocabulary was; no adapter changes it.
    state = get_peft_model_state_dict(encoder, save_embedding_layers=False)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"base_model.model.{name}": tensor.cpu().contiguous() for name, tensor in state.items()}
    save_file(tensors, folder / "adapter_model.safetensors")
    next(iter(encoder.peft_config.values())).save_pretrained(folder)


def merge_adapters(encoder: nn.Module) -> None:
    """Adds each adapter to the matrix beside it and takes it away, in place: the network computes the same."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(encoder.named_modules()):
        if isinstance(module, LoraLayer):
            merged: Any = module
            merged.merge()
            parent, _, last = name.rpartition(".")
            setattr(encoder.get_submodule(parent), last, merged.get_base_layer())

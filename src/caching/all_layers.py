"""Reads one layer's outputs from a store of all layers' outputs, which `freeze=mix` and `python -m src.advise` make."""

from __future__ import annotations

import json
from typing import Any

from src.caching.encoding import OF_ALL_LAYERS
from src.store.store import DAMAGED, Shape, Store

# What differs between a backbone whose outputs of all layers are read, and the same one that may end earlier.
DIFFERING = ("num_hidden_layers", "layer_types", "output_hidden_states")


def store_of_all_layers(wanted: Store) -> Store | None:
    """Returns a store of all layers' outputs, with the columns that a store of one layer's output would have.

    Args:
        wanted: the store of the output of a prefix.

    Returns:
        None if there is no such store that is intact and can be read.
    """
    for manifest in sorted(wanted.folder.parent.glob("*/manifest.json")):
        try:
            content = json.loads(manifest.read_text(encoding="utf-8"))
            key, shape = content["key"], Shape(**content["shape"])
            if not _covers(key, wanted.key):
                continue
            found = Store(manifest.parents[2], key, shape, _columns(wanted))
            if found.is_intact():
                return found
        except (OSError, *DAMAGED):
            continue
    return None


def _columns(wanted: Store) -> slice:
    layer, width = len(wanted.key["prefix"]) - 1, wanted.shape.width  # the embeddings' output is the first
    return slice(layer * width, (layer + 1) * width)


def _covers(key: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether a store with this key holds what is wanted: the same texts, and a backbone that begins with the same
    stages."""
    stages = len(wanted["prefix"])
    same = {*wanted} - {"what", "prefix", "depth", "architecture"}
    return (
        key["what"] == wanted["what"] + OF_ALL_LAYERS
        and key["prefix"][:stages] == wanted["prefix"]
        and _comparable(key["architecture"]) == _comparable(wanted["architecture"])
        and all(key[name] == wanted[name] for name in same)
    )


def _comparable(architecture: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in architecture.items() if name not in DIFFERING}

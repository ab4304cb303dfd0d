"""Exports a run's classifier as a self-contained folder: weights, config.json, tokenizer, and a loader that does not
depend on this project."""

from __future__ import annotations

import inspect
import json
import re
import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import save_file
from torch import Tensor

from src.config.model import head_arguments
from src.data.texts import Text
from src.datamodules import pieces
from src.errors import UserError
from src.exports import loader
from src.models import heads, windows
from src.models.heads import MixedHead
from src.models.networks import Network

# What the loader imports from this project is inlined in its copy.
PARTS = (
    *(pieces.kept_slices, pieces.piece_slices, pieces.joined),
    *(heads.LinearHead, heads.BiLSTMHead, heads.MixedHead),
    *(heads._reorder, heads.logits_of, heads.read_states, heads.pool_states, heads.probabilities, heads.decide),
    windows.combine_windows,
)


def write_weights(folder: Path, network: Network, model: DictConfig, about: dict[str, Any]) -> None:
    """Writes model.safetensors, with `encoder.…` and `head.…`, and config.json.

    Args:
        folder: an existing folder.
        network: with merged adapters.
        model: the head's section of the run's config.
        about: what config.json contains about the run.

    Raises:
        UserError: the loader does not support the head.
    """
    state = {name: t for name, t in network.state_dict().items() if name.startswith(("encoder.", "head."))}
    save_file({name: tensor.contiguous().clone() for name, tensor in state.items()}, folder / "model.safetensors")
    head: Any = network.head.inner if isinstance(network.head, MixedHead) else network.head
    options: Any = OmegaConf.to_container(head_arguments(model), resolve=True)
    name = options.pop("_target_").rpartition(".")[2]
    if name not in loader.HEADS:
        raise UserError(
            f"The head must be one of {', '.join(loader.HEADS)} to be loaded without this project; got {name}.\n"
            "Choose format=onnx."
        )
    sizes = {"width": network.encoder.config.hidden_size, "outputs": head.linear.out_features}
    content = {
        **about,
        "head": {"name": name, **sizes, **options},
        "mixed_layers": network.head.layers if isinstance(network.head, MixedHead) else None,
        "encoder": plain_settings(network.encoder),
    }
    (folder / "config.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def plain_settings(encoder: Any) -> dict[str, Any]:
    """Returns an encoder's config without its path, custom code and task."""
    settings: dict[str, Any] = json.loads(encoder.config.to_json_string(use_diff=False))
    dropped = ("architectures", "auto_map", "id2label", "label2id", "problem_type")
    return {key: value for key, value in settings.items() if key not in dropped and not key.startswith("_")}


def write_loader(folder: Path) -> None:
    """Writes load.py: the loader with inlined sources instead of imports from this project."""
    source = inspect.getsource(loader)
    plain = re.sub(r"\n+from src\..*$", "", source, flags=re.MULTILINE).replace("  # noqa: F401", "")
    before, mark, after = plain.partition("HEADS: dict")
    parts = "\n\n".join(inspect.getsource(part) for part in PARTS)
    (folder / "load.py").write_text(f"{before}\n{parts}\n\n{mark}{after}", encoding="utf-8")


def read_back(folder: Path, texts: Sequence[Text]) -> Float[Tensor, "texts labels"]:
    """Returns the probabilities of the written model, from the folder's own loader if it has one."""
    own = folder / "load.py"
    load = runpy.run_path(str(own))["load"] if own.exists() else loader.load
    return torch.as_tensor(load(folder).probabilities(texts))

"""Cuts an encoder at a depth: a prefix that computes hidden states and a suffix that continues from them, or an encoder
that ends there.

Prefix and suffix share the encoder's own modules, so training the suffix trains the encoder, and both run the
architecture's own forward code, with its masks and position biases.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LAYER_LISTS = ("encoder.layer", "transformer.layer", "layers")


# Modules that run once, after the last layer: the prefix must skip them.
AFTER_LAST = ("final_norm", "norm", "pooler")


class CutError(Exception):
    """This architecture cannot be cut here; the message gives the reason."""


class PassThrough(nn.Module):
    """Replaces the embeddings: returns the hidden states that the suffix receives as `inputs_embeds`."""

    def forward(self, *args: Any, inputs_embeds: Tensor | None = None, **kwargs: Any) -> Tensor:
        return inputs_embeds if inputs_embeds is not None else next(a for a in args if a is not None and a.ndim == 3)


class NoLayers(nn.Module):
    """Replaces an empty stack of layers, since not every architecture's own code can run without layers."""

    def forward(self, *args: Any, **kwargs: Any) -> BaseModelOutputWithPastAndCrossAttentions:
        states = args[0] if args else kwargs["hidden_states"]
        return BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=states, hidden_states=(states,))


def cut(encoder: nn.Module, layers: int) -> tuple[nn.Module, nn.Module]:
    """Cuts an encoder after the first `layers` layers.

    Args:
        encoder: a transformers encoder.
        layers: how many layers the prefix has, from 0 to all.

    Returns:
        The prefix, called like the encoder, whose `last_hidden_state` are the states at the cut; and the suffix, called
        with `inputs_embeds` (these states) and `attention_mask`, whose output is the encoder's.

    Raises:
        CutError: the layers are shared or not in a list.
    """
    path = _path_of_layers(encoder, layers)
    whole = _get(encoder, path)
    prefix, suffix = _view(encoder, path), _view(encoder, path)
    for view, kept in ((prefix, whole[:layers]), (suffix, whole[layers:])):
        stack = path.rpartition(".")[0]
        if stack and not len(kept):
            _set(view, stack, NoLayers())
        else:
            _set(view, path, nn.ModuleList(kept))
    for name in AFTER_LAST:
        if getattr(prefix, name, None) is not None:
            setattr(prefix, name, None if name == "pooler" else nn.Identity())
    suffix.embeddings = PassThrough()
    if hasattr(suffix, "embeddings_project"):
        # ELECTRA widens its embeddings before the first layer, which the prefix has done.
        suffix._modules.pop("embeddings_project")
    if layers and isinstance(_get(suffix, "encoder.conv"), nn.Module):
        # DeBERTa's convolution follows the first layer, whichever that is.
        _set(suffix, "encoder.conv", None)
    return prefix, suffix


def truncate(encoder: PreTrainedModel, layers: int) -> None:
    """Drops all but the first `layers` layers of an encoder, in place and in its config.

    What runs after the last layer, a final norm or a pooler, then runs after the last one left: the encoder equals one
    that transformers loads with `num_hidden_layers=layers`.

    Args:
        encoder: a transformers encoder.
        layers: how many layers are left, from 1 to all.

    Raises:
        CutError: the layers are shared or not in a list.
    """
    path = _path_of_layers(encoder, layers)
    _set(encoder, path, _get(encoder, path)[:layers])
    settings: Any = encoder.config
    settings.num_hidden_layers = layers
    if getattr(settings, "layer_types", None):  # what kind of attention each layer has, as in ModernBERT
        settings.layer_types = settings.layer_types[:layers]


def _path_of_layers(encoder: nn.Module, layers: int) -> str:
    """Returns the path of an encoder's list of layers.

    Raises:
        CutError: it has no such list, or fewer than `layers` layers.
    """
    path = next((p for p in LAYER_LISTS if isinstance(_get(encoder, p), nn.ModuleList)), None)
    if path is None:
        raise CutError(f"{type(encoder).__name__} has no list of layers of its own to cut")
    if layers > (count := len(_get(encoder, path))):
        raise CutError(f"{type(encoder).__name__} has {count} layers, fewer than {layers}")
    return path


def _view(module: nn.Module, path: str) -> nn.Module:
    """Copies the modules along a path; everything else is shared with the original."""
    view = copy.copy(module)
    view._modules = dict(module._modules)
    name, _, rest = path.partition(".")
    if rest:
        view._modules[name] = _view(module.get_submodule(name), rest)
    return view


def _get(module: nn.Module, path: str) -> Any:
    """Returns the attribute at a dotted path below a module; None if there is none."""
    found: Any = module
    for name in filter(None, path.split(".")):
        found = getattr(found, name, None)
    return found


def _set(module: nn.Module, path: str, value: nn.Module | None) -> None:
    parent, _, name = path.rpartition(".")
    setattr(_get(module, parent), name, value)

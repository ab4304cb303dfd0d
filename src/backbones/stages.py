"""The stages of an encoder, from the names of its parameters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from src.errors import UserError, reason
from src.freezing.strategy import EMBEDDINGS, POOLER, Stage

if TYPE_CHECKING:
    from src.backbones.source import Source

# The ordered layers of an encoder: encoder.layer.3.…, transformer.layer.3.…, layers.3.…; ALBERT shares one group.
LAYER = re.compile(r"^(?:encoder\.|transformer\.)?(?:layers?|albert_layer_groups)\.(\d+)\.")


# Modules that run once after the last layer belong to it; DeBERTa's convolution runs after the first layer.
AFTER_LAST = re.compile(r"^(?:final_norm|norm|ln_f|encoder\.(?:final_)?norm)\.")


AFTER_FIRST = re.compile(r"^encoder\.conv\.")


# In a checkpoint with a task head, encoder parameters have the model's name as prefix, as in bert.encoder.layer.0.….
PREFIXED_LAYER = re.compile(rf"^(\w+\.){LAYER.pattern.removeprefix('^')}")


# What the first checkpoints, such as bert-base-uncased, call the parameters of layer norms.
OLD_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}


def stages_of(names: Iterable[str]) -> list[Stage]:
    """Groups the parameter names of an encoder into its stages, from the input to the output.

    A parameter that several layers share, such as a relative-position table, belongs to the embeddings: it can only be
    frozen together with everything before the first layer.

    Raises:
        UserError: the names show no ordered list of layers.
    """
    names = list(names)
    found = [int(m.group(1)) for n in names if (m := LAYER.match(n))]
    if not found:
        raise UserError(
            "The backbone must have an ordered list of layers (encoder.layer.0.…); its parameters are named "
            f"{', '.join(names[:3])}, ….\nChoose an encoder of the BERT family."
        )
    last = max(found)
    order = [EMBEDDINGS, *(f"layer.{i}" for i in range(last + 1)), POOLER]
    members: dict[str, list[str]] = {stage: [] for stage in order}
    for name in names:
        if match := LAYER.match(name):
            stage = f"layer.{match.group(1)}"
        elif name.startswith("pooler."):
            stage = POOLER
        elif AFTER_LAST.match(name):
            stage = f"layer.{last}"
        else:
            stage = "layer.0" if AFTER_FIRST.match(name) else EMBEDDINGS
        members[stage].append(name)
    return [Stage(stage, tuple(members[stage])) for stage in order if members[stage] or stage != POOLER]


def declared_stages(source: Source) -> list[Stage] | None:
    """Returns the stages by the tensor names in the weight files, without loading them; None if the names show none.

    Raises:
        UserError: a weight file cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    names: list[str] = []
    for file in sorted(source.folder.glob("model*.safetensors")) if source.folder else ():
        try:
            with safe_open(file, framework="numpy") as content:
                names += content.keys()
        except (OSError, SafetensorError) as error:
            raise UserError(f"{file} must be a readable weight file; it cannot be read: {reason(error)}.") from None
    try:
        return stages_of(_of_encoder(names))
    except UserError:
        return None


def current_name(name: str) -> str:
    """Returns what transformers calls a parameter that it has loaded, from its name in a checkpoint."""
    for old, new in OLD_NAMES.items():
        name = name.replace(old, new)
    return name


def _of_encoder(names: Sequence[str]) -> list[str]:
    """Returns the encoder's parameter names without prefix, from all names in its checkpoint."""
    names = [current_name(name) for name in names]
    # First without one, since `encoder.` in encoder.layer.0.… would pass for one.
    prefixes = () if any(map(LAYER.match, names)) else filter(None, map(PREFIXED_LAYER.match, names))
    prefix = next((match.group(1) for match in prefixes), "")
    return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]

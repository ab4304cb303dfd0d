"""Exports a run's network as a model of sentence-transformers: a transformer, a pooling, and a dense layer that
computes the logits.

The layout is that of sentence-transformers 5.1, which later versions read too; the library itself is not needed.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from src.config.reading import Reading
from src.data.texts import Text
from src.errors import UserError
from src.exports import native
from src.models.heads import BiLSTMHead, LinearHead, MixedHead, pool_states
from src.models.networks import Network

LAYOUT = "5.1.0"  # the version of sentence-transformers that writes such a folder


MODULES = {"Transformer": "", "Pooling": "1_Pooling", "Dense": "2_Dense"}  # and their folders


POOLINGS = {"cls": "cls_token", "mean": "mean_tokens"}  # those of a linear head that the library has, and its names


OTHERS = ("max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")


def check_expressible(network: Network, reading: Reading, run: Path) -> None:
    """Checks that three modules of sentence-transformers compute what the run does.

    Raises:
        UserError: they do not.
    """
    head = network.head
    found = [_named(head)] if _named(head) else []
    found += ["data.windows=true"] if reading.stride is not None else []
    found += ["data.truncation=head_tail"] if reading.truncation == "head_tail" else []
    if not found:
        return
    own = not isinstance(head, LinearHead | BiLSTMHead | MixedHead)
    raise UserError(
        "format=sentence-transformers needs a linear head on the mean of the tokens or on the first token, and texts "
        f"of which the first or the last tokens are read; {run} has {' and '.join(found)}.\n"
        f"Choose format={'onnx' if own else 'huggingface'}."
    )


def _named(head: nn.Module) -> str:
    """Returns what a head is, in words; nothing for one that can be expressed."""
    if isinstance(head, LinearHead):
        return "" if head.pooling in POOLINGS else f"model.pooling={head.pooling}"
    names = {MixedHead: "a mix of all layers", BiLSTMHead: "a BiLSTM head"}
    return names.get(type(head), f"the head {type(head).__name__}")


def write(folder: Path, network: Network, max_length: int, thresholds: dict[str, float] | None) -> None:
    """Writes all but the tokenizer and the model card.

    Args:
        folder: an existing folder.
        network: with a head that can be expressed, and with merged adapters.
        max_length: of texts, in tokens.
        thresholds: by label; config.json keeps them.
    """
    options = _without_pooler(network.encoder)
    _write_encoder(folder, network, options, thresholds)
    weight, bias = native.linear_in_units(network)
    for name in (MODULES["Pooling"], MODULES["Dense"]):
        (folder / name).mkdir()
    contents = {
        "modules.json": [
            {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{name}"}
            for index, (name, path) in enumerate(MODULES.items())
        ],
        "config_sentence_transformers.json": _versions(),
        "sentence_bert_config.json": {
            "max_seq_length": max_length,
            "do_lower_case": False,
            **({"model_args": options} if options else {}),
        },
        "1_Pooling/config.json": _pooling(weight.shape[1], str(network.head.pooling)),
        "2_Dense/config.json": {
            "in_features": weight.shape[1],
            "out_features": weight.shape[0],
            "bias": True,
            "activation_function": "torch.nn.modules.linear.Identity",
        },
    }
    for name, content in contents.items():
        (folder / name).write_text(f"{json.dumps(content, indent=2)}\n", encoding="utf-8")
    save_file({"linear.weight": weight.contiguous(), "linear.bias": bias}, folder / "2_Dense" / "model.safetensors")


def _without_pooler(encoder: nn.Module) -> dict[str, bool]:
    """Returns how transformers is told that the weights have no pooler, for it would make a random one and warn."""
    can = "add_pooling_layer" in inspect.signature(type(encoder)).parameters
    return {"add_pooling_layer": False} if can else {}


def _write_encoder(
    folder: Path, network: Network, options: dict[str, bool], thresholds: dict[str, float] | None
) -> None:
    from transformers import AutoModel

    model_class: Any = AutoModel
    model = model_class.from_config(native.described(network, thresholds), **options)
    model.load_state_dict(network.encoder.state_dict())
    model.save_pretrained(folder)


def _versions() -> dict[str, Any]:
    return {
        "model_type": "SentenceTransformer",
        "__version__": {
            "sentence_transformers": LAYOUT,
            "transformers": version("transformers"),
            "pytorch": torch.__version__,
        },
        "prompts": {"query": "", "document": ""},
        "default_prompt_name": None,
        "similarity_fn_name": "cosine",
    }


def _pooling(width: int, chosen: str) -> dict[str, int | bool]:
    modes = (*POOLINGS.values(), *OTHERS)
    return {
        "word_embedding_dimension": width,
        **{f"pooling_mode_{mode}": mode == POOLINGS[chosen] for mode in modes},
        "include_prompt": True,
    }


def read_back(folder: Path, texts: Sequence[Text]) -> Float[Tensor, "texts outputs"]:
    """Returns the logits, or the numbers of a regression, as sentence-transformers computes them from the folder."""
    from transformers import AutoModel, AutoTokenizer

    reading, pooling = (
        json.loads((folder / name).read_text(encoding="utf-8"))
        for name in ("sentence_bert_config.json", "1_Pooling/config.json")
    )
    model_class: Any = AutoModel
    encoder = model_class.from_pretrained(str(folder), trust_remote_code=False, **reading.get("model_args", {})).eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    encoded = tokenizer(
        [*texts], padding=True, truncation=True, max_length=reading["max_seq_length"], return_tensors="pt"
    )
    dense = load_file(folder / "2_Dense" / "model.safetensors")
    mode = next(name for name, written in POOLINGS.items() if pooling[f"pooling_mode_{written}"])
    with torch.inference_mode():
        pooled = pool_states(encoder(**encoded).last_hidden_state, encoded["attention_mask"].bool(), mode)
        return nn.functional.linear(pooled, dense["linear.weight"], dense["linear.bias"])

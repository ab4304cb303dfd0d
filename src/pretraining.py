"""Backbones of one's own: a tokenizer of the training texts, a BERT with random weights, and what a run of masked
language modelling leaves for others."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf, open_dict

from src.backbones import Source, load_tokenizer, read_source, silence_transformers
from src.config import FEWEST_PIECES, FromRun, Scratch
from src.errors import UserError
from src.paths import user_path
from src.runs import RunFolder

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)

ROLES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
KINDS = ("weight", "bias")
VOCABULARY = 8000  # pieces, where the texts have so many and the user does not say
# What the architectures call the head's dense layer, norm and output bias in their checkpoints.
HEADS = (
    ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.bias"),
    ("lm_head.dense", "lm_head.layer_norm", "lm_head.bias"),
    ("vocab_transform", "vocab_layer_norm", "vocab_projector.bias"),
    ("generator_predictions.dense", "generator_predictions.LayerNorm", "generator_lm_head.bias"),
)


def both_configs(cfg: DictConfig, folder: RunFolder) -> tuple[DictConfig, DictConfig]:
    """The config of the run that pretrains the backbone, and of the run that goes on with it.

    Args:
        cfg: of a run with a `pretrain` section, which takes the place of what the other sections say.
        folder: of the second run; the first one's is in it.

    Raises:
        UserError: the section is none of such values, or several processes are to train.
    """
    _check_pretrain(cfg)
    first, second = cfg.copy(), cfg.copy()
    with open_dict(first), open_dict(second):
        for key, part in cfg.pretrain.items():
            # A part that says what is built replaces the other; values alone change it.
            first[key] = part if "_target_" in part else OmegaConf.merge(cfg[key], part)
        first.run = str(folder.path / "pretrain")
        kept = ("attention", "dropout", "lr")
        second.backbone = {"run": first.run, **{key: cfg.backbone[key] for key in kept}}
        first.pretrain = second.pretrain = None
    if "masking" not in first.model:
        raise UserError(
            "pretrain must ask for masked language modelling, which is what the second training goes on from; "
            f"pretrain.model gives {first.model.get('_target_')}.\nBegin with experiment=mlm_then_classify."
        )
    return first, second


def _check_pretrain(cfg: DictConfig) -> None:
    given = cfg.pretrain
    sections = isinstance(given, DictConfig) and all(
        isinstance(cfg.get(key), DictConfig) and isinstance(part, DictConfig) for key, part in given.items()
    )
    if not sections:
        raise UserError(
            f"pretrain must hold sections of the config, with what differs in the first training; got {given}.\n"
            "Begin with experiment=mlm_then_classify."
        )
    if str(cfg.trainer.devices) != "1" or cfg.trainer.num_nodes > 1:
        raise UserError(
            f"Two trainings in one command need trainer.devices=1; got {cfg.trainer.devices}.\n"
            "Give two commands: model=bert_mlm first, then backbone=run backbone.run=FOLDER."
        )


def check_both(first: DictConfig, second: DictConfig) -> None:
    """What would stop a training that begins where another ends, to be found before that one begins.

    Args:
        first: the config of the training that leaves the backbone.
        second: of the one that goes on with it.

    Raises:
        UserError: the second could not be.
    """
    from src.build import check_fit, check_monitor, find_backbone, read_training
    from src.data import corpus as corpora

    settings, strategy = read_training(second)
    check_fit(settings, strategy, find_backbone(read_training(first)[0].backbone))
    check_monitor(settings, corpora.load(settings.data))


def describe(cfg: Scratch) -> Source:
    """A backbone that does not exist yet, as far as its config tells."""
    settings = {
        "model_type": "bert",
        "hidden_size": cfg.hidden_size,
        "num_hidden_layers": cfg.layers,
        "num_attention_heads": cfg.heads,
        "intermediate_size": cfg.intermediate_size,
        "max_position_embeddings": cfg.max_length,
        "hidden_dropout_prob": cfg.dropout,
        "attention_probs_dropout_prob": cfg.dropout,
    }
    return Source(None, "a BERT from scratch", settings)


def find_pretrained(cfg: FromRun) -> Source:
    """The backbone that a run has left.

    Raises:
        UserError: there is no such run, it has not finished, or it did not learn to fill in masked words.
    """
    folder = RunFolder(user_path(cfg.run))
    result = folder.read_result()
    if result["objective"] != "mlm":
        raise UserError(
            "backbone.run must be a run of masked language modelling; "
            f"{folder.path} learned a {result['objective']} task.\nGive a run of model=bert_mlm."
        )
    folder.check_weights(result)
    return read_source(folder.model, str(folder.path))


def train_tokenizer(texts: Sequence[str], cfg: Scratch) -> PreTrainedTokenizerBase:
    """A WordPiece tokenizer of these texts (Schuster & Nakajima 2012), with BERT's rules and special tokens; or the
    tokenizer of the folder in the config.

    Raises:
        UserError: the texts do not have so many pieces.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    if cfg.tokenizer:
        return load_tokenizer(Source(user_path(cfg.tokenizer), cfg.tokenizer, {}))
    core = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=cfg.lowercase)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words = {
        word for text in texts for word, _ in core.pre_tokenizer.pre_tokenize_str(core.normalizer.normalize_str(text))
    }
    # The trainer numbers these letters in the order of a hash table, another one each time, and breaks ties by number.
    letters = sorted({f"##{letter}" for word in words for letter in word[1:]})
    core.train_from_iterator(
        texts,
        trainers.WordPieceTrainer(
            vocab_size=cfg.vocabulary or VOCABULARY,
            min_frequency=cfg.min_frequency,
            special_tokens=[*SPECIAL, *letters],
            show_progress=False,
        ),
    )
    core = _without_added_tokens(core)
    found = core.get_vocab_size()
    if cfg.vocabulary and found < cfg.vocabulary:
        more = f"Give more texts; a vocabulary has at least {FEWEST_PIECES} pieces."
        raise UserError(
            f"backbone.vocabulary must be at most what the training texts support, {found:,} pieces (those that occur "
            f"{cfg.min_frequency} times); got {cfg.vocabulary:,}.\n"
            f"{'Lower it, or give more texts.' if found >= FEWEST_PIECES else more}"
        )
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    roles = dict(zip(ROLES, SPECIAL, strict=True))
    make: Any = PreTrainedTokenizerFast
    tokenizer: PreTrainedTokenizerBase = make(tokenizer_object=core, model_max_length=cfg.max_length, **roles)
    return tokenizer


def _without_added_tokens(core: Tokenizer) -> Tokenizer:
    """The same tokenizer with its vocabulary alone: no token is looked for in the text before it is cut into words."""
    from tokenizers import Tokenizer, models

    plain = Tokenizer(models.WordPiece(core.get_vocab(), unk_token="[UNK]"))
    plain.normalizer, plain.pre_tokenizer = core.normalizer, core.pre_tokenizer
    return plain


def make_encoder(source: Source, attention: str, tokenizer: PreTrainedTokenizerBase, pooler: bool) -> PreTrainedModel:
    """The BERT that a source describes, with random weights in float32."""
    from transformers import BertConfig, BertModel

    from src.processor import make_quick

    silence_transformers()
    options: dict[str, Any] = {} if attention == "auto" else {"attn_implementation": attention}
    size = max(tokenizer.get_vocab().values()) + 1
    settings = {k: v for k, v in source.settings.items() if k != "model_type"}
    cfg = BertConfig(vocab_size=size, pad_token_id=tokenizer.pad_token_id, **settings, **options)
    model = BertModel(cfg, add_pooling_layer=pooler)
    if attention == "auto":
        make_quick(model)
    return model


def _head_names(dense: str, norm: str, bias: str) -> dict[str, str]:
    """What the head's parameters are called in a checkpoint, by what they are called here."""
    parts = (("dense", dense), ("norm", norm))
    return {"bias": bias} | {f"{ours}.{kind}": f"{theirs}.{kind}" for ours, theirs in parts for kind in KINDS}


def head_names(there: Iterable[str]) -> dict[str, str] | None:
    """What a checkpoint with these names calls the head's parameters, by what they are called here; None where it has
    no such head."""
    found = set(there)
    return next((names for names in (_head_names(*parts) for parts in HEADS) if found.issuperset(names.values())), None)


def load_head(source: Source, head: nn.Module) -> bool:
    """Gives the head the weights that the backbone's own pretraining has left, if they are in its files."""
    from safetensors import safe_open

    shapes = {name: parameter.shape for name, parameter in head.named_parameters()}
    for file in sorted(source.folder.glob("model*.safetensors")) if source.folder else ():
        with safe_open(file, framework="pt") as content:
            if names := head_names(content.keys()):
                tensors = {ours: content.get_tensor(theirs) for ours, theirs in names.items()}
                if all(tensors[name].shape == shape for name, shape in shapes.items()):
                    head.load_state_dict(tensors)
                    return True
    return False


def save_model(folder: Path, encoder: PreTrainedModel, head: nn.Module, tokenizer: PreTrainedTokenizerBase) -> None:
    """Leaves a backbone in the form that transformers reads, `AutoModel.from_pretrained(folder)`, and the head beside
    it under BERT's names, where `load_head` finds it."""
    names = _head_names(*HEADS[0])
    beside = {names[name]: tensor for name, tensor in head.state_dict().items()}
    encoder.save_pretrained(folder, state_dict={**encoder.state_dict(), **beside})
    tokenizer.save_pretrained(folder)


def check_finite(weights: Mapping[str, torch.Tensor], source: str) -> None:
    """
    Raises:
        UserError: a weight is NaN or infinite, so that nothing of use can come out.
    """
    if broken := [name for name, tensor in weights.items() if not bool(tensor.isfinite().all())]:
        raise UserError(
            f"Weights must be finite numbers; in {source} these are not: {', '.join(broken[:5])}.\n"
            "Train that run again, with a lower optimizer.lr, or choose another backbone."
        )


def say_loaded(source: Source, encoder: PreTrainedModel, new: nn.Module | None) -> None:
    """Says which tensors come from where: all of the encoder's are loaded, or loading it would have failed.

    Raises:
        UserError: they are no numbers.
    """
    names = ", ".join(f"head.{name}" for name, _ in new.named_parameters()) if new else "none"
    weights = dict(encoder.named_parameters())
    check_finite(weights, source.name)
    log.info("Loaded all %d tensors of the encoder from %s; new are: %s", len(weights), source.name, names)

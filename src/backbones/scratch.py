"""Backbones from scratch: a tokenizer trained on the training texts, and a BERT with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from src.backbones.loading import load_tokenizer, silence_transformers
from src.backbones.source import Source
from src.config.backbone import MIN_VOCABULARY, Scratch
from src.errors import UserError
from src.files.paths import user_path

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ROLES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")


SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


INPUTS = ["input_ids", "token_type_ids", "attention_mask"]  # what a BERT reads of a pair


VOCABULARY = 8000  # the largest default size, in tokens


def describe(cfg: Scratch) -> Source:
    """Returns the description of a backbone that is built from its config, without files."""
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


def train_tokenizer(texts: Sequence[str], cfg: Scratch) -> PreTrainedTokenizerBase:
    """Trains a WordPiece tokenizer on these texts (Schuster & Nakajima 2012), with BERT's rules and special tokens; or
    loads the tokenizer of the folder in the config.

    Raises:
        UserError: the texts do not support a vocabulary of the configured size.
    """
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    if cfg.tokenizer:
        return load_tokenizer(Source(user_path(cfg.tokenizer), cfg.tokenizer, {}))
    core = _without_added_tokens(_trained(texts, cfg))
    _check_size(core.get_vocab_size(), cfg)
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    options: dict[str, Any] = {**dict(zip(ROLES, SPECIAL, strict=True)), "model_input_names": INPUTS}
    make: Any = PreTrainedTokenizerFast
    tokenizer: PreTrainedTokenizerBase = make(tokenizer_object=core, model_max_length=cfg.max_length, **options)
    return tokenizer


def _trained(texts: Sequence[str], cfg: Scratch) -> Tokenizer:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    core = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=cfg.lowercase)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words = {
        word for text in texts for word, _ in core.pre_tokenizer.pre_tokenize_str(core.normalizer.normalize_str(text))
    }
    # The trainer would number these letters in the order of a hash table, which varies, and breaks ties by number.
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
    return core


def _check_size(found: int, cfg: Scratch) -> None:
    """
    Args:
        found: the number of tokens that the texts have given.
        cfg: says how many are wanted.

    Raises:
        UserError: there are fewer.
    """
    if cfg.vocabulary and found < cfg.vocabulary:
        more = f"Give more texts; a vocabulary has at least {MIN_VOCABULARY} tokens."
        raise UserError(
            f"backbone.vocabulary must be at most what the training texts support, {found:,} tokens (those that occur "
            f"at least {cfg.min_frequency} times); got {cfg.vocabulary:,}.\n"
            f"{'Lower it, or give more texts.' if found >= MIN_VOCABULARY else more}"
        )


def _without_added_tokens(core: Tokenizer) -> Tokenizer:
    """Returns the tokenizer without added tokens, which would be matched in a text before it is split into words."""
    from tokenizers import Tokenizer, models

    plain = Tokenizer(models.WordPiece(core.get_vocab(), unk_token="[UNK]"))
    plain.normalizer, plain.pre_tokenizer = core.normalizer, core.pre_tokenizer
    return plain


def make_encoder(source: Source, attention: str, tokenizer: PreTrainedTokenizerBase, pooler: bool) -> PreTrainedModel:
    """Builds the BERT that a source describes, with random weights in float32."""
    from transformers import BertConfig, BertModel

    from src.backbones.cpu_kernels import use_cpu_kernels

    silence_transformers()
    options: dict[str, Any] = {} if attention == "auto" else {"attn_implementation": attention}
    size = max(tokenizer.get_vocab().values()) + 1
    settings = {k: v for k, v in source.settings.items() if k != "model_type"}
    cfg = BertConfig(vocab_size=size, pad_token_id=tokenizer.pad_token_id, **settings, **options)
    model = BertModel(cfg, add_pooling_layer=pooler)
    if attention == "auto":
        use_cpu_kernels(model)
    return model

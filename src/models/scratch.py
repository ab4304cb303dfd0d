"""Backbones of one's own: a tokenizer of the training texts, a BERT with random weights, and what a run of masked
language modelling leaves for others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from src.config.backbone import MIN_VOCABULARY, Scratch
from src.errors import UserError
from src.files.paths import user_path
from src.models.backbones import Source, load_tokenizer, silence_transformers

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ROLES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")


SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


VOCABULARY = 8000  # pieces, where the texts have so many and the user does not say


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
        more = f"Give more texts; a vocabulary has at least {MIN_VOCABULARY} pieces."
        raise UserError(
            f"backbone.vocabulary must be at most what the training texts support, {found:,} pieces (those that occur "
            f"{cfg.min_frequency} times); got {cfg.vocabulary:,}.\n"
            f"{'Lower it, or give more texts.' if found >= MIN_VOCABULARY else more}"
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

    from src.models.cpu_kernels import make_quick

    silence_transformers()
    options: dict[str, Any] = {} if attention == "auto" else {"attn_implementation": attention}
    size = max(tokenizer.get_vocab().values()) + 1
    settings = {k: v for k, v in source.settings.items() if k != "model_type"}
    cfg = BertConfig(vocab_size=size, pad_token_id=tokenizer.pad_token_id, **settings, **options)
    model = BertModel(cfg, add_pooling_layer=pooler)
    if attention == "auto":
        make_quick(model)
    return model

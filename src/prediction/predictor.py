"""A finished run as a function of texts.

Torch and what stands on it are imported inside functions: a mistake in the arguments is answered before.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig, open_dict

from src.config.validation import check
from src.data.labels import LabelSpace
from src.errors import UserError
from src.models.imports import without_garbage_collection
from src.models.weights import check_finite
from src.runs.folder import RunFolder
from src.runs.pretrain_config import stage_configs

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from src.datamodules.tokenizing import Tokens
    from src.models.backbone_files import Part
    from src.models.networks import Network

log = logging.getLogger(__name__)

Scored = tuple[str, float]  # a label or a token, and its probability


class Predictor:
    """The best weights of a finished run, ready for texts. Made with `Predictor.load`.

    Args:
        network: in evaluation mode, on the device that computes.
        tokenizer: of its backbone.
        cfg: of the run.
        result: of the run.
        dtype: of matrix products.
    """

    def __init__(
        self,
        network: Network,
        tokenizer: PreTrainedTokenizerBase,
        cfg: DictConfig,
        result: dict[str, Any],
        dtype: torch.dtype,
    ) -> None:
        self.network, self.tokenizer, self.cfg, self.result, self.dtype = network, tokenizer, cfg, result, dtype
        self.max_length = int(cfg.data.max_length)
        self.space = LabelSpace.of(result)

    @classmethod
    def load(cls, path: Path | str, precision: str | None = None, device: str | None = None) -> Predictor:
        """
        Args:
            path: of the run's folder.
            precision: of matrix products: float32 or bf16; None: as in training.
            device: where it computes; None: on the accelerator, if there is one.

        Raises:
            UserError: the folder holds no finished run, or something the run needs is no longer there.
        """
        folder = RunFolder(Path(path))
        result = folder.read_result()
        folder.check_weights(result)
        cfg = folder.saved_config()
        check(cfg)
        if cfg.pretrain:
            cfg = stage_configs(cfg, folder)[1]
        with open_dict(cfg):
            if result["objective"] == "mlm":
                # Its model/ is complete, with adapters merged and layers that began anew as they became.
                cfg.backbone = {"run": str(folder.path), "attention": cfg.backbone.attention, "lr": cfg.backbone.lr}
                cfg.freeze = {"_target_": "src.freezing.Nothing"}
            elif "tokenizer" in cfg.backbone:
                cfg.backbone.tokenizer = str(folder.model)
            elif commit := (result.get("backbone") or {}).get("revision"):
                cfg.backbone.revision = commit  # branches of the hub go on
        with without_garbage_collection():
            predictor = _load(cfg, folder, result, precision or str(cfg.trainer.precision))
        predictor.network.to(device or _accelerator() or "cpu")
        return predictor

    def __call__(self, texts: Sequence[str]) -> list[list[Scored]]:
        """The probability of each label for each text, the likeliest first.

        Raises:
            UserError: the run fills in masked words instead, or `texts` is one text.
        """
        return [
            sorted(zip(self.space.names, row, strict=True), key=lambda scored: -scored[1])
            for row in self.probabilities(texts).tolist()
        ]

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 [texts, labels], the labels in the order of `space.names`.

        Raises:
            UserError: the run fills in masked words instead, or `texts` is one text.
        """
        if self.space.objective == "mlm":
            raise UserError(
                "A run of masked language modelling has no labels; it fills in masked words.\n"
                f'Call fill: predictor.fill("The movie was {self.tokenizer.mask_token}.", top=5)'
            )
        if isinstance(texts, str):  # would be read as a list of letters
            raise UserError("texts must be a list of texts; got a single one.\nPut it in a list: predictor([text])")
        return self.classify(self.tokens(texts))

    def classify(self, tokens: Tokens) -> NDArray[np.float32]:
        """The `probabilities` of texts by their tokens."""
        import torch

        from src.models import heads
        from src.models.inference import batch_threads, batches

        if not len(tokens.lengths):
            return np.empty((0, len(self.space.names)), dtype=np.float32)
        device = self.network.device
        order = np.argsort(-tokens.lengths, kind="stable")
        found = torch.empty(len(order), self.space.outputs)
        with batch_threads(device) as pool:
            rows = [order[batch] for batch in batches(tokens.lengths[order], device)]
            for part, logits in zip(rows, pool.map(lambda part: self._logits(tokens, part), rows), strict=True):
                found[part] = logits.cpu()
        return heads.probabilities(found, self.space.objective).numpy()

    def decide(self, probabilities: NDArray[np.float32]) -> list[list[str]]:
        """The labels of each text: the likeliest, or for multi-label runs those from their thresholds on.

        Args:
            probabilities: [texts, labels].
        """
        if self.space.objective != "multilabel":
            return [[self.space.names[label]] for label in probabilities.argmax(1)]
        chosen = probabilities >= self.thresholds
        return [[name for name, on in zip(self.space.names, row, strict=True) if on] for row in chosen]

    @property
    def thresholds(self) -> NDArray[np.float32]:
        """float32 [labels], multi-label only: the probability from which a label counts, tuned on validation."""
        return np.array([self.result["thresholds"][name] for name in self.space.names], dtype=np.float32)

    def fill(self, text: str, top: int) -> list[list[Scored]]:
        """For each masked token of a text the likeliest tokens.

        Raises:
            UserError: the run did not learn that, or nothing is masked within the run's max_length.
        """
        mask = str(self.tokenizer.mask_token)
        if self.space.objective != "mlm":
            raise UserError(
                f"Only a run of masked language modelling fills in {mask}; this one learned a "
                f"{self.space.objective} task.\nGive a run of model=bert_mlm, or a text without {mask}."
            )
        tokens = self.tokens([text])
        places = np.flatnonzero(tokens.values == self.tokenizer.mask_token_id)
        if len(places) != text.count(mask) or not len(places):
            given = text.count(mask)
            found = f"{len(places)} of {given} {'is' if len(places) == 1 else 'are'} there" if given else "it has none"
            raise UserError(
                f"The text must hold {mask} where a word is to be filled in, in its first {self.max_length} tokens; "
                f"{found}.\n"
                f'For example: text="The movie was {mask}."'
            )
        logits = self._logits(tokens, np.zeros(1, dtype=np.intp), masked_positions=places)
        probs = logits.softmax(1).topk(min(top, len(self.tokenizer)))
        return [
            list(zip(self.tokenizer.convert_ids_to_tokens(ids), values, strict=True))
            for ids, values in zip(probs.indices.tolist(), probs.values.tolist(), strict=True)
        ]

    def tokens(self, texts: Sequence[str]) -> Tokens:
        """The token ids of each text, cut at `max_length`."""
        from src.datamodules.tokenizing import Tokens, token_ids

        ids, whole = token_ids(list(texts), self.tokenizer, self.max_length) if texts else ([], [])
        values = np.fromiter(itertools.chain.from_iterable(ids), dtype=np.int64)
        return Tokens(values, np.array([*map(len, ids)], dtype=np.int64), np.array(whole, dtype=np.int64))

    def _logits(self, tokens: Tokens, rows: NDArray[np.intp], **more: NDArray[Any]) -> torch.Tensor:
        import torch

        ids, mask = tokens.padded(rows, int(self.tokenizer.pad_token_id or 0))
        batch = {"input_ids": ids, "mask": mask, **more}
        device = self.network.device
        quick = self.dtype != torch.float32
        with torch.inference_mode(), torch.autocast(device.type, self.dtype, enabled=quick):
            logits: torch.Tensor = self.network({name: torch.from_numpy(v).to(device) for name, v in batch.items()})
        return logits


def _load(cfg: DictConfig, folder: RunFolder, result: dict[str, Any], precision: str) -> Predictor:
    import torch

    from src.models import backbone_files
    from src.models.build import build_network, stages_and_phases
    from src.models.checks import check_fit, find_backbone, read_config
    from src.models.inference import cast_matrices
    from src.models.networks import Network

    settings, strategy = read_config(cfg)
    source = find_backbone(settings.backbone)
    known = None if settings.is_mlm else result.get("backbone")  # of masked words, the run's own folder has all
    backbone_files.check(source, known, folder.path, ["config"])
    check_fit(settings, strategy, source)
    space = LabelSpace.of(result)
    with torch.random.fork_rng(devices=[]):  # what is drawn for a network is not the caller's concern
        encoder, head, tokenizer = build_network(cfg, settings, strategy, source, space.outputs, ())
    network = Network(encoder, head, *stages_and_phases(encoder, head, strategy), space)
    if known:
        backbone_files.check(source, known, folder.path, _needed(network, tokenizer, known))
        if tokenizer.is_fast and backbone_files.fingerprint(tokenizer) != known["tokenizer"]:
            made = result.get("environment", {}).get("transformers", "of another version")
            log.warning("transformers %s cut texts into other tokens when %s was trained.", made, folder.path)
    if not settings.is_mlm:
        _load_best(network, folder)
    dtype = torch.bfloat16 if precision.startswith("bf16") else torch.float32
    network.eval()
    cast_matrices(network, dtype)
    return Predictor(network, tokenizer, cfg, result, dtype)


def _needed(network: Network, tokenizer: PreTrainedTokenizerBase, known: Mapping[str, Any]) -> Iterator[Part]:
    """The parts of its backbone whose files must be those that the run was trained with."""
    from src.models.backbone_files import fingerprint

    if fingerprint(tokenizer) != known["tokenizer"]:  # files that cut texts in the same way may differ
        yield "tokenizer"
    # Where everything trained, the checkpoint has all weights, and those of the backbone are written over.
    if not network.trained.issuperset(name for name, _ in network.encoder.named_parameters()):
        yield "weights"


def _accelerator() -> str | None:
    import torch

    return str(torch.accelerator.current_accelerator()) if torch.accelerator.is_available() else None


def _load_best(network: Network, folder: RunFolder) -> None:
    """Gives the network the weights that the run has trained.

    Raises:
        UserError: they are not those of this network, or no numbers.
    """
    from src.models.networks import check_state
    from src.runs.checkpoints import read

    file = folder.best_checkpoint
    state = read(file)["state_dict"]
    try:
        check_state(state, network.trained)
        network.load_state_dict(state, strict=False)
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{file} must hold the weights that config.yaml and result.json speak of; it does not: {reason}\n"
            "Copy the run folder again from where it was trained."
        ) from None
    check_finite(state, str(file))

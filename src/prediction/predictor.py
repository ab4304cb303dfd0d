"""Predictions of a finished run for texts.

Torch and libraries based on it are imported inside functions, so that invalid arguments are reported quickly.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from src.arrays import NDArray
from src.backbones.weights import check_finite
from src.config.data import Data
from src.config.validation import check
from src.data.labels import LabelSpace
from src.data.texts import Text, check_kind, parts
from src.errors import UserError
from src.files.paths import user_path
from src.models.imports import without_garbage_collection
from src.prediction.trained_config import as_trained
from src.runs.folder import RunFolder

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from src.backbones.integrity import Part
    from src.datamodules.ragged import Tokens
    from src.models.networks import Network

log = logging.getLogger(__name__)

Scored = tuple[str, float]  # a label or a token, and its probability; or a target, and its number


class Predictor:
    """A finished run with its best weights, ready to predict. Create it with `Predictor.load`.

    Args:
        network: in evaluation mode, on the device to use.
        tokenizer: of its backbone.
        cfg: config of the run.
        result: content of the run's result.json.
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
        self.data = Data.model_validate(OmegaConf.to_container(cfg.data, resolve=True))
        self.max_length = self.data.max_length
        self.space = LabelSpace.of(result)

    @classmethod
    def load(cls, path: Path | str, precision: str | None = None, device: str | None = None) -> Predictor:
        """Loads a finished run.

        Args:
            path: the run folder.
            precision: of matrix products: float32 or bf16; None: as in training. Float32 on a device that only
                emulates bf16, where it would be slower.
            device: the device to use; None: the accelerator if there is one, else the CPU.

        Raises:
            UserError: the folder has no finished run, or something that the run needs no longer exists.
        """
        folder = RunFolder(user_path(path))
        result = folder.read_result()
        folder.check_weights(result)
        cfg = folder.saved_config("network")
        check(cfg)
        cfg = as_trained(cfg, folder, result)
        device = device or _accelerator() or "cpu"
        with without_garbage_collection():
            # Configs may leave the precision to the device; older results do not say which it was.
            trained = result.get("environment", {}).get("precision", cfg.trainer.precision)
            predictor = _load(cfg, folder, result, _fast(precision or str(trained), device))
        predictor.network.to(device)
        return predictor

    def __call__(self, texts: Iterable[Text]) -> list[list[Scored]]:
        """Returns the probability of each label for each text, the most probable first; of a regression, the number of
        each target. Of a run on pairs, each text is a pair `(first, second)`.

        Raises:
            UserError: the run is a masked language model, or `texts` is not a list of the inputs that it takes.
        """
        rows = [list(zip(self.space.names, row, strict=True)) for row in self.probabilities(texts).tolist()]
        return rows if self.space.is_regression else [sorted(row, key=lambda scored: -scored[1]) for row in rows]

    def probabilities(self, texts: Iterable[Text]) -> NDArray[np.float32]:
        """Returns float32 [texts, labels], the labels in the order of `space.names`; of a regression, the numbers of
        the targets.

        Raises:
            UserError: as for a call.
        """
        if self.space.objective == "mlm":
            raise UserError(
                "A masked language model has no labels; it predicts masked tokens.\n"
                f'Call fill: predictor.fill("The movie was {self.tokenizer.mask_token}.", top=5)'
            )
        if isinstance(texts, str):  # would be read as a list of characters
            raise UserError("texts must be a list of texts; got a single one.\nPut it in a list: predictor([text])")
        if isinstance(texts, Mapping) or getattr(texts, "ndim", 1) > 1:  # would be read as a list of names of columns
            raise UserError(
                f"texts must be a list of texts; got a {type(texts).__name__}.\n"
                "Give one column: predictor(frame['text']); of a run on pairs: predictor(list(zip(first, second)))"
            )
        return self.classify(self.tokens([*texts]))

    def classify(self, tokens: Tokens) -> NDArray[np.float32]:
        """Returns the `probabilities` of tokenized texts."""
        import torch

        from src.models import heads
        from src.models.inference import batch_threads, batches
        from src.models.windows import columns, combine_windows

        if not len(tokens.lengths):
            return np.empty((0, len(self.space.names)), dtype=np.float32)
        device, inputs, pooling = self.network.device, tokens.inputs, self.network.windows
        order = np.argsort(-inputs.lengths, kind="stable")
        found = torch.empty(len(order), columns(self.space.outputs, pooling))
        with batch_threads(device) as pool:
            rows = [order[batch] for batch in batches(inputs.lengths[order], device)]
            for part, logits in zip(rows, pool.map(lambda part: self._logits(inputs, part), rows), strict=True):
                found[part] = logits
        if self.data.windows:
            found = combine_windows(found, torch.from_numpy(tokens.counts), pooling)
        return heads.probabilities(found, self.space.objective).numpy()

    def decide(self, probabilities: NDArray[np.float32]) -> list[list[str]]:
        """Returns the predicted labels of each text, from probabilities [texts, labels]: the most probable one, or of
        two labels by the run's threshold; for multi-label runs all that reach their thresholds."""
        import torch

        from src.models import heads

        chosen = heads.decide(torch.from_numpy(probabilities), self.space.objective, self.thresholds).tolist()
        if self.space.objective != "multilabel":
            return [[self.space.names[label]] for label in chosen]
        return [[name for name, on in zip(self.space.names, row, strict=True) if on] for row in chosen]

    @property
    def thresholds(self) -> torch.Tensor | None:
        """float32 [labels]: as in `heads.decide`; None where the most probable label is predicted."""
        import torch

        limits = self.result.get("thresholds")
        return torch.tensor([limits[name] for name in self.space.names if name in limits]) if limits else None

    def fill(self, text: Text, top: int) -> list[list[Scored]]:
        """Returns the `top` most probable tokens for each masked token of a text.

        Raises:
            UserError: the run is a classifier, or a mask token is missing or beyond the run's max_length.
        """
        mask = str(self.tokenizer.mask_token)
        if self.space.objective != "mlm":
            raise UserError(
                f"Only a masked language model predicts {mask}; this run is a {self.space.objective} classifier.\n"
                f"Choose a run of model=bert_mlm, or give a text without {mask}."
            )
        tokens = self.tokens([text])
        positions = np.flatnonzero(tokens.values == self.tokenizer.mask_token_id)
        given = sum(part.count(mask) for part in parts(text))
        if len(positions) != given or not given:
            are = "is" if len(positions) == 1 else "are"
            found = f"{len(positions)} of {given} {are} there" if given else "it has none"
            raise UserError(
                f"The text must contain {mask} for each token to predict, within the {self.max_length} tokens that are "
                f"read; {found}.\n"
                f'For example: text="The movie was {mask}."'
            )
        logits = self._logits(tokens, np.zeros(1, dtype=np.intp), masked_positions=positions)
        probs = logits.softmax(1).topk(min(top, len(self.tokenizer)))
        return [
            list(zip(self.tokenizer.convert_ids_to_tokens(ids), values, strict=True))
            for ids, values in zip(probs.indices.tolist(), probs.values.tolist(), strict=True)
        ]

    def tokens(self, texts: Sequence[Text]) -> Tokens:
        """Returns the token ids of each text that are read, at most `max_length`.

        Raises:
            UserError: the run takes pairs and a text is none, or the other way round.
        """
        from src.datamodules.tokenizing import read_tokens

        for text in texts:
            check_kind(text, self.data)
        return read_tokens(texts, self.tokenizer, self.data.reading)

    def _logits(self, tokens: Tokens, rows: NDArray[np.intp], **more: NDArray[Any]) -> torch.Tensor:
        import torch

        batch = tokens.batch(rows, int(self.tokenizer.pad_token_id or 0))
        batch |= {name: torch.from_numpy(values) for name, values in more.items()}
        device = self.network.device
        mixed_precision = self.dtype != torch.float32
        with torch.inference_mode(), torch.autocast(device.type, self.dtype, enabled=mixed_precision):
            logits: torch.Tensor = self.network({name: tensor.to(device) for name, tensor in batch.items()})
        return logits.cpu()


def _fast(precision: str, device: str) -> str:
    """The same, or float32 instead of bf16 where the device is slower at that."""
    from src.models.inference import emulates_bf16

    return "float32" if precision.startswith("bf16") and emulates_bf16(device.partition(":")[0]) else precision


def _load(cfg: DictConfig, folder: RunFolder, result: dict[str, Any], precision: str) -> Predictor:
    import torch

    from src.backbones import integrity
    from src.models.build import build_network, stages_and_phases
    from src.models.checks import check_fit, find_backbone, read_config
    from src.models.inference import cast_matrices
    from src.models.networks import Network

    settings, strategy = read_config(cfg)
    source = find_backbone(settings.backbone)
    known = None if settings.is_mlm else result.get("backbone")  # the folder of a masked language model has all files
    integrity.check(source, known, folder.path, ["config"])
    check_fit(settings, strategy, source)
    space = LabelSpace.of(result)
    with torch.random.fork_rng(devices=[]):  # the initialization must not change the caller's random state
        encoder, head, tokenizer = build_network(cfg, settings, strategy, source, space.outputs, ())
    windows = settings.pooled_windows or "mean"
    temperature = (result.get("calibration") or {}).get("temperature", 1.0)
    network = Network(encoder, head, *stages_and_phases(encoder, head, strategy), space, windows, temperature)
    if known:
        integrity.check(source, known, folder.path, _needed(network, tokenizer, known))
        if tokenizer.is_fast and integrity.fingerprint(tokenizer) != known["tokenizer"]:
            version = result.get("environment", {}).get("transformers", "of another version")
            log.warning("transformers %s tokenized texts differently when %s was trained.", version, folder.path)
    if not settings.is_mlm:
        _load_best(network, folder)
    dtype = torch.bfloat16 if precision.startswith("bf16") else torch.float32
    network.eval()
    cast_matrices(network, dtype)
    return Predictor(network, tokenizer, cfg, result, dtype)


def _needed(network: Network, tokenizer: PreTrainedTokenizerBase, known: Mapping[str, Any]) -> Iterator[Part]:
    """Yields the parts of the backbone whose files must be unchanged since the training."""
    from src.backbones.integrity import fingerprint

    if fingerprint(tokenizer) != known["tokenizer"]:  # files may differ as long as they tokenize in the same way
        yield "tokenizer"
    # If everything trained, the checkpoint has all weights and overwrites those of the backbone.
    if not network.trained.issuperset(name for name, _ in network.encoder.named_parameters()):
        yield "weights"


def _accelerator() -> str | None:
    import torch

    return str(torch.accelerator.current_accelerator()) if torch.accelerator.is_available() else None


def _load_best(network: Network, folder: RunFolder) -> None:
    """Loads the trained weights of the run's best checkpoint into the network.

    Raises:
        UserError: they do not fit the network, or are not finite.
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
            f"{file} must hold the weights that config.yaml and result.json describe; it does not: {reason}\n"
            "Copy the run folder again from where it was trained."
        ) from None
    check_finite(state, str(file))

"""A finished run and a text -> labels with probabilities, or words for what is masked. The entry point of
`python -m src.predict`.

Torch and what stands on it are imported inside functions: a mistake in the arguments is answered before.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig, OmegaConf, open_dict

from src.cli import fail, run_command
from src.config import UserError
from src.data.labels import LabelSpace
from src.pretraining import both_configs
from src.runs import RunFolder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from src.freezable import FreezableModule

Scored = tuple[str, float]  # a label or a token, and its probability


class Predictor:
    """The best weights of a finished run, ready for texts. Made with `Predictor.load`."""

    def __init__(self, module: FreezableModule, tokenizer: PreTrainedTokenizerBase, result: dict[str, Any]) -> None:
        self.module, self.tokenizer, self.result = module, tokenizer, result
        self.max_length = int(result["max_length"])

    @classmethod
    def load(cls, path: Path | str) -> Predictor:
        """
        Raises:
            UserError: the folder holds no finished run, or something the run needs is no longer there.
        """
        folder = RunFolder(Path(path))
        result = folder.read_result()
        cfg = folder.saved_config()
        if cfg.pretrain:
            cfg = both_configs(cfg, folder)[1]
        with open_dict(cfg):
            if result["objective"] == "mlm":
                # Its model/ is complete, with adapters merged and layers that began anew as they became.
                cfg.backbone = {"run": str(folder.path), "attention": cfg.backbone.attention, "lr": cfg.backbone.lr}
                cfg.freeze = {"_target_": "src.freezing.Nothing"}
            elif "tokenizer" in cfg.backbone:
                cfg.backbone.tokenizer = str(folder.model)
        return _load(cfg, folder, result)

    def __call__(self, texts: Sequence[str]) -> list[list[Scored]]:
        """The probability of each label for each text, the likeliest first.

        Raises:
            UserError: the run fills in masked words instead.
        """
        import torch

        from src import metrics

        if self.result["objective"] == "mlm":
            raise UserError("A run of masked language modelling has no labels; give it a text with a masked word.")
        encoded = self._encode(list(texts))
        with torch.inference_mode():
            probs = metrics.probabilities(self.module(encoded), self.result["objective"])
        return [
            sorted(zip(self.result["labels"], row, strict=True), key=lambda scored: -scored[1])
            for row in probs.tolist()
        ]

    def fill(self, text: str, top: int) -> list[list[Scored]]:
        """For each masked token of a text the likeliest tokens.

        Raises:
            UserError: the run did not learn that, or nothing is masked within the run's max_length.
        """
        import torch

        mask = str(self.tokenizer.mask_token)
        if self.result["objective"] != "mlm":
            raise UserError(
                f"Only a run of masked language modelling fills in {mask}; this one learned a "
                f"{self.result['objective']} task.\nGive a run of model=bert_mlm, or a text without {mask}."
            )
        encoded = self._encode([text])
        places = (encoded["input_ids"].flatten() == self.tokenizer.mask_token_id).nonzero().flatten()
        if len(places) != text.count(mask) or not len(places):
            raise UserError(
                f"The text must hold {mask} where a word is to be filled in, in its first {self.max_length} tokens; "
                f"there {'is' if len(places) == 1 else 'are'} {len(places)} of {text.count(mask)}.\n"
                f'For example: text="The movie was {mask}."'
            )
        with torch.inference_mode():
            probs = self.module({**encoded, "places": places}).softmax(1).topk(min(top, len(self.tokenizer)))
        return [
            list(zip(self.tokenizer.convert_ids_to_tokens(ids), values, strict=True))
            for ids, values in zip(probs.indices.tolist(), probs.values.tolist(), strict=True)
        ]

    def _encode(self, texts: list[str]) -> dict[str, Any]:
        found = self.tokenizer(texts, truncation=True, max_length=self.max_length, padding=True, return_tensors="pt")
        return {"input_ids": found["input_ids"], "mask": found["attention_mask"].bool()}


def _load(cfg: DictConfig, folder: RunFolder, result: dict[str, Any]) -> Predictor:
    import torch

    from src.build import build_network, find_backbone, read_config, stages_and_phases
    from src.modules import MaskedLanguageModel, TextClassifier

    settings, strategy = read_config(cfg)
    space = LabelSpace(result["objective"], tuple(result["labels"]))
    encoder, head, tokenizer = build_network(
        cfg, settings, strategy, find_backbone(settings.backbone), space.outputs, ()
    )
    network = (encoder, head, *stages_and_phases(encoder, head, strategy))
    module = MaskedLanguageModel(*network) if settings.masks else TextClassifier(*network, None, space)
    if not settings.masks:
        best = torch.load(folder.best_checkpoint, weights_only=True, map_location="cpu")["state_dict"]
        module.check_state(best)
        module.load_state_dict(best, strict=False)
    return Predictor(module.eval(), tokenizer, {**result, "max_length": settings.data.max_length})


def shown(cfg: DictConfig) -> str:
    """What a run says of the text in a config composed from conf/predict.yaml."""
    predictor, text = Predictor.load(cfg.run), str(cfg.text)
    masked = str(predictor.tokenizer.mask_token) in text or predictor.result["objective"] == "mlm"
    guesses = predictor.fill(text, int(cfg.top)) if masked else predictor([text])
    return "\n\n".join("\n".join(f"{name:20} {probability:.3f}" for name, probability in part) for part in guesses)


@hydra.main(version_base="1.3", config_path="../conf", config_name="predict")
def main(cfg: DictConfig) -> None:
    try:
        if missing := sorted(OmegaConf.missing_keys(cfg)):
            raise UserError("\n".join(f"{key} has no value.\nGive one: {key}=…" for key in missing))
        print(shown(cfg))
    except UserError as error:
        fail(str(error))


if __name__ == "__main__":
    run_command(main, "predict", verbatim=("run", "text"))

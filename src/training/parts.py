"""Builds the parts of one training: module, data, trainer, and the checkpoint that a resumed run continues from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytorch_lightning import Trainer

from src.backbones import integrity
from src.caching import use_store
from src.callbacks.ending import Ending, check_left, find
from src.callbacks.phases import Phases
from src.callbacks.provenance import Provenance, identity
from src.callbacks.saving import check_places
from src.callbacks.seconds import Seconds
from src.config.backbone import Scratch
from src.datamodules.datamodule import TextDataModule
from src.datamodules.text_problems import log_problems
from src.files.ranks import is_main_process
from src.models.networks import check_state
from src.modules.freezable import FreezableModule
from src.runs.checkpoints import newest_valid
from src.runs.folder import RunFolder
from src.runs.resuming import checkpoint_errors
from src.training.build import build
from src.training.clock import Clock
from src.training.effects import warn_of_idle
from src.training.inputs import Inputs
from src.training.trainer import build_trainer, check_length


@dataclass(frozen=True)
class Parts:
    """What one training consists of.

    Args:
        inputs: what it is made from.
        module: the network, before it trains.
        datamodule: its data, tokenised.
        trainer: Lightning's.
        provenance: what the run is made of, and each time that it was resumed.
        backbone: the files of the backbone, for result.json; None for one that the run has made.
        checkpoint: that a resumed run continues from; None: train from the start.
    """

    inputs: Inputs
    module: FreezableModule
    datamodule: TextDataModule
    trainer: Trainer
    provenance: Provenance
    backbone: dict[str, Any] | None
    checkpoint: Path | None

    def prepare(self, folder: RunFolder) -> None:
        """Leaves in the run's folder what belongs to it from the start: a tokenizer made of the training texts."""
        if self.checkpoint is None and isinstance(self.inputs.settings.backbone, Scratch):
            self.datamodule.tokenizer.save_pretrained(folder.model)

    def facts(self, clock: Clock) -> dict[str, Any]:
        """What result.json says of a training that has ended."""
        phases = find(self.trainer, Phases)
        taken = clock.read()
        fit = taken["fit"] - phases.encoding_seconds
        return {
            "strategy": self.inputs.strategy.name,
            "backbone": self.backbone,
            "seconds": {**taken, "encode": phases.encoding_seconds, "fit": fit},
            "phases": phases.done,
            "resumed": self.provenance.resumed,
            "ended": find(self.trainer, Ending).describe(self.trainer, self.module),
        }


def build_parts(inputs: Inputs, folder: RunFolder, clock: Clock, keys: Sequence[str]) -> Parts:
    """Builds the parts of a training.

    Args:
        inputs: what it is made from.
        folder: of the run; only read.
        clock: of this process, which is given what earlier ones of a resumed run took.
        keys: that the user has given, of which those without effect are named.

    Raises:
        UserError: the parts do not fit each other, or a run cannot be resumed with them.
    """
    cfg, settings, strategy = inputs.cfg, inputs.settings, inputs.strategy
    module, datamodule = build(cfg, settings, strategy, inputs.source, inputs.corpus)
    datamodule.setup()
    if is_main_process():
        longest, tokenizer = inputs.source.longest, datamodule.tokenizer
        log_problems(inputs.corpus.splits, datamodule.tokens, tokenizer, settings.data, longest)
        warn_of_idle(keys, strategy.name, settings, module.stages, module.phases)
    backbone = integrity.record(inputs.source, datamodule.tokenizer)
    provenance = Provenance(identity(datamodule, module, backbone))
    check_length(settings, datamodule)
    kept = (provenance, Seconds(clock.read, clock.add))
    trainer = build_trainer(cfg, settings, strategy, folder, len(module.phases), kept)
    use_store.check(module, datamodule, settings)
    parts = Parts(
        inputs, module, datamodule, trainer, provenance, backbone, _resume(inputs, module, trainer, provenance, folder)
    )
    if is_main_process():
        check_places(trainer, folder.path)
    return parts


def _resume(
    inputs: Inputs, module: FreezableModule, trainer: Trainer, provenance: Provenance, folder: RunFolder
) -> Path | None:
    """The checkpoint that a resumed run continues from, whose weights the module is given; None for a new run, or one
    that has no checkpoint yet.

    Raises:
        UserError: the checkpoint is that of another run, or leaves nothing to train.
    """
    found = newest_valid(folder.checkpoints) if inputs.cfg.resume else None
    if found is None:
        return None
    file, content = found
    with checkpoint_errors(file):
        check_left(content, inputs.settings, trainer, folder.state() == "finished" and folder.is_reported)
        provenance.resume(content, inputs.cfg.resume == "force")
        check_state(content["state_dict"], module.trained)
        module.load_state_dict(content["state_dict"], strict=False)
    return file

"""What a run is made of, and each time it was resumed: a resumed run must be the one that was interrupted."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

from pytorch_lightning import Callback

from src.backbones import integrity
from src.callbacks.audit import fingerprints
from src.datamodules.tokenizing import fingerprint
from src.errors import UserError

if TYPE_CHECKING:
    from src.datamodules.datamodule import TextDataModule
    from src.modules.freezable import FreezableModule

Identity = dict[str, str]
COMMIT = "commit of the backbone"  # on the hub; another one may have the same files


def identity(datamodule: TextDataModule, module: FreezableModule, backbone: integrity.Record | None) -> Identity:
    """What must not change between the parts of a run, in words and checksums.

    Args:
        datamodule: of the run.
        module: before it has trained.
        backbone: what the result says of it; None for one that was made.
    """
    corpus, cfg = datamodule.corpus, datamodule.cfg
    found = {"labels": ", ".join(corpus.space.names), "batch size": str(cfg.batch_size)}
    found["number of phases"] = str(len(module.phases))  # which may be fitted into the epochs
    for name, split in corpus.splits.items():
        texts = fingerprint(split.texts, datamodule.tokenizer, cfg.reading)
        found[f"texts of {name}, as tokens"] = f"{len(split):,}, {texts[:12]}"
        found[f"targets of {name}"] = hashlib.sha256(split.targets.tobytes()).hexdigest()[:12]
    found["tokenizer"] = integrity.fingerprint(datamodule.tokenizer)
    weights = repr(sorted(fingerprints(module).items()))
    found["weights before training"] = hashlib.sha256(weights.encode()).hexdigest()[:12]
    if backbone:
        found[f"{integrity.CONFIG} of the backbone"] = backbone["files"][integrity.CONFIG][:12]
        if backbone["revision"]:
            found[COMMIT] = backbone["revision"]
    return found


class Provenance(Callback):
    """Keeps in each checkpoint what the run is made of, and each time that it was resumed.

    Args:
        made_of: the identity of the run.
    """

    state_key = "Lineage"  # its name in checkpoints of all versions

    def __init__(self, made_of: Identity) -> None:
        self.made_of = made_of
        self.resumed: list[dict[str, Any]] = []

    def resume(self, checkpoint: dict[str, Any], force: bool) -> None:
        """Notes that the run is resumed from a checkpoint.

        Args:
            checkpoint: its content.
            force: whether the run may be made of something else than before, which is noted then.

        Raises:
            UserError: it is, and may not be.
        """
        saved = checkpoint["callbacks"][self.state_key]
        # Checkpoints of older versions say nothing of some.
        pairs = {name: (before, self.made_of.get(name)) for name, before in saved["made_of"].items()}
        changed = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
        if [*changed] == [COMMIT]:
            changed = {}
        if changed and not force:
            listed = "\n".join(f"  {name}: {before} then, {now} now" for name, (before, now) in changed.items())
            raise UserError(
                "A resumed run must go on with the data, labels, tokenizer, model, phases and batch size that it began "
                f"with; different are\n{listed}\nPut them back, start a new run, or go on all the same: resume=force."
            )
        point = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "step": checkpoint["global_step"]}
        changes = {name: {"before": before, "now": now} for name, (before, now) in changed.items()}
        self.resumed = [*saved["resumed"], {**point, "changed": changes}]

    def state_dict(self) -> dict[str, Any]:
        return {"made_of": self.made_of, "resumed": self.resumed}

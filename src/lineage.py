"""What a run is made of, and from where it was gone on with: a resumed run must be the one that was interrupted."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

from pytorch_lightning import Callback

from src.audit import fingerprints
from src.data.tokenizing import fingerprint, tokenizer_state
from src.errors import UserError

if TYPE_CHECKING:
    from src.data.datamodule import TextDataModule
    from src.freezable import FreezableModule

Identity = dict[str, str]


def identity(datamodule: TextDataModule, module: FreezableModule) -> Identity:
    """What must not change between the parts of a run, in words and checksums.

    Args:
        datamodule: of the run.
        module: before it has trained.
    """
    corpus, cfg = datamodule.corpus, datamodule.cfg
    found = {"labels": ", ".join(corpus.space.names), "batch size": str(cfg.batch_size)}
    for name, split in corpus.splits.items():
        texts = fingerprint(split.texts, datamodule.tokenizer, cfg.max_length)
        found[f"texts of {name}, as tokens"] = f"{len(split):,}, {texts[:12]}"
        found[f"targets of {name}"] = hashlib.sha256(split.targets.tobytes()).hexdigest()[:12]
    found["tokenizer"] = hashlib.sha256(tokenizer_state(datamodule.tokenizer).encode()).hexdigest()[:12]
    weights = repr(sorted(fingerprints(module).items()))
    found["weights before training"] = hashlib.sha256(weights.encode()).hexdigest()[:12]
    return found


class Lineage(Callback):
    """Keeps in each checkpoint what the run is made of, and each time that it was gone on with.

    Args:
        made_of: the identity of the run.
    """

    def __init__(self, made_of: Identity) -> None:
        self.made_of = made_of
        self.resumed: list[dict[str, Any]] = []

    def go_on(self, checkpoint: dict[str, Any], force: bool) -> None:
        """Notes that the run goes on from a checkpoint.

        Args:
            checkpoint: its content.
            force: whether the run may be made of something else than before, which is noted then.

        Raises:
            UserError: it is, and may not be.
        """
        saved = checkpoint["callbacks"][self.state_key]
        pairs = {name: (saved["made_of"].get(name), self.made_of.get(name)) for name in saved["made_of"] | self.made_of}
        changed = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
        if changed and not force:
            listed = "\n".join(f"  {name}: {before} then, {now} now" for name, (before, now) in changed.items())
            raise UserError(
                "A resumed run must go on with the data, labels, tokenizer, model and batch size that it began with; "
                f"different are\n{listed}\nPut them back, start a new run, or go on all the same: resume=force."
            )
        point = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "step": checkpoint["global_step"]}
        changes = {name: {"before": before, "now": now} for name, (before, now) in changed.items()}
        self.resumed = [*saved["resumed"], {**point, "changed": changes}]

    def state_dict(self) -> dict[str, Any]:
        return {"made_of": self.made_of, "resumed": self.resumed}

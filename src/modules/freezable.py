"""What every LightningModule of the project has in common: a backbone and a head, trained in phases."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from src.datamodules.batching import Batch
from src.files.ranks import gather
from src.freezing import strategy
from src.freezing.strategy import HEAD, Phase, Stage, trained_in
from src.models.networks import check_state, checkpoint_names
from src.modules.optimizing import Optimization, ScheduledModule

if TYPE_CHECKING:
    from transformers import PreTrainedModel

History = list[dict[str, float]]


Seen = dict[str, Tensor]  # what is kept of batches until their epoch is measured


PIECES = 64  # that it lies in at the most


SPLITS = ("train", "validation")  # that are measured while a model trains


def joined(seen: Sequence[Seen]) -> Seen:
    """What is kept of several batches as if they were one."""
    return {key: torch.cat([part[key] for part in seen]) for key in seen[0]}


class FreezableModule(ScheduledModule):
    """A backbone and a head, of which the parameters of one phase train. Objectives say what a step computes and how an
    epoch is measured.

    Args:
        encoder: the backbone.
        head: makes logits of what the encoder makes of a text.
        stages: the backbone's and the head's, from the input to the output.
        phases: of the freezing strategy.
        optimization: builds the optimizer; None for a model that does not train.
    """

    def __init__(
        self,
        encoder: PreTrainedModel,
        head: nn.Module,
        stages: Sequence[Stage],
        phases: Sequence[Phase],
        optimization: Optimization | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self.stages, self.phases, self.optimization = list(stages), list(phases), optimization
        self.thawed: dict[str, int] = {}  # at which step each stage began to train
        self._suffix: list[nn.Module] = []
        self.trained = trained_in(phases)
        self.history: History = []  # the scores of every epoch so far; epochs count from 1
        self.measured: dict[str, dict[str, float]] = {}  # the scores of each split in this epoch
        self._train_seen: list[Seen] = []  # of this epoch
        self._seen = self._train_seen  # of whatever is going on
        self.strict_loading = False  # checkpoints hold only what trained; `on_load_checkpoint` checks them
        self.enter_phase(0)

    @property
    @abstractmethod
    def scores(self) -> Sequence[str]:
        """The names of what is measured besides the loss."""

    @abstractmethod
    def step(self, batch: Batch) -> tuple[Float[Tensor, ""], Seen]:
        """The loss of a batch, divided so that the mean over processes is that of the whole batch; and what is kept."""

    @abstractmethod
    def measure(self, seen: list[Seen], split: str) -> dict[str, float]:
        """The loss and all scores of a split, from what each process has kept of it."""

    def named_stage_parameters(self) -> dict[str, nn.Parameter]:
        """All parameters by the names that stages use: bare for the backbone, `head.…` for the head."""
        named = dict(self.encoder.named_parameters())
        return named | {f"{HEAD}.{name}": parameter for name, parameter in self.head.named_parameters()}

    @property
    def depth(self) -> int:
        """How many leading stages have never trained so far: the frozen prefix."""
        return strategy.depth(self.stages, self.phases[: self.phase + 1])

    def enter_phase(self, index: int, step: int = 0) -> None:
        """Makes exactly the parameters of a phase trainable, and sets every module's mode to match.

        Args:
            index: of the phase.
            step: the optimizer step at which it begins.
        """
        self.phase = index
        for name, parameter in self.named_stage_parameters().items():
            parameter.requires_grad = name in self.phases[index].trainable
            if not parameter.requires_grad:
                parameter.grad = None  # or the optimizer would go on moving what is frozen
        for stage in self.stages:
            if self.phases[index].trainable & set(stage.parameters):
                self.thawed.setdefault(stage.name, step)
        self.train(self.training)

    def enter_all_phases(self) -> None:
        """Makes everything trainable that trains in any phase, which is what a wrapper for several processes must see:
        it takes care of no parameter that it does not find trainable."""
        for name, parameter in self.named_stage_parameters().items():
            parameter.requires_grad = name in self.trained

    def train(self, mode: bool = True) -> FreezableModule:
        """Puts trainable modules into training mode and frozen ones into evaluation mode, where dropout is off.

        A module is frozen if it has parameters and none of them trains. Modules without parameters, such as dropout,
        follow the module they are part of.
        """
        super().train(mode)
        if mode:
            for module in self.modules():
                parameters = list(module.parameters())
                if parameters and not any(p.requires_grad for p in parameters):
                    module.eval()
        return self

    def read_store(self, suffix: nn.Module | None) -> None:
        """From now on batches hold stored states, which the suffix (None: the head) goes on from."""
        # In a list, since its modules are the encoder's and must not be registered twice.
        self._suffix = [suffix] if suffix is not None else []

    def recompile(self) -> None:
        """Compiles everything that runs in a step anew: compiled code goes on leaving out what was frozen before."""
        torch._dynamo.reset()
        for part in (self.encoder, *self._suffix, self.head):
            part.compile(dynamic=True)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        loss, seen = self.step(batch)
        trainer: Any = self.trainer
        # Lightning's own `log` would drop the value in the other steps, after half a millisecond of bookkeeping.
        every = trainer.log_every_n_steps
        if every and (self.global_step + 1) % every == 0:
            self.log("train/loss_step", loss.detach())
        self._keep(seen)
        # Lightning divides by the batches of a full step; the step is to be that of one batch of all its texts.
        return loss * batch["step_fraction"] * trainer.accumulate_grad_batches if "step_fraction" in batch else loss

    def validation_step(self, batch: Batch, index: int) -> None:
        self._keep(self.step(batch)[1])

    def test_step(self, batch: Batch, index: int) -> None:
        self._keep(self.step(batch)[1])

    def _keep(self, seen: Seen) -> None:
        """Keeps what is left of a batch until its epoch is measured, in few pieces: many small ones would lie scattered
        over the memory that batches leave, so that the next batches need new memory, a gigabyte in a long epoch."""
        self._seen.append(seen)
        if len(self._seen) == PIECES:
            self._seen[:] = [joined(self._seen)]

    def on_train_start(self) -> None:
        # Lightning leaves modes as it finds them, and from_pretrained returns models in evaluation mode.
        self.train()
        super().on_train_start()

    def on_train_epoch_start(self) -> None:
        self._train_seen = []
        self.measured = {}  # not every epoch is validated

    def on_train_batch_start(self, batch: Batch, index: int) -> None:
        # A validation may have come in between, and a resumed epoch does not start anew.
        self._seen = self._train_seen

    def on_validation_epoch_start(self) -> None:
        self._seen = []

    def on_test_epoch_start(self) -> None:
        self._seen = []

    def on_validation_epoch_end(self) -> None:
        self._measure("validation")

    def on_test_epoch_end(self) -> None:
        self._measure("test")

    def on_train_epoch_end(self) -> None:
        self._seen = self._train_seen
        self._measure("train")
        found = {f"{split}/{name}": value for split in SPLITS for name, value in self.measured.get(split, {}).items()}
        self.history.append({"epoch": self.current_epoch + 1, "step": self.global_step, **found})
        self.watch_plateau(found)

    def _measure(self, split: str) -> None:
        """Brings what all processes have kept together and logs its scores."""
        if not self._seen:
            return
        mine = {key: values.cpu() for key, values in joined(self._seen).items()}
        self._seen.clear()
        self.measured[split] = self.measure(gather(mine), split)
        for name, value in self.measured[split].items():
            shown = split == "validation" and name in ("loss", "accuracy")
            # Validating the best weights after the training must not add points to its curves.
            fitting = self.trainer.state.fn == "fit"
            self.log(f"{split}/{name}", value, prog_bar=shown, logger=fitting)

    def rate_factor(self, stage: str) -> float:
        assert self.optimization is not None
        phase, chosen = self.phases[self.phase], self.optimization
        own, usual = (phase.head_lr, chosen.head_lr) if stage == HEAD else (phase.lr, chosen.lr)
        factor = 1.0 if own is None else own / usual
        since = self.thawed.get(stage, 0)
        if since == 0:
            return factor  # trained from the start, where the schedule warms up
        steps = int(self.trainer.num_training_batches) / self.trainer.accumulate_grad_batches  # of an epoch
        ramp = round(chosen.thaw_warmup * steps)
        return factor * min(1.0, (self.global_step - since + 1) / (ramp + 1))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        keep = checkpoint_names(self.trained)
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k in keep}
        checkpoint["phase"], checkpoint["thawed"] = self.phase, dict(self.thawed)
        checkpoint["history"] = self.history
        checkpoint["seen"] = self._train_seen

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        check_state(checkpoint["state_dict"], self.trained)
        self.history = checkpoint["history"]
        self._train_seen = checkpoint["seen"]
        # Which parameters train is set when the fit starts.
        self.phase, self.thawed = checkpoint["phase"], checkpoint["thawed"]

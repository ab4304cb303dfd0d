"""The base of the LightningModules: a backbone and a head, trained in phases."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from src.datamodules.ragged import Batch
from src.files.ranks import gather, of_this_rank
from src.freezing import strategy
from src.freezing.strategy import HEAD, Phase, Stage, trained_in
from src.models.networks import check_state, checkpoint_names
from src.modules.optimizing import Optimization, ScheduledModule

if TYPE_CHECKING:
    from transformers import PreTrainedModel

History = list[dict[str, float]]


StepOutput = dict[str, Tensor]  # the outputs of a batch that are kept until the end of its epoch


MAX_OUTPUTS = 64  # kept outputs are concatenated when there are so many


# The outputs of this epoch in all processes but the first, which checkpoints of version 0.1.0 do not have.
SEEN_BY_OTHERS = "seen_by_others"


SPLITS = ("train", "validation")  # whose scores are recorded after each epoch


def concatenated(outputs: Sequence[StepOutput]) -> StepOutput:
    """Concatenates the outputs of several batches."""
    return {key: torch.cat([part[key] for part in outputs]) for key in outputs[0]}


class FreezableModule(ScheduledModule):
    """A backbone and a head, of which the parameters of one phase train. Subclasses define the loss and the scores.

    Args:
        encoder: the backbone.
        head: computes logits from the encoder's output.
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
        self.unfrozen_at: dict[str, int] = {}  # the step at which each stage began to train
        self._suffix: list[nn.Module] = []
        self.trained = trained_in(phases)
        self.history: History = []  # the scores of every epoch so far; epochs count from 1
        self.measured: dict[str, dict[str, float]] = {}  # the scores of each split in this epoch
        self._train_outputs: list[StepOutput] = []  # of this epoch
        self._outputs = self._train_outputs  # of the loop that is running: training, validation or test
        self.strict_loading = False  # checkpoints hold only what trained; `on_load_checkpoint` checks them
        self.enter_phase(0)

    @property
    @abstractmethod
    def scores(self) -> Sequence[str]:
        """The names of the scores besides the loss."""

    @abstractmethod
    def step(self, batch: Batch) -> tuple[Float[Tensor, ""], StepOutput]:
        """Returns the loss, scaled so that the mean over processes is that of the whole batch, and the outputs."""

    @abstractmethod
    def measure(self, outputs: list[StepOutput], split: str) -> dict[str, float]:
        """Returns the loss and all scores of a split from the outputs of all processes."""

    def named_stage_parameters(self) -> dict[str, nn.Parameter]:
        """Returns all parameters by their names in stages: without prefix for the backbone, `head.…` for the head."""
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
                parameter.grad = None  # or the optimizer would still update it
        for stage in self.stages:
            if self.phases[index].trainable & set(stage.parameters):
                self.unfrozen_at.setdefault(stage.name, step)
        self.train(self.training)

    def enter_all_phases(self) -> None:
        """Makes everything trainable that trains in any phase: DistributedDataParallel ignores parameters that are not
        trainable when it wraps the module."""
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
        """Makes `forward` expect stored states in batches, and pass them to the suffix (None: to the head)."""
        # In a list, since its modules are the encoder's and must not be registered twice.
        self._suffix = [suffix] if suffix is not None else []

    def recompile(self) -> None:
        """Recompiles the network: code compiled earlier has no gradients for what was frozen then."""
        torch._dynamo.reset()
        for part in (self.encoder, *self._suffix, self.head):
            part.compile(dynamic=True)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        loss, output = self.step(batch)
        trainer: Any = self.trainer
        # In other steps Lightning's `log` would drop the value, after half a millisecond of overhead.
        every = trainer.log_every_n_steps
        if every and (self.global_step + 1) % every == 0:
            self.log("train/loss_step", loss.detach())
        self._keep(output)
        # Lightning divides by the number of batches; the step must equal that of one batch with all texts.
        return loss * batch["step_fraction"] * trainer.accumulate_grad_batches if "step_fraction" in batch else loss

    def validation_step(self, batch: Batch, index: int) -> None:
        self._keep(self.step(batch)[1])

    def test_step(self, batch: Batch, index: int) -> None:
        self._keep(self.step(batch)[1])

    def _keep(self, output: StepOutput) -> None:
        """Keeps the outputs of a batch until the end of the epoch, in few tensors: many small ones would fragment the
        memory, by a gigabyte in a long epoch."""
        self._outputs.append(output)
        if len(self._outputs) == MAX_OUTPUTS:
            self._outputs[:] = [concatenated(self._outputs)]

    def on_train_start(self) -> None:
        # Lightning does not change modes, and from_pretrained returns models in evaluation mode.
        self.train()
        # Those of a checkpoint are in the CPU's memory.
        self._train_outputs = [{key: values.to(self.device) for key, values in p.items()} for p in self._train_outputs]
        super().on_train_start()

    def on_train_epoch_start(self) -> None:
        self._train_outputs = []
        self.measured = {}  # not every epoch is validated

    def on_train_batch_start(self, batch: Batch, index: int) -> None:
        # A validation may have run in between, and a resumed epoch keeps its outputs.
        self._outputs = self._train_outputs

    def on_validation_epoch_start(self) -> None:
        self._outputs = []

    def on_test_epoch_start(self) -> None:
        self._outputs = []

    def on_validation_epoch_end(self) -> None:
        self._measure("validation")

    def on_test_epoch_end(self) -> None:
        self._measure("test")

    def on_train_epoch_end(self) -> None:
        self._outputs = self._train_outputs
        self._measure("train")
        found = {f"{split}/{name}": value for split in SPLITS for name, value in self.measured.get(split, {}).items()}
        self.history.append({"epoch": self.current_epoch + 1, "step": self.global_step, **found})
        self.step_plateau_schedule(found)

    def _measure(self, split: str) -> None:
        """Gathers the outputs of all processes and logs their scores."""
        if not self._outputs:
            return
        mine = {key: values.cpu() for key, values in concatenated(self._outputs).items()}
        self._outputs.clear()
        self.measured[split] = self.measure(gather(mine), split)
        for name, value in self.measured[split].items():
            shown = split == "validation" and name in ("loss", "accuracy", "pearson")
            # Validating the best weights after the training must not add points to the training curves.
            fitting = self.trainer.state.fn == "fit"
            self.log(f"{split}/{name}", value, prog_bar=shown, logger=fitting)

    def lr_factor(self, stage: str) -> float:
        assert self.optimization is not None
        phase, chosen = self.phases[self.phase], self.optimization
        own, usual = (phase.head_lr, chosen.head_lr) if stage == HEAD else (phase.lr, chosen.lr)
        factor = 1.0 if own is None else own / usual
        since = self.unfrozen_at.get(stage, 0)
        if since == 0:
            return factor  # trainable from the start: the schedule itself warms up
        steps = int(self.trainer.num_training_batches) / self.trainer.accumulate_grad_batches  # per epoch
        ramp = round(chosen.thaw_warmup * steps)
        return factor * min(1.0, (self.global_step - since + 1) / (ramp + 1))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        keep = checkpoint_names(self.trained)
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k in keep}
        checkpoint["phase"], checkpoint["thawed"] = self.phase, dict(self.unfrozen_at)
        checkpoint["history"] = self.history
        outputs = [{key: values.cpu() for key, values in part.items()} for part in self._train_outputs]
        checkpoint["seen"], *checkpoint[SEEN_BY_OTHERS] = gather(outputs)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        check_state(checkpoint["state_dict"], self.trained)
        self.history = checkpoint["history"]
        self._train_outputs = of_this_rank([checkpoint["seen"], *checkpoint.get(SEEN_BY_OTHERS, [])])
        # Which parameters train is set when the fit starts.
        self.phase, self.unfrozen_at = checkpoint["phase"], checkpoint["thawed"]

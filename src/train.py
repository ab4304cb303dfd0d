"""Composed config -> fitted run -> result. The entry point of `python -m src.train`.

Torch and what stands on it are imported inside functions: a mistake in the config or the data is answered before.
"""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
import pydantic
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf, open_dict

from src import backbones
from src.backbones import Source
from src.cli import fail, run_command
from src.config import RunConfig, UserError, check, nearest, value_problem
from src.data import corpus as corpora
from src.data.corpus import Corpus
from src.freezing import HEAD, Phase, Stage, Strategy
from src.runs import RunFolder

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

    from src.data.datamodule import TextDataModule
    from src.modules import TextClassifier

log = logging.getLogger(__name__)

Result = dict[str, Any]


class Clock:
    """Wall time by part of the run, in seconds."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - begin

    def total(self) -> float:
        return time.perf_counter() - self.started


def train(cfg: DictConfig, folder: RunFolder) -> Result:
    """Trains one run and leaves its results in the folder.

    Args:
        cfg: composed from conf/train.yaml.
        folder: of the run; nothing is written into it before everything the user gave has been checked.

    Returns:
        The content of result.json.

    Raises:
        UserError: something in the config or the data cannot be used.
    """
    clock = Clock()
    cfg = _resumed(cfg, folder) if cfg.resume else cfg
    with open_dict(cfg):
        cfg.run = str(folder.path)
    with _run_log() as memory:
        settings, strategy = read_config(cfg)
        with clock("data"):
            source = backbones.find(settings.backbone)
            check_fit(settings, strategy, source)
            corpus = corpora.load(settings.data)
        _check_monitor(settings, corpus)
        with clock("import"):
            _import_libraries()
        with clock("build"):
            trainer = build_trainer(cfg, folder)
            module, datamodule = build(cfg, settings, strategy, source, corpus)
        if is_main_process():
            if not cfg.resume:
                folder.claim(cfg)
            memory.setTarget(folder.log_handler())
            memory.flush()
        return _fit(trainer, module, datamodule, cfg, settings, folder, clock, strategy)


def read_config(cfg: DictConfig) -> tuple[RunConfig, Strategy]:
    """The typed config and the freezing strategy.

    Raises:
        UserError: one message with all problems of both.
    """
    problems: list[str] = []
    strategy: Strategy | None = None
    try:
        settings = check(cfg)
    except UserError as error:
        problems.append(str(error))
    try:
        if not OmegaConf.missing_keys(cfg.freeze):
            strategy = hydra.utils.instantiate(cfg.freeze)
    except InstantiationException as error:
        problems.append(_instantiation_problem("freeze", error))
    if problems or strategy is None:
        raise UserError("\n".join(problems))
    return settings, strategy


def check_fit(settings: RunConfig, strategy: Strategy, source: Source) -> None:
    """Whether the backbone can do what the config asks, as far as its files tell without loading it.

    Raises:
        UserError: max_length is beyond the backbone's positions, or the strategy does not fit its layers.
    """
    if settings.data.max_length > source.longest:
        raise UserError(
            f"data.max_length must be at most {source.longest} for {source.name}; got {settings.data.max_length}.\n"
            "Lower it, or choose a backbone for longer texts, such as backbone=modernbert."
        )
    declared = backbones.declared_stages(source) or [
        Stage(name, (name,)) for name in ("embeddings", *(f"layer.{i}" for i in range(source.layers)))
    ]
    with_names = all(len(stage.parameters) > 1 for stage in declared if stage.is_layer)
    if with_names or not hasattr(strategy, "frozen"):
        strategy.phases([*declared, Stage(HEAD, (HEAD,))])


def build(
    cfg: DictConfig, settings: RunConfig, strategy: Strategy, source: Source, corpus: Corpus
) -> tuple[TextClassifier, TextDataModule]:
    """The module and its data.

    Raises:
        UserError: the weights, the tokenizer or the strategy cannot be used.
    """
    import pytorch_lightning as pl
    import torch

    from src import optim
    from src.data.datamodule import TextDataModule
    from src.modules import Optimization, TextClassifier

    pl.seed_everything(settings.seed, workers=True, verbose=False)
    pooler = getattr(settings.model, "pooling", None) == "pooler"
    tokenizer = backbones.load_tokenizer(source)
    encoder = backbones.load_encoder(source, settings.backbone.attention, pooler)
    head = _instantiate(cfg.model, "model", width=encoder.config.hidden_size, outputs=corpus.space.outputs)
    stages = [
        *backbones.stages(name for name, _ in encoder.named_parameters()),
        Stage(HEAD, tuple(f"{HEAD}.{name}" for name, _ in head.named_parameters())),
    ]
    phases = _phases(strategy, stages)
    datamodule = TextDataModule(corpus, tokenizer, settings.data, settings.seed, Path(settings.cache))

    def optimizer(module: TextClassifier) -> torch.optim.Optimizer:
        return optim.build_optimizer(cfg.optimizer, settings.trainer.precision, module)

    def scheduler(built: torch.optim.Optimizer, steps: int) -> Any:
        plateau = cfg.scheduler.schedule._target_.endswith("ReduceLROnPlateau")
        return _instantiate(cfg.scheduler.schedule, "scheduler", **({} if plateau else {"steps": steps}))(built)

    options = {"interval": settings.scheduler.interval, "monitor": settings.scheduler.monitor}
    weights = datamodule.label_weights if corpus.space.objective == "multilabel" else None
    module = TextClassifier(
        encoder,
        head,
        corpus.space,
        stages,
        phases,
        Optimization(optimizer, scheduler, options),
        None if weights is None else torch.from_numpy(weights),
    )
    return module, datamodule


def build_trainer(cfg: DictConfig, folder: RunFolder) -> Trainer:
    """The Lightning Trainer with the callbacks and logger of the config.

    Raises:
        UserError: Lightning refuses a value, such as a device that is not there.
    """
    from src.callbacks import RandomStates, StageTable, Status

    chosen = [_instantiate(node, f"callbacks.{name}") for name, node in cfg.callbacks.items() if node]
    trainer: Trainer = _instantiate(
        cfg.trainer,
        "trainer",
        callbacks=[Status(folder), RandomStates(), StageTable(), *chosen],
        logger=_instantiate(cfg.logger, "logger"),
        default_root_dir=str(folder.path),
        use_distributed_sampler=False,  # the batch plan shares rows out, and keeps every row once
        enable_model_summary=False,
        enable_progress_bar=cfg.callbacks.get("progress") is not None,
    )
    return trainer


def _fit(
    trainer: Trainer,
    module: TextClassifier,
    datamodule: TextDataModule,
    cfg: DictConfig,
    settings: RunConfig,
    folder: RunFolder,
    clock: Clock,
    strategy: Strategy,
) -> Result:
    import torch

    from src.encoding import use_store
    from src.report.run import finish

    resume = str(folder.last_checkpoint) if cfg.resume else None
    log.info("Strategy %s; run folder %s", strategy.name, folder.path)
    try:
        with clock("encode"):
            datamodule.setup()
            store = use_store(trainer, module, datamodule, settings)
        with clock("fit"):
            trainer.fit(module, datamodule, ckpt_path=resume, weights_only=True)
    except SystemExit:
        # Lightning saves nothing and exits with 1 on Ctrl-C; the last checkpoint is of the last full epoch.
        log.warning("Interrupted. Go on with: python -m src.train run=%s resume=true", folder.path)
        raise SystemExit(130) from None
    with clock("test"):
        best = torch.load(folder.best_checkpoint, weights_only=True, map_location="cpu")
        module.check_state(best["state_dict"])
        module.load_state_dict(best["state_dict"], strict=False)
        trainer.validate(module, datamodule, verbose=False)
        trainer.test(module, datamodule, verbose=False)
    if not is_main_process():
        return {}
    known = {"strategy": strategy.name, "seconds": {"total": clock.total(), **clock.seconds}, "activations": store}
    return finish(trainer, module, datamodule.corpus, cfg, folder, known, best)


def _phases(strategy: Strategy, stages: list[Stage]) -> list[Phase]:
    phases = strategy.phases(stages)
    if not all(phase.trainable for phase in phases):
        raise UserError(f"freeze={strategy.name} must leave parameters to train; it freezes all of them.")
    return phases


def _resumed(cfg: DictConfig, folder: RunFolder) -> DictConfig:
    """The config of the run to go on with; only values of the trainer and its callbacks may be given anew."""
    saved = folder.saved_config()
    if not folder.last_checkpoint.exists():
        raise UserError(f"{folder.path} has no checkpoint to go on from (checkpoints/last.ckpt).\nStart a new run.")
    given = [str(o) for o in HydraConfig.get().overrides.task] if HydraConfig.initialized() else []
    changes = [o for o in given if o.partition("=")[0] not in ("run", "resume")]
    if refused := [o for o in changes if not o.startswith(("trainer.", "callbacks."))]:
        raise UserError(
            f"A resumed run keeps its config, apart from values of trainer and callbacks; got {', '.join(refused)}.\n"
            "Start a new run for that."
        )
    resumed = OmegaConf.merge(saved, OmegaConf.from_dotlist(changes), {"resume": True})
    assert isinstance(resumed, DictConfig)
    return resumed


def _check_monitor(settings: RunConfig, corpus: Corpus) -> None:
    split, _, score = settings.monitor.metric.partition("/")
    known = {"loss", *corpus.space.scores}
    if score not in known:
        raise UserError(
            f"monitor.metric must be {split}/ and a score of this task; got {settings.monitor.metric}.\n"
            f"{nearest(score, known)}"
        )


def _instantiate(node: DictConfig, key: str, **arguments: Any) -> Any:
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    try:
        return hydra.utils.instantiate(node, **arguments)
    except (InstantiationException, MisconfigurationException) as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise UserError(_instantiation_problem(key, error)) from None


def _instantiation_problem(key: str, error: Exception) -> str:
    cause = error.__cause__ or error
    if isinstance(cause, pydantic.ValidationError):
        return "\n".join(value_problem(".".join([key, *map(str, p["loc"])]), p) for p in cause.errors())
    return (
        f"{key} cannot be built: {str(cause).splitlines()[0]}\n"
        f"The comments in conf/{key.partition('.')[0]}/ say what each key is."
    )


def _import_libraries() -> None:
    """Imports what takes seconds, and keeps it quiet where it would only repeat what the run says itself."""
    import pytorch_lightning  # noqa: F401
    from transformers import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for message in (
        r"Found \d+ module\(s\) in eval mode",  # they are frozen on purpose
        r"Checkpoint directory .* exists and is not empty",  # a resumed run goes on in its own folder
        r"The number of training batches .* is smaller than the logging interval",  # epochs are logged in any case
        r".isinstance\(treespec, LeafSpec\). is deprecated",  # about Lightning's own code
    ):
        warnings.filterwarnings("ignore", message=message)


def is_main_process() -> bool:
    """Whether this process writes: the first of all processes of a distributed run, or the only one."""
    ranks = ("RANK", "LOCAL_RANK", "SLURM_PROCID")
    return next((os.environ[name] for name in ranks if name in os.environ), "0") == "0"


@contextlib.contextmanager
def _run_log() -> Iterator[logging.handlers.MemoryHandler]:
    """Logs to the terminal, and holds everything back for train.log until there is a run folder."""
    root = logging.getLogger()
    terminal = logging.StreamHandler(sys.stdout)
    terminal.setFormatter(logging.Formatter("%(message)s"))
    memory = logging.handlers.MemoryHandler(capacity=1, flushLevel=logging.CRITICAL + 1, flushOnClose=False)
    before, root.level = root.level, logging.INFO if is_main_process() else logging.WARNING
    root.addHandler(terminal)
    root.addHandler(memory)
    try:
        yield memory
    finally:
        memory.flush()
        if memory.target:
            memory.target.close()
        for handler in (terminal, memory):
            root.removeHandler(handler)
            handler.close()
        root.setLevel(before)


@hydra.main(version_base="1.3", config_path="../conf", config_name="train")
def main(cfg: DictConfig) -> None:
    folder = RunFolder(Path(os.path.relpath(HydraConfig.get().runtime.output_dir)))
    try:
        train(cfg, folder)
    except UserError as error:
        fail(str(error))
    finally:
        folder.discard_if_empty()


if __name__ == "__main__":
    run_command(main, "train")

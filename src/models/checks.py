"""Checks of a config before the backbone is loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.backbones.source import Source, find_source
from src.backbones.stages import declared_stages
from src.config.backbone import Backbone, FromRun, Scratch
from src.config.data import Data
from src.config.instantiate import instantiate
from src.config.monitor import best_mode, contradiction
from src.config.schema import Objective, RunConfig
from src.config.trainer_switches import refusals
from src.config.validation import check
from src.data import corpus as corpora
from src.data.corpus import Corpus
from src.data.labels import LABEL_F1, MASKED_SCORES, possible_scores
from src.errors import UserError, nearest
from src.freezing.reached_phases import fitted
from src.freezing.strategy import HEAD, Stage, Strategy, check_reinit
from src.freezing.whole_stages import Cut

# Those that have no probabilities, or predict the most probable label, in words.
TASKS: dict[Objective, str] = {
    "regression": "data.task=regression",
    "mlm": "masked language modelling",
    "multiclass": "a task with one of several labels per text",
}


def check_both(first: DictConfig, second: DictConfig, load: Callable[[Data], Corpus] = corpora.load) -> None:
    """Checks the classification of a pretrain-then-classify run before its pretraining starts.

    Args:
        first: the config of the pretraining.
        second: the config of the classification that uses the pretrained backbone.
        load: reads the data.

    Raises:
        UserError: the classification could not start.
    """
    settings, strategy = read_training(first)
    source = find_backbone(settings.backbone)
    if isinstance(strategy, Cut):  # the classification starts from an encoder with fewer layers
        check_fit(settings, strategy, source)
        source = source.truncated(strategy.layers)
    settings, strategy = read_training(second)
    check_fit(settings, strategy, source)
    check_task(settings, load(settings.data))


def read_config(cfg: DictConfig) -> tuple[RunConfig, Strategy]:
    """Returns the typed config and the freezing strategy.

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
        if isinstance(cfg.freeze, DictConfig) and not OmegaConf.missing_keys(cfg.freeze):
            strategy = instantiate(cfg.freeze, "freeze", Strategy)
    except UserError as error:
        problems.append(str(error))
    except OmegaConfBaseException:
        pass  # `check` has reported missing values and broken references already
    if problems or strategy is None:
        raise UserError("\n".join(problems))
    return settings, strategy


def read_training(cfg: DictConfig) -> tuple[RunConfig, Strategy]:
    """As `read_config`, with the checks of a new training; configs of older runs may not pass them.

    Raises:
        UserError: one message with all problems.
    """
    settings, strategy = read_config(cfg)
    mode, metric = settings.monitor.mode, settings.monitor.metric
    problems = list(refusals(settings.trainer))
    if mode not in ("auto", best_mode(metric)):
        problems.append(f"monitor.{contradiction(mode, metric)}.\nLeave out monitor.mode: it follows from the metric.")
    problems += _no_scores(settings, _possible_scores(settings))
    if problems:
        raise UserError("\n".join(problems))
    return settings, strategy


def check_fit(settings: RunConfig, strategy: Strategy, source: Source) -> None:
    """Checks that backbone, data and strategy fit, as far as the files show without loading the backbone.

    Raises:
        UserError: max_length is beyond the backbone's positions, or the strategy does not fit its layers.
    """
    if isinstance(strategy, Cut) and source.shares_layers:
        raise UserError(
            f"freeze=cut needs a backbone with a list of layers of its own; those of {source.name} share one set of "
            "parameters.\nChoose freeze=all, or another backbone."
        )
    if settings.data.max_length > source.longest:
        other = "choose a backbone for longer texts, such as backbone=modernbert"
        if isinstance(settings.backbone, Scratch):
            other = "raise backbone.max_length"
        raise UserError(
            f"data.max_length must be at most {source.longest} for {source.name}; got {settings.data.max_length}.\n"
            f"Lower it, or {other}."
        )
    declared = declared_stages(source) or [
        Stage(name, (name,)) for name in ("embeddings", *(f"layer.{i}" for i in range(source.layers)))
    ]
    with_names = all(len(stage.parameters) > 1 for stage in declared if stage.is_layer)
    if with_names or not strategy.by_name:
        stages = strategy.kept([*declared, Stage(HEAD, (HEAD,))])
        phases = fitted(strategy.phases(stages), settings.trainer.max_epochs)
        check_reinit(strategy.reinit_top, stages, phases)
        if any(phase.end.epochs is None for phase in phases[:-1]) and settings.monitor.metric.startswith("train/"):
            raise UserError(
                f"A phase that ends on a plateau needs a validation metric; got {settings.monitor.metric}.\n"
                "Choose for example monitor.metric=validation/loss, or freeze.until=epochs."
            )


def check_task(settings: RunConfig, corpus: Corpus) -> None:
    """Checks the names of the monitored metrics, and of that of a race, and whether the task's predictions can be
    calibrated and have a threshold.

    Raises:
        UserError: a metric is not a score of this task, or it has no probabilities or no decisions by a threshold.
    """
    space = corpus.space
    labels = [] if space.is_regression else [f"{LABEL_F1}{name}" for name in space.names]
    problem = next(_no_scores(settings, {"loss", *space.scores, *labels}), None)
    if problem := problem or "\n".join(_no_decisions(settings, space.objective)):
        raise UserError(problem)


def _no_decisions(settings: RunConfig, objective: Objective) -> Iterator[str]:
    """Yields a message for each key about the probabilities or decisions of a task that has none."""
    if settings.calibration and objective in ("regression", "mlm"):
        yield (
            f"calibration={settings.calibration} needs probabilities of labels; {TASKS[objective]} has none.\n"
            "Leave it out: calibration=null."
        )
    if settings.threshold is not None and objective not in ("binary", "multilabel"):
        yield (
            f"threshold={settings.threshold} needs labels that are predicted or not, as in a task with two labels or "
            f"with several per text; {TASKS[objective]} has none.\nLeave it out: threshold=null."
        )


def _possible_scores(settings: RunConfig) -> set[str]:
    """The scores that the run may have, as far as the config says; that of any label is one of them."""
    if settings.is_mlm:
        return {"loss", *MASKED_SCORES}
    watched = [] if settings.data.task == "regression" else watched_labels(settings)
    return {"loss", *possible_scores(settings.data.task), *(f"{LABEL_F1}{name}" for name in watched)}


def _no_scores(settings: RunConfig, known: set[str]) -> Iterator[str]:
    """Yields a message for each metric of the config that is none of the known scores."""
    if settings.race and (wrong := settings.race.deciding(settings.data.task)) not in known:
        yield f"race.metric must be a score of this task; got {wrong}.\n{nearest(wrong, known)}"
    for key, metric in _monitored(settings).items():
        split, _, score = metric.partition("/")
        if split not in ("train", "validation") or score not in known:
            place = split if split == "train" else "validation"
            fix = nearest(score or split, known, prefix=f"{place}/")
            yield f"{key} must be {place}/ and a score of this task; got {metric}.\n{fix}"


def watched_labels(settings: RunConfig) -> list[str]:
    """Returns the labels whose F1 a race, the monitor, the scheduler or a callback watches."""
    scores = {metric.partition("/")[2] for metric in _monitored(settings).values()}
    if settings.race:
        scores.add(settings.race.deciding(settings.data.task))
    return sorted(score.removeprefix(LABEL_F1) for score in scores if score.startswith(LABEL_F1))


def _monitored(settings: RunConfig) -> dict[str, str]:
    """Returns the metrics that the monitor, the scheduler and the callbacks watch, by their key in the config."""
    found = {"monitor.metric": settings.monitor.metric, "scheduler.monitor": settings.scheduler.monitor}
    for name, callback in settings.callbacks.items():
        found[f"callbacks.{name}.monitor"] = (callback.model_extra or {}).get("monitor") if callback else None
    # Callbacks refer to monitor.metric, so that one mistake would be told once for each.
    keys = {metric: key for key, metric in reversed(found.items()) if isinstance(metric, str)}
    return {key: metric for metric, key in reversed(keys.items())}


def find_backbone(cfg: Backbone) -> Source:
    """Finds the files of the backbone; for one with random weights, returns its description.

    Raises:
        UserError: there is no such backbone.
    """
    from src.backbones import scratch
    from src.models import masked_language

    if isinstance(cfg, Scratch):
        return scratch.describe(cfg)
    return masked_language.find_pretrained(cfg) if isinstance(cfg, FromRun) else find_source(cfg)

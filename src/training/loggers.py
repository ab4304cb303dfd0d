"""The loggers of a run. What fails in one that is not a file of the run, such as a service, never costs the run."""

from __future__ import annotations

import errno
import importlib.util
import logging
import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from src.config.instantiate import instantiate
from src.errors import reason
from src.freezing.strategy import Strategy
from src.runs.folder import JOB, RunFolder
from src.runs.saved_config import as_read, as_written

log = logging.getLogger(__name__)

PACKAGES = {"WandbLogger": "wandb", "MLFlowLogger": "mlflow", "CometLogger": "comet_ml", "NeptuneLogger": "neptune"}


OUTPUTS = Path("outputs")


LONGEST = 200  # characters in the name of a folder; file systems take 255 bytes


class Tolerant(Logger):
    """Another logger, which is left alone after its first failure.

    Args:
        inner: the other one.
        name: of the option that chooses it.
    """

    def __init__(self, inner: Logger, name: str) -> None:
        super().__init__()
        self.inner, self.title, self.failed = inner, name, False

    def attempt(self, what: Callable[[Any], Any]) -> Any:
        """Returns what a function of the other logger returns; None if that fails, or something has failed before."""
        if self.failed:
            return None
        try:
            return what(self.inner)
        except Exception as error:  # whatever a client of a service raises
            self.failed = True
            log.warning(
                "logger=%s has failed and logs no more: %s: %s", self.title, type(error).__name__, reason(error)
            )
            return None

    @property
    def name(self) -> str:
        return self.title

    @property
    def version(self) -> str | int | None:
        found: str | int | None = self.attempt(lambda inner: inner.version)
        return found

    @property
    def experiment(self) -> Any:
        return self.attempt(lambda inner: getattr(inner, "experiment", None))

    @property
    def save_dir(self) -> str | None:
        found: str | None = self.attempt(lambda inner: inner.save_dir)
        return found

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.attempt(lambda inner: inner.log_metrics(metrics, step))

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.attempt(lambda inner: inner.log_hyperparams(params))

    def save(self) -> None:
        self.attempt(lambda inner: inner.save())

    def finalize(self, status: str) -> None:
        self.attempt(lambda inner: inner.finalize(status))


def build_loggers(cfg: DictConfig, strategy: Strategy, folder: RunFolder) -> list[Logger]:
    """Builds the loggers of a config. One whose package is missing is left out, with a warning.

    Args:
        cfg: of the run.
        strategy: its freezing strategy.
        folder: of the run.

    Raises:
        UserError: a logger does not accept a value.
    """
    found: list[Logger] = []
    for name, node in cfg.logger.items():
        if node is None:
            continue
        kind = str(node._target_).rpartition(".")[2]
        if kind in PACKAGES and importlib.util.find_spec(PACKAGES[kind]) is None:
            log.warning("logger=%s is left out: its package is not installed. pip install %s", name, PACKAGES[kind])
            continue
        try:
            usual = _options(kind, f"{strategy.name}_seed_{cfg.seed}", cfg, node, folder)
        except OSError as error:
            log.warning("logger=%s is left out: %s: %s", name, error.filename, error.strerror)
            continue
        left_open = {key: value for key, value in usual.items() if node.get(key) is None}
        built = instantiate(node, f"logger.{name}", Logger, **left_open)
        found.append(built if isinstance(built, TensorBoardLogger | CSVLogger) else Tolerant(built, str(name)))
    return found


def _options(kind: str, title: str, cfg: DictConfig, node: DictConfig, folder: RunFolder) -> dict[str, Any]:
    """Returns arguments for what the config of a logger may leave open: how services call the run and its multirun.
    TensorBoard names runs by folders, so the last one names strategy and seed.

    Raises:
        OSError: there is no place for what the logger keeps.
    """
    group = folder.path.resolve().parent.name if JOB in os.environ else None
    if kind == "TensorBoardLogger":
        return {"sub_dir": _folder_name(title)}
    if kind == "WandbLogger":
        return {"name": title, "group": group, "id": _wandb_id(folder.path) if cfg.resume else None}
    if kind == "MLFlowLogger":
        tags = {"run": str(folder.path), **({"multirun": group} if group else {})}
        # Who names a server or database says where MLflow keeps files, too.
        return {"run_name": title, "tags": tags, **({} if node.get("tracking_uri") else _mlflow_place())}
    return {}


def _folder_name(title: str) -> str:
    """Returns a title as the name of a folder; of a long one, such as a chain's, the beginning and the end."""
    name = re.sub("[^0-9A-Za-z.+-]+", "_", title)
    return name if len(name) <= LONGEST else f"{name[: LONGEST // 2]}_{name[-LONGEST // 2 + 1 :]}"


def _mlflow_place() -> dict[str, str]:
    """Returns where MLflow keeps runs and their files: on the server of the environment, or else below outputs/.

    Raises:
        OSError: that folder cannot be made or written.
    """
    if server := os.environ.get("MLFLOW_TRACKING_URI"):
        return {"tracking_uri": server}
    OUTPUTS.mkdir(exist_ok=True)  # SQLite makes no folders
    if not os.access(OUTPUTS, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(OUTPUTS))
    return {
        "tracking_uri": f"sqlite:///{OUTPUTS / 'mlflow.db'}",
        "artifact_location": (OUTPUTS / "mlruns").absolute().as_uri(),
    }


def _wandb_id(folder: Path) -> str | None:
    """Returns the name that Weights & Biases has given to a run, from the folder that it has left."""
    left = sorted((folder / "wandb").glob("*run-*-*"))
    return left[-1].name.rpartition("-")[2] if left else None


def log_config(loggers: Sequence[Logger], cfg: DictConfig, strategy: Strategy) -> None:
    """Gives the config of a run that begins to the services, as the run saves it: what comes from the environment may
    be a secret, and stays a reference."""
    content: Any = OmegaConf.to_container(as_read(as_written(cfg)), resolve=True)
    for logger in loggers:
        if isinstance(logger, Tolerant):
            logger.log_hyperparams({"strategy": strategy.name, **content})


def log_result(loggers: Sequence[Logger], scores: Mapping[str, float], step: int, folder: RunFolder) -> None:
    """Gives the scores, the figures and result.json of a finished run to the services.

    Args:
        loggers: of the run.
        scores: by their names.
        step: the last of the training.
        folder: of the run.
    """
    figures = sorted(str(file) for file in (folder.path / "report").glob("*.png"))
    result = str(folder.path / "result.json")

    def give(inner: Logger) -> None:
        inner.log_metrics(dict(scores), step)
        if isinstance(inner, WandbLogger):
            for figure in figures:
                inner.log_image(f"report/{Path(figure).stem}", [figure])
            inner.experiment.log_artifact(result, name=f"result-{inner.experiment.id}", type="result")
        elif isinstance(inner, MLFlowLogger):
            for file, place in [*((figure, "report") for figure in figures), (result, None)]:
                inner.experiment.log_artifact(inner.run_id, file, place)

    for logger in loggers:
        if isinstance(logger, Tolerant):
            logger.attempt(give)


def where(loggers: Sequence[Logger], folder: RunFolder) -> list[str]:
    """Returns how to look at what loggers have: a file, a command or an address each."""
    return [look for logger in loggers if (look := _where(logger, folder))]


def _where(logger: Logger, folder: RunFolder) -> str | None:
    if isinstance(logger, CSVLogger):
        return str(Path(logger.log_dir) / "metrics.csv")
    if isinstance(logger, TensorBoardLogger):
        return f"tensorboard --logdir {shlex.quote(str(folder.path.parent))}"
    if not isinstance(logger, Tolerant) or logger.failed:
        return None
    if isinstance(inner := logger.inner, MLFlowLogger):
        uri = str(inner._tracking_uri)
        is_address = uri.startswith(("http://", "https://"))  # of a server, which has the page itself
        return uri if is_address else f"mlflow ui --backend-store-uri {shlex.quote(uri)}"
    if isinstance(inner, WandbLogger):
        offline = f"wandb sync {shlex.quote(str(folder.path / 'wandb'))}/offline-run-*"
        found: str | None = logger.attempt(lambda wandb: offline if wandb.experiment.offline else wandb.experiment.url)
        return found
    return None

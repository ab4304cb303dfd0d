"""Training a run from Python, and what a finished run knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.config.quoting import quoted
from src.errors import UserError, nearest
from src.files.paths import user_path
from src.runs.folder import RunFolder
from src.runs.new_folder import reserved
from thaw._config import choosing, composed

if TYPE_CHECKING:
    import pyarrow

    from src.prediction.predictor import Predictor


@dataclass(frozen=True)
class Run:
    """A finished run.

    Args:
        folder: of the run.
        result: the content of its result.json.
    """

    folder: Path
    result: Mapping[str, Any] = field(repr=False)

    @classmethod
    def load(cls, folder: Path | str) -> Run:
        """Reads a finished run.

        Raises:
            UserError: the folder has none.
        """
        place = user_path(folder)
        return cls(place, RunFolder(place).read_result())

    @property
    def strategy(self) -> str:
        """The freezing strategy, such as `bottom:4`."""
        return str(self.result["strategy"])

    @property
    def scores(self) -> Mapping[str, float]:
        """The test scores by name, and the loss."""
        scores: Mapping[str, float] = self.result["metrics"]["test"]
        return scores

    @property
    def validation_scores(self) -> Mapping[str, float]:
        """The validation scores of the best epoch."""
        scores: Mapping[str, float] = self.result["metrics"]["validation"]
        return scores

    def predictor(self, precision: str | None = None, device: str | None = None) -> Predictor:
        """Loads the model.

        Args:
            precision: of matrix products: float32 or bf16; None: as in training.
            device: the device to use; None: the accelerator if there is one, else the CPU.
        """
        from src.prediction.predictor import Predictor

        return Predictor.load(self.folder, precision, device)

    def predictions(self, split: str = "test") -> pyarrow.Table:
        """Returns what the run has predicted for a split, a row a text: `to_pandas()` makes a DataFrame of it.

        Args:
            split: test or validation.

        Raises:
            UserError: the run has no predictions for it.
        """
        import pyarrow.parquet

        files = {file.stem: file for file in (self.folder / "predictions").glob("*.parquet")}
        if split not in files:
            hint = (
                nearest(split, files)
                if files
                else "Classifiers and regressions have them, unless their files were removed."
            )
            raise UserError(f"split must be one that {self.folder} has predictions for; got {split!r}.\n{hint}")
        return pyarrow.parquet.read_table(files[split])


def train(*overrides: str, data: Any = None, folder: Path | str | None = None) -> Run:
    """Trains one run.

    Args:
        overrides: as on the command line of `python -m src.train`: "freeze=all", "trainer.max_epochs=3".
        data: a pandas DataFrame or a Dataset with the columns that `data.text` and `data.label` name (default: text and
            label), or several by the names of their splits: train, validation, test. None: the overrides choose it.
        folder: for the run; None: what `run=…` names, or a new one in outputs/runs, with the name that the command line
            gives it.

    Raises:
        UserError: something that was given cannot be used; says what must hold, and how to mend it.
    """
    from src.train import train as train_config

    given = [*choosing(data), *overrides, *([f"run={quoted(str(user_path(folder)))}"] if folder else [])]
    cfg = composed("train", given)
    place = RunFolder(Path(cfg.run))
    if not any(override.startswith("run=") for override in given):
        place = reserved(place)
    try:
        return Run(place.path, train_config(cfg, place, given))
    finally:
        place.discard_if_empty()

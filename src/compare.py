"""Compares finished runs: tables, statistics, verdicts. The entry point of `python -m src.compare`; every multirun ends
with a comparison too."""

from __future__ import annotations

from typing import Annotated, Self

import hydra
from omegaconf import DictConfig
from pydantic import Field, model_validator

from src.cli import exit_codes, run_command
from src.comparison.compare_runs import compare
from src.config.race import Margin, check_margin
from src.config.sections import Cost, Section
from src.config.validation import check_options
from src.files.paths import user_path


class Options(Section):
    """The options of conf/compare.yaml."""

    runs: Annotated[str, Field(min_length=1)]
    metric: str | None
    baseline: str | None
    by: str | None
    margin: Margin | None
    cost: Cost | None
    mixed: bool

    @model_validator(mode="after")
    def has_its_margin(self) -> Self:
        check_margin(self.margin, self.metric)
        return self


@hydra.main(version_base="1.3", config_path="../conf", config_name="compare")
def main(cfg: DictConfig) -> None:
    with exit_codes():
        options = check_options(cfg, Options)
        root = user_path(options.runs)
        compare(root, options.metric, options.baseline, options.by, options.margin, options.mixed, options.cost)


if __name__ == "__main__":
    run_command(main, "compare", verbatim=("runs", "baseline"))

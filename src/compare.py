"""Compares finished runs: tables, statistics, verdicts. The entry point of `python -m src.compare`; every multirun ends
with a comparison too."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from src.cli import exit_codes, run_command
from src.comparison.compare_runs import compare
from src.comparison.options import Options
from src.config.validation import check_options
from src.files.paths import user_path


@hydra.main(version_base="1.3", config_path="../conf", config_name="compare")
def main(cfg: DictConfig) -> None:
    with exit_codes():
        options = check_options(cfg, Options)
        root = user_path(options.runs)
        compare(root, options.metric, options.baseline, options.by, options.margin, options.mixed, options.cost)


if __name__ == "__main__":
    run_command(main, "compare", verbatim=("runs", "baseline"))

"""Explains the predictions of a finished run on HTML pages. The entry point of `python -m src.explain`.

Torch and libraries based on it are imported inside functions, so that invalid arguments are reported quickly.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import hydra
from omegaconf import DictConfig

from src.cli import exit_codes, run_command
from src.config.validation import check_options
from src.errors import UserError
from src.explanation.inputs import check_runs, texts_for
from src.explanation.options import Options
from src.runs.find import check_named, find_run
from src.runs.folder import RunFolder
from src.runs.write_guard import refuse_links


def explain(cfg: DictConfig) -> Path:
    """Writes the pages and their data into the run's `explanations/NAME/`; returns the page to open first.

    Args:
        cfg: composed from conf/explain.yaml.

    Raises:
        UserError: the arguments, runs or texts cannot be used.
    """
    check_named(cfg)
    options = check_options(cfg, Options)
    runs = [find_run(name, options.sweep_folder) for name in (options.run, options.against) if name]
    options = options.model_copy(update={"labels": check_runs(runs, options.labels)})
    texts = texts_for(runs, options)
    target = _target(runs[0], options.name)
    from src.explanation.writing import write_explanations

    write_explanations(runs, texts, options, target)
    return target / "index.html"


def _target(run: RunFolder, name: str | None) -> Path:
    """Returns the folder to write, which does not exist yet."""
    root = run.path / "explanations"
    target = root / name if name else _unused(root, time.strftime("%Y-%m-%d_%H-%M-%S"))
    refuse_links([target.parent, target], run.path)
    if target.exists():
        raise UserError(f"{target} already exists.\nChoose another name: name=…, or delete it.")
    return target


def _unused(root: Path, name: str) -> Path:
    """Returns the folder of that name, with a number appended if a command of the same second has it."""
    names = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
    begun = [folder.name for folder in root.glob(".*")]
    free = (name for name in names if not any(other.startswith(f".{name}.") for other in begun))
    return next(root / name for name in free if not (root / name).exists())


@hydra.main(version_base="1.3", config_path="../conf", config_name="explain")
def main(cfg: DictConfig) -> None:
    with exit_codes():
        print(f"Written: {explain(cfg)}")


if __name__ == "__main__":
    run_command(main, "explain", verbatim=("run", "against", "sweep_folder", "text", "pair", "input", "name"))

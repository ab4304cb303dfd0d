"""Says before any training what to freeze. The entry point of `python -m src.advise`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import hydra
from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from pydantic import Field

from src.cli import exit_codes, run_command
from src.config.sections import Section
from src.config.validation import check_options, check_references
from src.errors import UserError, nearest
from src.files.paths import user_path
from src.runs.moved_names import with_current_names

if TYPE_CHECKING:
    from src.advice.advice import Advice


class Options(Section):
    """What conf/advise.yaml adds to a run's config."""

    folder: Annotated[str, Field(min_length=1)]
    metric: Literal["accuracy", "f1_macro"]
    margin: Annotated[float, Field(ge=0, lt=1)]
    max_texts: Annotated[int, Field(ge=20)]
    more_backbones: list[str]


BACKBONE = "backbone="


def advise(cfg: DictConfig) -> Advice:
    """Returns advice on one backbone.

    Args:
        cfg: composed from conf/advise.yaml.

    Raises:
        UserError: the config, the backbone or the data cannot be used.
    """
    from src.advice.advice import advise as look

    check_references(cfg)
    options = check_options(OmegaConf.masked_copy(cfg, [*Options.model_fields]), Options)
    rest = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key not in Options.model_fields])
    return look(with_current_names(rest), options.metric, options.margin, options.max_texts)


def write(found: Sequence[Advice], folder: Path, overrides: Sequence[str]) -> None:
    """Prints the advice, and writes pages, tables and experiments into a new folder.

    Args:
        found: on each backbone, the best first.
        folder: to write; it appears when it is complete.
        overrides: of data, backbone and trainer, for the command that tries what is advised.
    """
    from rich.console import Console

    from src.advice.encoders import compared
    from src.advice.experiments import command, proposed, write_experiments
    from src.advice.page import write_page
    from src.advice.tables import tables, write_issues, write_json
    from src.advice.words import sentences

    best, ranking = found[0], compared(found)
    tried = proposed(best)
    line = command(tried, folder, overrides)
    console = Console(width=200 if not sys.stdout.isatty() else None)
    for advice in found:
        if len(found) > 1:
            console.print(advice.backbone, markup=False)
        for cells in tables(advice):
            cells.show(console)
    for sentence in [*ranking, *sentences(best)]:
        console.print(sentence, markup=False, highlight=False)
    unfinished = folder.with_name(f".{folder.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        write_experiments(tried, unfinished)
        write_page(best, ranking, line, unfinished)
        write_json(found, line, unfinished / "advise.json")
        write_issues(best, unfinished / "label_issues.csv")
        unfinished.rename(folder)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written: {error.strerror or error}.\nChoose another: folder=FOLDER."
        ) from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    console.print(
        f"\nWritten: {folder / 'advise.html'}\nTry it:  {line}", soft_wrap=True, markup=False, highlight=False
    )


def _several(arguments: Sequence[str]) -> list[str]:
    """The arguments with `backbone=one,two` as Hydra takes it: one as the group's option, the others as a list."""
    found: list[str] = []
    for argument in arguments:
        name, *others = argument.removeprefix(BACKBONE).split(",") if argument.startswith(BACKBONE) else [argument]
        found += [BACKBONE + name, f"more_backbones=[{','.join(others)}]"] if others else [argument]
    return found


def check_backbones(names: Sequence[str]) -> None:
    """
    Raises:
        UserError: one of them is no option of the group.
    """
    options = GlobalHydra.instance().config_loader().get_group_options("backbone")
    for name in names:
        if name not in options:
            raise UserError(f"backbone has no option {name!r}.\n{nearest(str(name), options)}")


@hydra.main(version_base="1.3", config_path="../conf", config_name="advise")
def main(cfg: DictConfig) -> None:
    with exit_codes():
        given = [str(override) for override in HydraConfig.get().overrides.task]
        folder = user_path(cfg.folder)
        if folder.exists():
            raise UserError(f"{folder} already exists.\nChoose another: folder=FOLDER, or delete it.")
        shared = [override for override in given if not override.startswith((BACKBONE, "more_backbones="))]
        check_backbones(cfg.more_backbones)
        configs = [cfg, *(compose("advise", [*shared, BACKBONE + str(name)]) for name in cfg.more_backbones)]
        found = [advise(OmegaConf.create(each)) for each in configs]
        found.sort(key=lambda advice: -advice.best.scores[advice.metric].value)
        own = [override for override in given if override.partition("=")[0] not in Options.model_fields]
        write(found, folder, own)


if __name__ == "__main__":
    sys.argv = _several(sys.argv)
    run_command(main, "advise", paths=("folder",))

"""Says before any training what to freeze. The entry point of `python -m src.advise`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import hydra
from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from pydantic import Field

from src.cli import exit_codes, run_command
from src.config.sections import Cost, Section
from src.config.validation import check_options, check_references
from src.errors import UserError, nearest
from src.files.paths import user_path
from src.files.staged import staged_folder
from src.runs.moved_names import with_current_names
from src.sweeps.jobs import config_folders

if TYPE_CHECKING:
    from src.advice.advice import Advice


class Options(Section):
    """What conf/advise.yaml adds to a run's config."""

    folder: Annotated[str, Field(min_length=1)]
    metric: Literal["accuracy", "f1_macro", "pearson", "r2"] | None
    margin: Annotated[float, Field(ge=0, lt=1)]
    cost: Cost
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
    from src.advice import advice

    check_references(cfg)
    options = check_options(OmegaConf.masked_copy(cfg, [*Options.model_fields]), Options)
    rest = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key not in Options.model_fields])
    return advice.advise(with_current_names(rest), options.metric, options.margin, options.cost, options.max_texts)


def show(found: Sequence[Advice], command: str) -> None:
    """Prints the tables of each backbone, the sentences about the first, and what to run next."""
    from rich.console import Console

    from src.advice.encoders import compared
    from src.advice.tables import tables
    from src.advice.words import sentences

    console = Console(width=200 if not sys.stdout.isatty() else None)
    for advice in found:
        if len(found) > 1:
            console.print(advice.backbone, markup=False)
        for cells in tables(advice):
            cells.show(console)
    for sentence in [*compared(found), *sentences(found[0])]:
        console.print(sentence, markup=False, highlight=False)
    console.print("\nTry it:", command, sep="\n", soft_wrap=True, markup=False, highlight=False)


def write(found: Sequence[Advice], command: str, folder: Path) -> None:
    """Writes pages, tables and experiments into a folder.

    Args:
        found: on each backbone, the best first.
        command: that tries what is advised.
        folder: to write, which is empty.
    """
    from src.advice.encoders import compared
    from src.advice.experiments import proposed, write_experiments
    from src.advice.page import write_page
    from src.advice.tables import write_issues, write_json

    write_experiments(proposed(found[0]), folder)
    write_page(found[0], compared(found), command, folder)
    write_json(found, command, folder / "advise.json")
    write_issues(found[0], folder / "label_issues.csv")


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
        UserError: one of them is no option of the group, or is named twice.
    """
    options = GlobalHydra.instance().config_loader().get_group_options("backbone")
    for name in names:
        if name not in options:
            raise UserError(f"backbone has no option {name!r}.\n{nearest(str(name), options)}")
    if len({*names}) < len(names):
        raise UserError(f"Each backbone must be named once; got {', '.join(names)}.\nRemove the others.")


@hydra.main(version_base="1.3", config_path="../conf", config_name="advise")
def main(cfg: DictConfig) -> None:
    with exit_codes():
        chosen: Any = HydraConfig.get()
        given = [str(override) for override in chosen.overrides.task]
        names = [str(chosen.runtime.choices.backbone), *map(str, cfg.more_backbones)]
        check_backbones(names)
        folder = user_path(cfg.folder)
        shared = [override for override in given if not override.startswith((BACKBONE, "more_backbones="))]
        configs = [cfg, *(compose("advise", [*shared, BACKBONE + name]) for name in names[1:])]
        if folder.exists():
            raise UserError(f"{folder} already exists.\nChoose another: folder=FOLDER, or delete it.")
        with staged_folder(folder, "Choose another: folder=FOLDER.") as unfinished:
            from src.advice.experiments import command

            advised = [(advise(OmegaConf.create(config)), name) for config, name in zip(configs, names, strict=True)]
            advised.sort(key=lambda one: -one[0].best.scores[one[0].metric].value)
            found, best = [advice for advice, _ in advised], advised[0][1]
            own = [override for override in shared if override.partition("=")[0] not in Options.model_fields]
            kept = [*([BACKBONE + best] if shared != given else []), *own]
            race = command(found[0], folder, kept, config_folders())
            write(found, race, unfinished)
        show(found, race)
        print(f"\nWritten: {folder / 'advise.html'}")


if __name__ == "__main__":
    sys.argv = _several(sys.argv)
    run_command(main, "advise", paths=("folder",))

"""The Hydra callback of multiruns: counts the jobs before they begin, and compares the runs at the end."""

from __future__ import annotations

import contextlib
import functools
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.cli import exit_broken_pipe, not_composed
from src.comparison.compare_runs import compare
from src.config.folder import CONF
from src.errors import UserError
from src.runs.find import runs_in
from src.sweeps.folders import check_folders, hold
from src.sweeps.jobs import INTERRUPTED
from src.sweeps.progress import interruption
from src.sweeps.search import write_best
from src.sweeps.starting import begin_sweep


class Multirun(Callback):
    """A Hydra callback that counts the jobs before a multirun starts and compares its runs at the end."""

    begun: ClassVar[DictConfig | None] = None  # the config of this process's multirun

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        with _ending(mistake=2):
            check_folders(config)
            root = Path(config.hydra.sweep.dir)
            if root.is_dir():  # a new folder is made once nothing speaks against the multirun
                hold(root)
            begin_sweep(config)
            hold(root)
            Multirun.begun = config

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        with _ending(mistake=1):
            _compare(config)


@contextlib.contextmanager
def _ending(mistake: int) -> Iterator[None]:
    """Ends the process with what is raised: Hydra turns every exception in a callback into a warning, and goes on.

    Args:
        mistake: the exit code for what the user can mend.
    """
    try:
        yield
    except BrokenPipeError:
        exit_broken_pipe()
    except (HydraException, OmegaConfBaseException) as error:
        print(not_composed(error, "train"), file=sys.stderr)
        sys.exit(mistake)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(mistake)
    except OSError as error:
        said = f"A file or folder must be usable: {error}."
        print(f"{said}\nThen the same command again: runs that have finished are kept.", file=sys.stderr)
        sys.exit(mistake)
    except Exception:
        traceback.print_exc()
        sys.exit(1)


def _compare(config: DictConfig) -> None:
    """Compares the runs of a multirun; exits with code 1 if one has no result."""
    root = Path(config.hydra.sweep.dir)
    print(f"\nRuns in {root}")
    if best := write_best(root):
        command = f"python -m src.train --config-dir {shlex.quote(str(root))} experiment=best"
        print(f"Best values: {best}\nTrain with them: {command}")
    defaults = OmegaConf.load(CONF / "compare.yaml")
    chosen = OmegaConf.merge(defaults, config.get("race") or {})  # metric, margin and cost
    metric, margin, cost = chosen.metric, chosen.margin, chosen.cost
    found = compare(root, metric, defaults.baseline, config.sweep.by, margin, mixed=True, cost=cost)
    if found.problems:
        sys.exit(1)


def compared(main: Callable[[], object]) -> Callable[[], object]:
    """The same, but a multirun that is interrupted says what is left of it; and a search of which no trial has
    finished, where Optuna has no best one to give, ends as every other multirun does.

    Args:
        main: that may start a multirun.
    """

    @functools.wraps(main)
    def run() -> None:
        try:
            main()
        except (KeyboardInterrupt, SystemExit) as ended:
            if Multirun.begun and getattr(ended, "code", INTERRUPTED[0]) in INTERRUPTED:
                print(interruption(Path(Multirun.begun.hydra.sweep.dir), sys.argv[1:]), file=sys.stderr)
            raise
        except ValueError:
            config = Multirun.begun
            states = [] if config is None else [found.state() for found in runs_in(Path(config.hydra.sweep.dir))]
            if config is None or "failed" not in states or "finished" in states:
                raise
            Multirun().on_multirun_end(config)

    return run

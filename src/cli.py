"""Runs the commands and maps how they end to exit codes: 0 success, 2 a mistake of the user, 130, 141 and 143 signals,
1 a bug or an incomplete multirun."""

from __future__ import annotations

import argparse
import contextlib
import inspect
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.config.folder import CONF
from src.config.overrides import Quoting, explained, literal, options, refuse_dashes, refuse_lists
from src.config.quoting import quoted, quoted_path
from src.errors import UserError, is_out_of_memory, reason

# A key named `sweep` would select a file of conf/sweep.
ALIASES = {"sweep": "sweep_folder"}
# Commands with config groups, which --help lists; for the others it prints the keys.
GROUPED = {"train", "plan", "advise"}
RUN_FOLDER = "The run folder must be writable"
MULTIRUN = {"-m", "--multirun"}


def run_command(
    main: Callable[[], object], config_name: str, verbatim: Sequence[str] = (), paths: Sequence[str] = ()
) -> None:
    """Runs a Hydra entry point; mistakes of the user end it with one message and exit code 2.

    Args:
        main: a function decorated with `hydra.main`.
        config_name: the config that it composes, to look up the nearest valid key.
        verbatim: keys whose values are read literally, without Hydra syntax; aliases are allowed.
        paths: keys whose values are read literally unless they are in quotes or contain an interpolation.
    """
    if config_name != "train" and MULTIRUN & {*sys.argv}:
        fail(f"Only python -m src.train takes -m; python -m src.{config_name} runs once per call.")
    if {"-h", "--help"} & {*sys.argv}:
        with exit_codes():
            print(_choices(config_name) if config_name in GROUPED else _described(config_name))
        return
    with exit_codes():
        refuse_dashes(sys.argv[1:])
        refuse_lists(sys.argv[1:])
        _user_folders()
    _refuse_other_folder(sys.argv[1:])
    sys.argv = _for_hydra(sys.argv, dict.fromkeys(verbatim, quoted) | dict.fromkeys(paths, quoted_path))
    # With full errors Hydra raises exceptions instead of printing them and exiting with 1.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    signal.signal(signal.SIGTERM, _exit_in_order)
    try:
        with exit_codes():
            main()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        fail(_explained(error, main, config_name, next(iter((*verbatim, *paths)), "run")))


def _refuse_other_folder(arguments: Sequence[str]) -> None:
    """Exits where Hydra is to change the working directory, from which relative paths of configs are found."""
    for argument in arguments:
        if re.fullmatch(r"\+*hydra\.job\.chdir=(true|on|yes|y|1)", argument, re.IGNORECASE):
            fail(
                f"hydra.job.chdir must be false; got {argument}. Paths are relative to the folder in which the command "
                "starts, and all files of a run are in its run folder.\nLeave it out; run=FOLDER names the run folder."
            )


def _described(config_name: str) -> str:
    """Returns the comments, keys and values of a config file, without the sections that only Hydra reads."""
    text = (CONF / f"{config_name}.yaml").read_text(encoding="utf-8")
    return re.sub(r"^(?:defaults|hydra):\n(?: .*\n|\n)*", "\n", text, flags=re.MULTILINE).strip()


def _choices(config_name: str) -> str:
    """Returns the config groups with their options, between a header and examples.

    Hydra's own help looks the groups up by composing configs, which takes ten times as long as importing Hydra.
    """
    own, shared = OmegaConf.load(CONF / f"{config_name}.yaml"), OmegaConf.load(CONF / "hydra" / "help" / "thaw.yaml")
    words = OmegaConf.merge(shared, OmegaConf.select(own, "hydra.help") or {})
    found = options(CONF, *_user_folders()).items()
    groups = "\n".join(f"{group}: {', '.join(sorted(names))}" for group, names in sorted(found) if names)
    return f"{words.header}\n\n== Choices (GROUP=OPTION) ==\n{groups}\n\n== Examples ==\n{words.footer}"


def _explained(error: Exception, main: Callable[[], object], config_name: str, folder: str) -> str:
    """Returns the message for an error that is not a `UserError`. A bug is raised again, with its traceback.

    Args:
        error: that has ended the command.
        main: the command.
        config_name: the config that it composes.
        folder: the key of the folder that it reads or writes.
    """
    task: Any = inspect.unwrap(main)
    begun = any(frame.f_code is task.__code__ for frame, _ in traceback.walk_tb(error.__traceback__))
    if isinstance(error, OSError) and error.errno:
        what = "A file or folder must be usable" if begun else RUN_FOLDER
        key = "hydra.sweep.dir=FOLDER hydra.sweep.subdir=NAME" if MULTIRUN & {*sys.argv} else "run=FOLDER"
        return f"{what}: {error}.\nChoose another{'' if begun else f': {key}'}."
    if begun and not isinstance(error, HydraException | OmegaConfBaseException):
        raise error
    return not_composed(error, config_name, folder)


def not_composed(error: Exception, config_name: str, folder: str = "run") -> str:
    """Returns the message for an error of composing the config of this command line.

    Args:
        error: of Hydra, OmegaConf or a YAML file.
        config_name: of the command.
        folder: the key of the folder that it reads or writes.
    """
    GlobalHydra.instance().clear()
    given = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    return explained(error, config_name, given, folder, _user_folders())


def _for_hydra(arguments: Sequence[str], quoting: Quoting) -> list[str]:
    """Returns the command line with the names of keys that Hydra knows, and values as the user means them."""
    program, *given = arguments
    given.sort(key=lambda argument: argument not in MULTIRUN)  # argparse takes no flag between overrides
    pairs = [argument.partition("=") for argument in (program, *given)]
    names = {key: name for key, name in ALIASES.items() if name in quoting}  # of this command
    known = ["".join((names.get(key, key), equals, value)) for key, equals, value in pairs]
    return literal(known, quoting, bool(MULTIRUN & {*arguments}))


def _exit_in_order(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def fail(message: str) -> NoReturn:
    """Prints the message to standard error and exits with code 2."""
    print(message, file=sys.stderr)
    sys.exit(2)


@contextlib.contextmanager
def exit_codes() -> Iterator[None]:
    """Exits with code 2 on a mistake of the user or too little memory, and with code 141 on a broken pipe."""
    try:
        yield
        sys.stdout.flush()
    except UserError as error:
        fail(str(error))
    except BrokenPipeError:
        exit_broken_pipe()
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # rich makes 1 of it
            exit_broken_pipe()
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        fail(
            f"The command must fit into memory: {reason(error) or 'there is too little'}.\nEnd what else takes memory "
            "of this device; where it is a GPU, CUDA_VISIBLE_DEVICES= before the command chooses the CPU."
        )


def exit_broken_pipe() -> NoReturn:
    """Exits silently with code 141 on a broken pipe, as in `| head`."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(128 + signal.SIGPIPE)


def _user_folders() -> list[Path]:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-dir", "-cd", type=Path)
    given: Path | None = parser.parse_known_args()[0].config_dir
    if given and not given.is_dir():
        found = "is not a folder" if given.exists() else "does not exist"
        raise UserError(f"--config-dir must be a folder of config files; {given} {found}.\nCorrect the path.")
    return [] if given is None else [given]

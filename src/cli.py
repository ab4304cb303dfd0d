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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.config.folder import CONF
from src.config.quoting import quoted, quoted_path
from src.errors import UserError, nearest

# A key named `sweep` would select a file of conf/sweep.
ALIASES = {"sweep": "sweep_folder"}
OVERLAYS = {"experiment", "sweep", "logger"}  # groups of which several options may be chosen
# Their values are names of columns or files, or delimiters, which may contain characters that are special to Hydra.
NAMES = {"data.text", "data.label", "text_column", "label_column", "data.path", "data.delimiter", "delimiter"}
OPEN = ("race.rates.", "race.training.", "freeze.options.")  # sections with keys of the user's own
# Commands with config groups, which --help lists; for the others it prints the keys.
GROUPED = {"train", "plan", "advise"}
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
RUN_FOLDER = "The run folder must be writable"


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
    if config_name != "train" and {"-m", "--multirun"} & {*sys.argv}:
        fail(f"Only python -m src.train takes -m; python -m src.{config_name} runs once per call.")
    if {"-h", "--help"} & {*sys.argv}:
        with exit_codes():
            print(_choices(config_name) if config_name in GROUPED else _described(config_name))
        return
    _refuse_lists(sys.argv[1:])
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


def _refuse_lists(arguments: Sequence[str]) -> None:
    """Exits where several options are chosen of a group that takes one; Hydra would merge them."""
    for key, _, value in (argument.partition("=") for argument in arguments):
        if value.startswith("[") and key not in OVERLAYS and key in _options(CONF):
            fail(f"{key} must be one of its options; got {value}.\nTo run each of them: -m {key}={value[1:-1]}.")


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
    options = _options(CONF, *_user_folders()).items()
    groups = "\n".join(f"{group}: {', '.join(sorted(names))}" for group, names in sorted(options) if names)
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
    if isinstance(error, OverrideParseException) and "=" not in str(error.override):
        bare = str(error.override)
        return f"Write each argument as KEY=VALUE; got {bare}.\nDid you mean {_meant(bare, folder)}?"
    if isinstance(error, OverrideParseException):
        return (
            f"{error}\nWrite each argument as KEY=VALUE, with quotes around values that contain spaces or special "
            'characters: seed=1 text="a b" \'run="a=b"\'.'
        )
    if isinstance(error, HydraException | OmegaConfBaseException):
        return not_composed(error, config_name)
    if isinstance(error, OSError) and error.errno:
        what = "A file or folder must be usable" if begun else RUN_FOLDER
        key = "hydra.sweep.dir=FOLDER hydra.sweep.subdir=NAME" if {"-m", "--multirun"} & {*sys.argv} else "run=FOLDER"
        return f"{what}: {error}.\nChoose another{'' if begun else f': {key}'}."
    if begun:
        raise error
    if isinstance(error, yaml.YAMLError | UnicodeDecodeError | RecursionError):
        return f"A config file must be YAML in UTF-8 without duplicate keys; {error}.\nCorrect the file."
    return "\n".join(_unknown_names(config_name)) or f"The config cannot be composed: {error}.\nCorrect the overrides."


def not_composed(error: Exception, config_name: str) -> str:
    """Returns the message for Hydra's error in composing a config, with the nearest option or key."""
    return "\n".join(_unknown_names(config_name)) or f"{error}\n{error.__cause__ or ''}".rstrip()


def _meant(bare: str, folder: str) -> str:
    """Returns what an argument without a key, or without a value, may have been meant to be."""
    if os.sep in bare or Path(bare).exists():
        return f"{folder}={bare}"
    groups = sorted(f"{group}={bare}" for group, options in _options(CONF).items() if bare in options)
    groups += [f"trainer.precision={name}" for name in PRECISIONS if name.startswith(bare)]
    return " or ".join(groups) or f"{bare}=VALUE"


def _for_hydra(arguments: Sequence[str], quoting: Mapping[str, Callable[[str], str]]) -> list[str]:
    """Returns the arguments with values quoted so that Hydra reads them as the user means them.

    Args:
        arguments: the command line, with the name of the command.
        quoting: by key, the function that quotes its value.
    """
    multirun = bool({"-m", "--multirun"} & {*arguments})
    found = []
    for argument in arguments:
        given, equals, value = argument.partition("=")
        key = ALIASES.get(given, given)
        quote = quoting.get(key) or (quoted if key in NAMES and _is_name(argument, multirun) else None)
        found.append(f"{key}={quote(value)}" if quote and equals else argument)
    return found


def _is_name(override: str, multirun: bool) -> bool:
    """Whether an override is a name that needs quotes: Hydra cannot parse it, or parses a sweep for a single
    run."""
    try:
        read = OverridesParser.create().parse_override(override)
    except HydraException:
        return True
    return bool(read.is_sweep_override()) and not multirun


def _exit_in_order(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def fail(message: str) -> NoReturn:
    """Prints the message to standard error and exits with code 2."""
    print(message, file=sys.stderr)
    sys.exit(2)


@contextlib.contextmanager
def exit_codes() -> Iterator[None]:
    """Exits with code 2 on a mistake of the user and with code 141 on a broken pipe."""
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


def exit_broken_pipe() -> NoReturn:
    """Exits silently with code 141 on a broken pipe, as in `| head`."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(128 + signal.SIGPIPE)


def _unknown_names(config_name: str) -> list[str]:
    """Returns a message for each unknown option and key on the command line; Hydra itself stops at the first."""
    overrides = [a for a in sys.argv[1:] if not a.startswith("-") and "=" in a]
    ours, groups = _options(CONF), _options(CONF, *_user_folders())
    pairs = [(key, value) for key, _, value in (o.partition("=") for o in overrides)]
    chosen = [f"{key}={value}" for key, value in pairs if value in ours.get(key, ())]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        try:
            values = dict(_values(OmegaConf.to_container(compose(config_name, chosen))))
        except HydraException:
            return [_homeless(key) for key, _ in pairs if "/" in key and key in ours]
    known = {*groups, *values}
    messages = []
    for key, value in pairs:
        asked = [value] if value.startswith("[") else value.split(",")
        if key in groups and "(" not in value and (wrong := [one for one in asked if one not in groups[key]]):
            messages += [f"{key} has no option {one!r}.\n{nearest(one, groups[key])}" for one in wrong]
        elif key not in known and not key.startswith(("+", "~", "hydra")):
            parent, dot, last = key.rpartition(".")
            beside = {k.removeprefix(parent + dot) for k in known if k.rpartition(".")[0] == parent}
            elsewhere = sorted(k for k in known if k.endswith(f".{key}"))
            if options := _options_with(parent, last):
                hint = f"It belongs to {' or '.join(f'{parent}={option}' for option in options)}."
            elif key.startswith(OPEN):
                hint = f"To add it: +{key}=…"
            elif elsewhere:
                hint = f"Did you mean {' or '.join(elsewhere)}?"
            elif beside:
                hint = nearest(last, beside, prefix=parent + dot)
            elif parent in values:
                alone = "null" if values[parent] is None else values[parent]
                hint = f"{parent} has no keys, since it is {alone}; remove this one."
            else:
                hint = nearest(key, known)
            messages.append(f"{key} is not a key of this config.\n{hint}")
    return messages


def _options_with(group: str, key: str) -> list[str]:
    """Returns the options of a config group whose files have a key, so that a key of another option is recognised."""
    files = sorted((CONF / group).glob("*.yaml")) if group else []
    return [file.stem for file in files if key in (yaml.safe_load(file.read_text(encoding="utf-8")) or {})]


def _homeless(group: str) -> str:
    """Returns the message for a nested group (`backbone/size`) where the chosen option of the outer group lacks it."""
    outer, _, inner = group.rpartition("/")
    files = {file.stem: yaml.safe_load(file.read_text(encoding="utf-8")) for file in (CONF / outer).glob("*.yaml")}
    entries = {name: content.get("defaults", ()) for name, content in files.items()}
    homes = [
        f"{outer}={name}" for name, found in entries.items() if any(inner in e for e in found if isinstance(e, dict))
    ]
    return f"{group} goes with {' or '.join(sorted(homes))} only.\nAdd that, or remove {group}=…"


def _options(*roots: Path) -> dict[str, set[str]]:
    """Returns the options of each config group in these folders."""
    found: dict[str, set[str]] = {}
    for root in roots:
        for folder in (folder for folder in root.rglob("*") if folder.is_dir()):
            name = folder.relative_to(root).as_posix()
            # Installed packages add options to Hydra's own groups.
            if not name.startswith("hydra"):
                found.setdefault(name, set()).update(file.stem for file in folder.glob("*.yaml"))
    return found


def _user_folders() -> list[Path]:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-dir", "-cd", type=Path)
    given: Path | None = parser.parse_known_args()[0].config_dir
    return [] if given is None else [given]


def _values(node: object, prefix: str = "") -> Iterable[tuple[str, object]]:
    """Yields every node of a config by its dotted key."""
    for key, value in node.items() if isinstance(node, dict) else ():
        yield f"{prefix}{key}", value
        yield from _values(value, f"{prefix}{key}.")

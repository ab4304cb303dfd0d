"""How a command ends: exit code 0 for done, 2 for a mistake of the user, 130, 141 and 143 for signals, 1 for a bug, or
for a multirun of which something is missing."""

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
from src.config.quoting import quoted, read_whole
from src.errors import UserError, nearest

# A key of that name would be taken for a choice among the files in conf/sweep.
ALIASES = {"sweep": "sweep_folder"}
OVERLAYS = {"experiment", "sweep"}  # the groups of which several options may be chosen
# Their values are names of columns, which may hold what means something to Hydra.
COLUMNS = {"data.text", "data.label", "text_column", "label_column"}
# Of these, --help lists the groups that a choice can be made in; of the others, which have none, the keys.
GROUPED = {"train", "plan"}
RUN_FOLDER = "The run folder must be one that can be made and written"


def run_command(
    main: Callable[[], object], config_name: str, verbatim: Sequence[str] = (), paths: Sequence[str] = ()
) -> None:
    """Runs a Hydra entry point and turns mistakes of the user into one message and exit code 2.

    Args:
        main: a function decorated with `hydra.main`.
        config_name: the config that it composes, for looking up the nearest valid key.
        verbatim: keys whose values are taken letter for letter, whatever they would mean to Hydra; they may be given by
            their aliases.
        paths: keys whose values are taken so unless they are between quotes or refer to something.
    """
    if config_name != "train" and {"-m", "--multirun"} & {*sys.argv}:
        fail(f"Only python -m src.train takes -m; python -m src.{config_name} does one thing at a time.")
    if config_name not in GROUPED and {"-h", "--help"} & {*sys.argv}:
        print(_described(config_name))
        return
    _refuse_lists(sys.argv[1:])
    sys.argv = _for_hydra(sys.argv, dict.fromkeys(verbatim, quoted) | dict.fromkeys(paths, read_whole))
    # With full errors Hydra hands exceptions on instead of printing them and exiting with 1.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    signal.signal(signal.SIGTERM, _exit_in_order)
    try:
        with in_order():
            main()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        fail(_explained(error, main, config_name))


def _refuse_lists(arguments: Sequence[str]) -> None:
    """Ends the command where several options of a group are chosen that takes one; Hydra would merge them."""
    for key, _, value in (argument.partition("=") for argument in arguments):
        if value.startswith("[") and key not in OVERLAYS and key in _options(CONF):
            fail(
                f"{key} must be one of its options; got {value}.\nTry them one after the other: -m {key}={value[1:-1]}."
            )


def _described(config_name: str) -> str:
    """What a config says of itself: its comments, keys and values, without the sections for Hydra alone."""
    text = (CONF / f"{config_name}.yaml").read_text(encoding="utf-8")
    return re.sub(r"^(?:defaults|hydra):\n(?: .*\n|\n)*", "\n", text, flags=re.MULTILINE).strip()


def _explained(error: Exception, main: Callable[[], object], config_name: str) -> str:
    """What to tell the user of an error that is not told yet. A bug is raised again, to be shown whole."""
    task: Any = inspect.unwrap(main)
    begun = any(frame.f_code is task.__code__ for frame, _ in traceback.walk_tb(error.__traceback__))
    if isinstance(error, OverrideParseException):
        return f"{error}\nPut values with special characters between quotes: 'run=\"a=b\"'."
    if isinstance(error, HydraException | OmegaConfBaseException):
        return "\n".join(_unknown_names(config_name)) or f"{error}\n{error.__cause__ or ''}".rstrip()
    if isinstance(error, OSError) and error.errno:
        what = "A file or folder must be one that can be used" if begun else RUN_FOLDER
        key = "hydra.sweep.dir=FOLDER hydra.sweep.subdir=NAME" if {"-m", "--multirun"} & {*sys.argv} else "run=FOLDER"
        return f"{what}: {error}.\nChoose another{'' if begun else f': {key}'}."
    if begun:
        raise error
    if isinstance(error, yaml.YAMLError | UnicodeDecodeError | RecursionError):
        return f"A config file must be plain YAML in UTF-8, each key once; {error}.\nCorrect the file."
    return "\n".join(_unknown_names(config_name)) or f"The config cannot be composed: {error}.\nCorrect what it names."


def _for_hydra(arguments: Sequence[str], ways: Mapping[str, Callable[[str], str]]) -> list[str]:
    """The arguments as Hydra reads what the user means.

    Args:
        arguments: of the command, with its name.
        ways: how the values of some keys are quoted.
    """
    multirun = bool({"-m", "--multirun"} & {*arguments})
    found = []
    for argument in arguments:
        given, _, value = argument.partition("=")
        key = ALIASES.get(given, given)
        quote = ways.get(key) or (quoted if key in COLUMNS and _is_name(argument, multirun) else None)
        found.append(f"{key}={quote(value)}" if quote else argument)
    return found


def _is_name(override: str, multirun: bool) -> bool:
    """Whether an override that names a column would otherwise be refused: because Hydra cannot read it, or reads
    several values for one run, or a list where there is one column."""
    try:
        read = OverridesParser.create().parse_override(override)
    except HydraException:
        return True
    if read.is_sweep_override():
        return not multirun
    return isinstance(read.value(), list) and "label" not in str(read.key_or_group)


def _exit_in_order(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def fail(message: str) -> NoReturn:
    """Prints the message to standard error and exits with code 2."""
    print(message, file=sys.stderr)
    sys.exit(2)


@contextlib.contextmanager
def in_order() -> Iterator[None]:
    """Ends the command where the user has made a mistake, or nobody reads what it prints."""
    try:
        yield
        sys.stdout.flush()
    except UserError as error:
        fail(str(error))
    except BrokenPipeError:
        end_unread()
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # rich makes 1 of it
            end_unread()
        raise


def end_unread() -> NoReturn:
    """Ends a command of whose output nobody reads more, as behind `| head`, without a word and with exit code 141."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(128 + signal.SIGPIPE)


def _unknown_names(config_name: str) -> list[str]:
    """All options and keys on the command line that there are not; Hydra itself stops at the first."""
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
            if beside:
                hint = nearest(last, beside).replace("Did you mean ", f"Did you mean {parent}{dot}")
            elif parent in values:
                alone = "null" if values[parent] is None else values[parent]
                hint = f"{parent} has no keys, since it is {alone}; leave this one out."
            else:
                hint = nearest(key, known)
            messages.append(f"{key} is not a key of this config.\n{hint}")
    return messages


def _homeless(group: str) -> str:
    """What to tell of a group inside another, of which an option was chosen that has no such group."""
    outer, _, inner = group.rpartition("/")
    files = {file.stem: yaml.safe_load(file.read_text(encoding="utf-8")) for file in (CONF / outer).glob("*.yaml")}
    entries = {name: content.get("defaults", ()) for name, content in files.items()}
    homes = [
        f"{outer}={name}" for name, found in entries.items() if any(inner in e for e in found if isinstance(e, dict))
    ]
    return f"{group} goes with {' or '.join(sorted(homes))} alone.\nAdd that, or leave {group}=… out."


def _options(*roots: Path) -> dict[str, set[str]]:
    """The names of the files in each config group below these folders."""
    found: dict[str, set[str]] = {}
    for root in roots:
        for folder in (folder for folder in root.rglob("*") if folder.is_dir()):
            name = folder.relative_to(root).as_posix()
            # Hydra's own groups have options that installed packages bring.
            if not name.startswith("hydra"):
                found.setdefault(name, set()).update(file.stem for file in folder.glob("*.yaml"))
    return found


def _user_folders() -> list[Path]:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-dir", "-cd", type=Path)
    given: Path | None = parser.parse_known_args()[0].config_dir
    return [] if given is None else [given]


def _values(node: object, prefix: str = "") -> Iterable[tuple[str, object]]:
    """Everything in a config, by its whole key."""
    for key, value in node.items() if isinstance(node, dict) else ():
        yield f"{prefix}{key}", value
        yield from _values(value, f"{prefix}{key}.")

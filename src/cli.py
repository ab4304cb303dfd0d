"""How a command ends: exit code 0 for done, 2 for a mistake of the user, 130 and 143 for signals, 1 for a bug."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from types import FrameType

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.config import UserError, nearest
from src.runs import CONF

# A key of that name would be taken for a choice among the files in conf/sweep.
ALIASES = {"sweep": "sweep_folder"}


def run_command(main: Callable[[], object], config_name: str, verbatim: Sequence[str] = ()) -> None:
    """Runs a Hydra entry point and turns mistakes of the user into one message and exit code 2.

    Args:
        main: a function decorated with `hydra.main`.
        config_name: the config that it composes, for looking up the nearest valid key.
        verbatim: keys whose values are taken letter for letter, whatever they would mean to Hydra; they may be given by
            their aliases.
    """
    given = ((argument, *argument.partition("=")) for argument in sys.argv)
    named = ((argument, ALIASES.get(key, key), value) for argument, key, _, value in given)
    sys.argv = [f"{key}={_quoted(value)}" if key in verbatim else argument for argument, key, value in named]
    # With full errors Hydra hands exceptions on instead of printing them and exiting with 1.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    signal.signal(signal.SIGTERM, _exit_in_order)
    try:
        main()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)
    except UserError as error:
        fail(str(error))
    except OverrideParseException as error:
        fail(f"{error}\nPut values with special characters between quotes: 'run=\"a=b\"'.")
    except (HydraException, OmegaConfBaseException) as error:
        overrides = [a for a in sys.argv[1:] if not a.startswith("-") and "=" in a]
        fail("\n".join(_unknown_names(config_name, overrides)) or f"{error}\n{error.__cause__ or ''}".rstrip())
    except OSError as error:
        # Commands handle their own errors; this one is Hydra's, which makes the run folder before it starts one.
        fail(f"The run folder must be one that can be made and written: {error}.\nChoose another: run=FOLDER.")


def _exit_in_order(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _quoted(value: str) -> str:
    """A value that Hydra reads back as it is: between quotes, backslashes before quotes doubled, no interpolation."""
    escaped = re.sub(r"(\\*)(\$\{)", r"\1\1\\\2", value)
    escaped = re.sub(r'(\\*)"', r"\1\1\"", escaped)
    return '"' + re.sub(r"(\\+)$", r"\1\1", escaped) + '"'


def fail(message: str) -> None:
    """Prints the message to standard error and exits with code 2."""
    print(message, file=sys.stderr)
    sys.exit(2)


def _unknown_names(config_name: str, overrides: list[str]) -> list[str]:
    """All options and keys that there are not; Hydra itself stops at the first."""
    folders = [folder for folder in CONF.rglob("*") if folder.is_dir()]
    groups = {folder.relative_to(CONF).as_posix(): {file.stem for file in folder.glob("*.yaml")} for folder in folders}
    # Hydra's own groups have options that installed packages bring.
    groups = {name: options for name, options in groups.items() if not name.startswith("hydra")}
    pairs = [(key, value) for key, _, value in (o.partition("=") for o in overrides)]
    chosen = [f"{key}={value}" for key, value in pairs if value in groups.get(key, ())]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        known = {*groups, *_keys(OmegaConf.to_container(compose(config_name, chosen)))}
    messages = []
    for key, value in pairs:
        if key in groups and not {*value.split(",")} <= groups[key]:
            messages.append(f"{key} has no option {value!r}.\n{nearest(value, groups[key])}")
        elif key not in known and not key.startswith(("+", "~", "hydra")):
            parent, dot, last = key.rpartition(".")
            beside = {k.removeprefix(parent + dot) for k in known if k.rpartition(".")[0] == parent}
            hint = nearest(last, beside) if beside else nearest(key, known)
            hint = hint.replace("Did you mean ", f"Did you mean {parent}{dot}" if beside else "Did you mean ")
            messages.append(f"{key} is not a key of this config.\n{hint}")
    return messages


def _keys(node: object, prefix: str = "") -> Iterable[str]:
    for key, value in node.items() if isinstance(node, dict) else ():
        yield f"{prefix}{key}"
        yield from _keys(value, f"{prefix}{key}.")

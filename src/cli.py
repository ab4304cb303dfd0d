"""How a command ends: exit code 0 for done, 2 for a mistake of the user, 130 and 143 for signals, 1 for a bug."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.config import UserError, nearest

CONF = Path(__file__).resolve().parent.parent / "conf"


def run_command(main: Callable[[], None], config_name: str) -> None:
    """Runs a Hydra entry point and turns mistakes of the user into one message and exit code 2.

    Args:
        main: a function decorated with `hydra.main`.
        config_name: the config that it composes, for looking up the nearest valid key.
    """
    # With full errors Hydra hands exceptions on instead of printing them and exiting with 1.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    try:
        main()
    except UserError as error:
        fail(str(error))
    except (HydraException, OmegaConfBaseException) as error:
        fail(_all_config_problems(config_name, sys.argv[1:]) or str(error))


def fail(message: str) -> None:
    """Prints the message to standard error and exits with code 2."""
    print(message, file=sys.stderr)
    sys.exit(2)


def _all_config_problems(config_name: str, arguments: list[str]) -> str:
    """Hydra stops at the first override that it cannot apply; trying each by itself finds them all."""
    overrides = [a for a in arguments if not a.startswith("-") and "=" in a]
    chosen = [
        o for o in overrides if re.match(r"[\w/@]+=[\w/]+$", o) and (CONF / o.split("=")[0].split("@")[0]).is_dir()
    ]
    messages = []
    for override in overrides:
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(CONF), version_base="1.3"):
            try:
                compose(config_name, [*(c for c in chosen if c != override and _composes(config_name, c)), override])
            except (HydraException, OmegaConfBaseException) as error:
                messages.append(_explain(config_name, override, error))
    return "\n".join(messages)


def _composes(config_name: str, override: str) -> bool:
    try:
        compose(config_name, [override])
    except (HydraException, OmegaConfBaseException):
        return False
    return True


def _explain(config_name: str, override: str, error: Exception) -> str:
    key, _, value = override.lstrip("+~").partition("=")
    group = CONF / key
    if group.is_dir() and "," not in value:
        options = [p.stem for p in group.glob("*.yaml")]
        return f"{key} has no option {value!r}.\n{nearest(value, options)}"
    known = set(_keys(OmegaConf.to_container(compose(config_name))))
    known |= {p.name for p in CONF.iterdir() if p.is_dir()}
    if key not in known and "is not in struct" in f"{error} {error.__cause__}":
        return f"{key} is not a key of this config.\n{nearest(key, known)}"
    return f"{override} cannot be used: {error.__cause__ or error}"


def _keys(node: object, prefix: str = "") -> Iterable[str]:
    for key, value in node.items() if isinstance(node, dict) else ():
        yield f"{prefix}{key}"
        yield from _keys(value, f"{prefix}{key}.")

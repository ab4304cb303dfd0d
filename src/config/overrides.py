"""Overrides as the user means them, and what is wrong with those from which no config can be composed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from pathlib import Path

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import GrammarParseError, InterpolationResolutionError, OmegaConfBaseException

from src.config.folder import CONF
from src.config.quoting import REFERENCE, quoted
from src.config.validation import reference_problem
from src.errors import UserError, nearest

OVERLAYS = {"experiment", "sweep", "logger"}  # groups of which several options may be chosen
# Their values are names of columns or files, or delimiters, which may contain characters that are special to Hydra.
NAMES = {"data.text", "data.label", "text_column", "label_column", "data.path", "data.delimiter", "delimiter"}
OPEN = ("race.rates.", "race.training.", "freeze.options.")  # sections with keys of the user's own
FLAGS = {"cfg", "package", "config-path", "config-name", "config-dir", "experimental-rerun", "info"}  # Hydra's
# What brings the launchers and sweepers that Hydra itself does not have.
PLUGINS = {
    "hydra/launcher/joblib": "hydra-joblib-launcher",
    "hydra/launcher/submitit_local": "hydra-submitit-launcher",
    "hydra/launcher/submitit_slurm": "hydra-submitit-launcher",
    "hydra/sweeper/optuna": "hydra-optuna-sweeper",
}
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")

Quoting = Mapping[str, Callable[[str], str]]


def literal(overrides: Sequence[str], quoting: Quoting, multirun: bool = False) -> list[str]:
    """Returns the overrides with values quoted so that Hydra reads them as the user means them.

    Args:
        overrides: as they were given.
        quoting: by key, the function that quotes its value.
        multirun: values may be those of several runs.
    """
    found = []
    for override in overrides:
        key, equals, value = override.partition("=")
        quote = quoting.get(key) or (quoted if key in NAMES and _is_name(override, multirun) else None)
        found.append(f"{key}={quote(value)}" if quote and equals else override)
    return found


def _is_name(override: str, multirun: bool) -> bool:
    """Whether an override is a name that needs quotes: Hydra cannot parse it, or parses a sweep for a single
    run."""
    try:
        read = OverridesParser.create().parse_override(override)
    except HydraException:
        return True
    return bool(read.is_sweep_override()) and not multirun


def refuse_lists(overrides: Sequence[str]) -> None:
    """
    Raises:
        UserError: several options are chosen of a group that takes one; Hydra would merge them.
    """
    for key, _, value in (override.partition("=") for override in overrides):
        if value.startswith("[") and key not in OVERLAYS and key in options(CONF):
            raise UserError(
                f"{key} must be one of its options; got {value}.\n"
                f"To run each of them: python -m src.train -m {key}={value[1:-1]}."
            )


def refuse_dashes(arguments: Sequence[str]) -> None:
    """
    Raises:
        UserError: a key has dashes before it, as an option of most other programs.
    """
    for argument in arguments:
        if argument.startswith("--") and "=" in argument and argument[2:].partition("=")[0] not in FLAGS:
            raise UserError(f"Write each argument as KEY=VALUE; got {argument}.\nDid you mean {argument.lstrip('-')}?")


def explained(
    error: Exception, config_name: str, overrides: Sequence[str], folder: str = "run", more: Sequence[Path] = ()
) -> str:
    """Returns the message for an error of composing a config.

    Args:
        error: of Hydra, OmegaConf or a YAML file.
        config_name: of the command.
        overrides: from which it was to be composed.
        folder: the key of the folder that the command reads or writes.
        more: folders of the user's own with config files.
    """
    if isinstance(error, OverrideParseException) and "=" not in str(error.override):
        bare = str(error.override)
        return f"Write each argument as KEY=VALUE; got {bare}.\nDid you mean {_meant(bare, folder)}?"
    if wrong := _unread(error, overrides):
        return wrong
    if isinstance(error, InterpolationResolutionError):
        named = any(override.startswith("hydra.run.dir=") for override in overrides)
        return reference_problem(error, {} if named else {"hydra.run.dir": "run"})  # which refers to it
    if unknown := _unknown_names(config_name, overrides, more):
        return "\n".join(unknown)
    if isinstance(error, ConfigCompositionException) and str(error).startswith("Ambiguous value"):
        several = str(error).partition("'")[2].partition("'\n")[0]
        return (
            f"A run has one value of each key; got {several}.\nOne run per value: python -m src.train -m {several}. "
            "A list is written in brackets, [a,b], and a text with a comma in quotes."
        )
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        return _no_option(error.missing_cfg_file, error.options)
    if isinstance(error, HydraException | OmegaConfBaseException):
        return f"{error}\n{error.__cause__ or ''}".rstrip()
    if isinstance(error, yaml.YAMLError | UnicodeDecodeError | RecursionError):
        return f"A config file must be YAML in UTF-8 without duplicate keys; {error}.\nCorrect the file."
    return f"The config cannot be composed: {error}.\nCorrect the overrides."


def _unread(error: Exception, overrides: Sequence[str]) -> str | None:
    """Returns the message for an override that cannot be parsed; None for any other error."""
    broken = next((e for e in (error, error.__cause__) if isinstance(e, GrammarParseError)), None)
    if isinstance(error, OverrideParseException):
        given = str(error.override)
    elif broken is not None:
        by_key = {override.partition("=")[0].lstrip("+"): override for override in overrides}
        given = by_key.get(str(broken.full_key), str(error))
    else:
        return None
    if REFERENCE in given:
        return (
            f"A reference must be ${{KEY}}, with the name of a key and both braces; got {given}.\n"
            "Correct it, or for the characters themselves write \\${ in quotes: 'KEY=\"a\\${b\"'."
        )
    return (
        f"{error}\nWrite each argument as KEY=VALUE, with quotes around values that contain spaces or special "
        'characters: seed=1 text="a b" \'run="a=b"\'.'
    )


def _no_option(wanted: str, valid: Sequence[str]) -> str:
    """Returns the message for an option of one of Hydra's own groups, such as hydra/launcher, that is not there.

    Args:
        wanted: its path.
        valid: options of the group.
    """
    group, _, name = wanted.rpartition("/")
    if package := PLUGINS.get(wanted):
        return f"{group}={name} needs {package}, which is not installed.\npip install -e '.[sweeps]'"
    return f"{group} has no option {name!r}.\n{nearest(name, valid)}"


def _meant(bare: str, folder: str) -> str:
    """Returns what an argument without a key, or without a value, may have been meant to be."""
    if os.sep in bare or Path(bare).exists():
        return f"{folder}={bare}"
    groups = sorted(f"{group}={bare}" for group, names in options(CONF).items() if bare in names)
    groups += [f"trainer.precision={name}" for name in PRECISIONS if name.startswith(bare)]
    return " or ".join(groups) or f"{bare}=VALUE"


def _unknown_names(config_name: str, overrides: Sequence[str], more: Sequence[Path]) -> list[str]:
    """Returns a message for each unknown option and key; Hydra itself stops at the first."""
    ours, groups = options(CONF), options(CONF, *more)
    pairs = [(key, value) for key, _, value in (o.partition("=") for o in overrides if "=" in o)]
    chosen = [f"{key}={value}" for key, value in pairs if value in ours.get(key, ())]
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
            messages.append(f"{key} is not a key of this config.\n{_hint(key, known, values)}")
    return messages


def _hint(key: str, known: Set[str], values: Mapping[str, object]) -> str:
    """Returns what may have been meant by a key that the config does not have, as a sentence.

    Args:
        key: with dots.
        known: all keys and groups.
        values: of the keys.
    """
    parent, dot, last = key.rpartition(".")
    if having := _options_with(parent, last):
        return f"It belongs to {' or '.join(f'{parent}={option}' for option in having)}."
    if key.startswith(OPEN):
        return f"To add it: +{key}=…"
    if elsewhere := sorted(k for k in known if k.endswith(f".{key}")):
        return f"Did you mean {' or '.join(elsewhere)}?"
    if beside := {k.removeprefix(parent + dot) for k in known if k.rpartition(".")[0] == parent}:
        return nearest(last, beside, prefix=parent + dot)
    if parent in values:
        alone = "null" if values[parent] is None else values[parent]
        return f"{parent} has no keys, since it is {alone}; remove this one."
    return nearest(key, known)


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


def options(*roots: Path) -> dict[str, set[str]]:
    """Returns the options of each config group in these folders."""
    found: dict[str, set[str]] = {}
    for root in roots:
        for folder in (folder for folder in root.rglob("*") if folder.is_dir()):
            name = folder.relative_to(root).as_posix()
            # Installed packages add options to Hydra's own groups.
            if not name.startswith("hydra"):
                found.setdefault(name, set()).update(file.stem for file in folder.glob("*.yaml"))
    return found


def _values(node: object, prefix: str = "") -> Iterable[tuple[str, object]]:
    """Yields every node of a config by its dotted key."""
    for key, value in node.items() if isinstance(node, dict) else ():
        yield f"{prefix}{key}", value
        yield from _values(value, f"{prefix}{key}.")

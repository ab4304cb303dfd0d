"""`thaw train …` and `python -m thaw train …`: the same as `python -m src.train …`, from any folder."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from src import __version__

COMMANDS = ("train", "plan", "advise", "compare", "predict", "explain", "export", "activations")


def main() -> None:
    """Runs the command that the first argument names."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name == "--version":
        print(__version__)
    elif name in ("-sc", "--shell-completion"):
        _complete(arguments)
    elif name in ("-h", "--help"):
        print(f"thaw {{{','.join(COMMANDS)}}} [KEY=VALUE …]\n\nthaw COMMAND --help says what a command takes.")
    elif name in COMMANDS:
        if Path.cwd() != Path(__file__).resolve().parents[1]:
            os.environ["PYTHONSAFEPATH"] = "1"  # of the processes of jobs: a package src here is another one
        sys.argv = [f"src/{name}.py", *arguments]
        runpy.run_module(f"src.{name}", run_name="__main__", alter_sys=True)
    else:
        print(f"thaw must be followed by one of {', '.join(COMMANDS)}; got {name}.", file=sys.stderr)
        sys.exit(2)


def _complete(arguments: Sequence[str]) -> None:
    """Answers a shell that completes a line: names of commands, or what Hydra knows of one, which does not expect the
    command's name in the line."""
    line = os.environ.get("COMP_LINE", "")
    words = line.split()[1:]
    if line and (not words or words == [line.split(" ")[-1]]):
        print(*(name for name in COMMANDS if name.startswith(words[0] if words else "")))
    elif (name := words[0] if words else COMMANDS[0]) in COMMANDS and name != "activations":  # which has no config
        os.environ["COMP_LINE"] = line.replace(f" {name}", "", 1)
        sys.argv = ["thaw", "-sc", *arguments]
        runpy.run_module(f"src.{name}", run_name="__main__")  # with this program's name, which Hydra registers


if __name__ == "__main__":
    main()

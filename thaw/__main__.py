"""`thaw train …` and `python -m thaw train …`: the same as `python -m src.train …`, from any folder."""

from __future__ import annotations

import os
import runpy
import sys
from importlib.metadata import version
from pathlib import Path

COMMANDS = ("train", "plan", "advise", "compare", "predict", "explain", "export", "activations")


def main() -> None:
    """Runs the command that the first argument names."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name == "--version":
        print(version("thaw"))
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


if __name__ == "__main__":
    main()

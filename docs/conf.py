"""How the documentation is built: `make docs`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_extensions")]

from src import __version__  # noqa: E402

project = "Thaw"
author = copyright = "the Thaw authors"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "config_reference",
    "mathml",
]
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# The API reference: a page for each module of src, found by autosummary.
autosummary_generate = True
autodoc_default_options = {"members": True, "ignore-module-all": True}
autodoc_inherit_docstrings = False  # Lightning's and PyTorch's own are in their documentation
autodoc_member_order = "bysource"
# Two classes may share a name, such as Tokens; annotations then link to the first.
suppress_warnings = ["ref.python"]
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"Thaw {release}"
html_show_copyright = False
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["thaw.css"]
html_math_renderer = "mathml"


def as_literals(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings mark code with single backticks, as Markdown does; reStructuredText wants two."""
    lines[:] = [re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", line) for line in lines]


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-docstring", as_literals, priority=100)  # before napoleon reads them

"""Renders self-contained pages: one file, no network, all text escaped."""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import matplotlib
from markupsafe import Markup

from src.files.atomic import write_atomic
from src.pages.figures import write_png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, script: str | None = None, **values: Any) -> str:
    """Renders a template. Its Content-Security-Policy allows the given script and no other."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}  # the order of methods and labels is meaningful
    if script:
        content = (TEMPLATES / script).read_text(encoding="utf-8")
        digest = hashlib.sha256(content.encode()).digest()
        values |= {"script": Markup(content), "script_hash": Markup(base64.b64encode(digest).decode())}
    return environment.get_template(template).render(**values)


def save(figure: Figure, folder: Path, name: str) -> str:
    """Writes a figure as PNG and SVG, each atomically; returns the SVG in base64, to embed into a page.

    The same figure gives the same bytes; text is drawn as paths, so that names cannot become markup.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_png(figure, folder / f"{name}.png", dpi=130)
    drawn = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "thaw", "svg.fonttype": "path"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    write_atomic(folder / f"{name}.svg", drawn.getvalue())
    return base64.b64encode(drawn.getvalue()).decode()

"""Formulas as MathML, which browsers show by themselves: Sphinx's own renderers need a network or LaTeX."""

from __future__ import annotations

from typing import Any, NoReturn

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

log = logging.getLogger(__name__)


def inline(writer: Any, node: nodes.math) -> NoReturn:
    _write(writer, node, as_block=False)


def block(writer: Any, node: nodes.math_block) -> NoReturn:
    _write(writer, node, as_block=True)


def _write(writer: Any, node: nodes.Element, as_block: bool) -> NoReturn:
    try:
        writer.body.append(tex2mathml(node.astext(), as_block=as_block))
    except MathError as error:
        log.warning("a formula cannot be shown: %s", error, location=node)
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}

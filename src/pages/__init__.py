"""Shared by all pages: self-contained HTML, Markdown, and the style of figures."""

__all__ = [
    "figures",
    "html",
    "markdown",
]

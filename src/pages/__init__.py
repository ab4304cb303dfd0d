"""Shared by all pages: self-contained HTML, Markdown, and the style of figures."""

__all__ = [
    "cells",
    "figures",
    "html",
    "markdown",
]

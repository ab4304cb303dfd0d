"""What all pages share: HTML without network, Markdown, and the style of figures."""

__all__ = [
    "figures",
    "html",
    "markdown",
]

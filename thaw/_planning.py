"""Advice before any training, from Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from thaw._config import choosing, composed

if TYPE_CHECKING:
    from src.advice.advice import Advice


def advise(*overrides: str, data: Any = None) -> Advice:
    """Says before any training how far frozen layers go. The command also proposes experiments and writes a page.

    Args:
        overrides: as on the command line of `python -m src.advise`.
        data: as for `train`.

    Raises:
        UserError: something that was given cannot be used.
    """
    from src.advise import advise as advise_config

    return advise_config(composed("advise", [*choosing(data), *overrides]))

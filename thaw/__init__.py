"""Thaw in Python: `train`, `compare`, `advise` and `Predictor` do what `python -m src.train` and its siblings do.

    import thaw

    run = thaw.train("model=bert_linear", "freeze=all", data=frame)
    run.scores["accuracy"]
    run.predictor()(["The food was not bad at all."])

Names are imported when they are first used, so that `import thaw` takes no time.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from src.errors import UserError
    from src.prediction.predictor import Predictor
    from thaw._comparing import compare
    from thaw._planning import advise
    from thaw._training import Run, train

__all__ = ["Predictor", "Run", "UserError", "advise", "compare", "train"]

_src = find_spec("src")
if _src is None or _src.origin is None or Path(_src.origin).parents[1] != Path(__file__).parents[1]:
    raise ImportError(
        f"thaw needs the package src that it was installed with; {_src.origin if _src else 'nothing'} was found "
        "instead. Start Python in another folder, or with -P."
    )

_PLACES = {
    "Predictor": "src.prediction.predictor",
    "UserError": "src.errors",
    "Run": "thaw._training",
    "advise": "thaw._planning",
    "compare": "thaw._comparing",
    "train": "thaw._training",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'thaw' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return __all__

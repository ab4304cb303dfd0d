"""Why a model gives a text its labels: attention, attributions, faithfulness, and the page that shows them."""

__all__ = [
    "attention",
    "explanation",
    "faithfulness",
    "gradients",
    "inputs",
    "options",
    "page",
    "plots",
    "question",
    "scoring",
    "tokens",
    "windows",
    "writing",
]

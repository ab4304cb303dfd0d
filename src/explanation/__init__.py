"""Why a model gives a text its labels: attention, attributions, faithfulness, and the page that shows them."""

__all__ = [
    "attention",
    "explanation",
    "faithfulness",
    "gradients",
    "page",
    "plots",
    "scoring",
    "tokens",
    "windows",
]

"""From texts to padded batches: tokens, masks, order, and the LightningDataModules."""

__all__ = [
    "batching",
    "datamodule",
    "masking",
    "pieces",
    "ragged",
    "sampling",
    "text_problems",
    "tokenizing",
    "windows",
]

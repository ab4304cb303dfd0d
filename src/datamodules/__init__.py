"""From texts to padded batches: token ids, masking, the order of examples, and the LightningDataModules."""

__all__ = [
    "batching",
    "datamodule",
    "masking",
    "text_problems",
    "tokenizing",
]

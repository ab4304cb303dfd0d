"""Exports a finished run for transformers, sentence-transformers or ONNX, or as safetensors, with a model card; pushes
it to the hub."""

__all__ = [
    "card",
    "cross_validation",
    "formats",
    "loader",
    "native",
    "onnx_model",
    "pushing",
    "sentence_transformer",
    "standalone",
    "usage",
]

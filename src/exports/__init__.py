"""Exports a finished run as a transformers pipeline, ONNX or safetensors, with a model card; pushes it to the hub."""

__all__ = [
    "card",
    "cross_validation",
    "formats",
    "loader",
    "native",
    "onnx_model",
    "pushing",
    "standalone",
]

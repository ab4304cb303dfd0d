"""Exports a finished run as a transformers pipeline, ONNX or safetensors, with a model card."""

__all__ = [
    "card",
    "cross_validation",
    "formats",
    "loader",
    "native",
    "onnx_model",
    "standalone",
]

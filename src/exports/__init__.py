"""Writes a finished run for others: transformers pipelines, ONNX, safetensors, with a model card."""

__all__ = [
    "card",
    "formats",
    "loader",
    "native",
    "onnx_model",
    "standalone",
]

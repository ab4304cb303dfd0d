"""The network: pretrained or new encoders, their stages, heads, adapters, and the frozen prefix."""

__all__ = [
    "adapters",
    "backbone_files",
    "backbones",
    "build",
    "checks",
    "cpu_kernels",
    "frozen_prefix",
    "heads",
    "imports",
    "inference",
    "masked_language",
    "networks",
    "scratch",
    "stages",
    "weights",
]

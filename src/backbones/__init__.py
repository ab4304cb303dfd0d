"""Pretrained and new encoders: their files, loading, stages, and fast kernels for the CPU."""

__all__ = [
    "cpu_kernels",
    "integrity",
    "loading",
    "scratch",
    "source",
    "stages",
    "weights",
]

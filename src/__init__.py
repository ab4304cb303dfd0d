"""Thaw: which layers of a pretrained text encoder should I freeze for my data?"""

__version__ = "0.1.0"

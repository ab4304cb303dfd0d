"""Thaw: which layers of a pretrained text encoder should I freeze for my data?"""

import os

# oneDNN prepares each shape of a product anew when it has forgotten it, and batches of many lengths have more shapes
# than the 1,024 that it remembers by itself.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16384")
# It would let libraries that leave the choice to PyTorch run what a pickle asks for.
os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)

__version__ = "0.1.0"

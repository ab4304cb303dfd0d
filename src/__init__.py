"""Thaw: which layers of a pretrained text encoder should I freeze for my data?"""

import os

# oneDNN prepares each shape of a product anew when it has forgotten it, and batches of many lengths have more shapes
# than the 1,024 that it remembers by itself.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16384")

__version__ = "0.1.0"

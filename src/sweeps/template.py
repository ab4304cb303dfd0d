"""The process that the jobs of a sweep are forked from: it has imported what a training imports, and done nothing else.

Imported by that process alone. It names modules that this room neither uses nor may import.
"""

from __future__ import annotations

import importlib
import signal

from src.training.libraries import importing_libraries

MODULES = (
    *("datasets", "torch.utils.tensorboard", "transformers.models.bert.modeling_bert"),
    *("src.report.run", "src.sweeps.multirun", "src.training.fit", "src.training.parts"),
    *("src.modules.classifier", "src.modules.masked_language_model"),
)

interrupted = signal.signal(signal.SIGINT, signal.SIG_IGN)  # at Ctrl-C the sweep ends, and this process with it
with importing_libraries():
    for module in MODULES:
        importlib.import_module(module)
signal.signal(signal.SIGINT, interrupted)

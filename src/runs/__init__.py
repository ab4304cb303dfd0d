"""The run folder: its files, reading it safely, and resuming a run."""

__all__ = [
    "checkpoints",
    "convergence",
    "environment",
    "find",
    "folder",
    "identity",
    "moved_names",
    "new_folder",
    "pretrain_config",
    "results",
    "resuming",
    "saved_config",
    "write_guard",
]

"""The run folder: what is in it, how it is read back safely, and how a run is resumed."""

__all__ = [
    "checkpoints",
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

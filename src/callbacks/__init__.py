"""What Lightning calls during a training: phases, audit, checkpoints, early ends, progress."""

__all__ = [
    "audit",
    "divergence",
    "ending",
    "phases",
    "progress",
    "provenance",
    "random_states",
    "saving",
    "seconds",
    "stage_tables",
]

"""What runs and multiruns would cost, before they start."""

__all__ = ["tables", "totals"]

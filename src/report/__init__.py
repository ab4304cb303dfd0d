"""What a run shows: text reports and pictures."""

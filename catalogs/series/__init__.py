"""A quantity along a condition."""

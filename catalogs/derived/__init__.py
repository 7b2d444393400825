"""Values that are computed to be stored, and where they come from."""

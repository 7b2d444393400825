"""Tags, changed rows, differences, and the way back to an earlier state."""

"""Crystal structures: cells, symmetry, bonds."""

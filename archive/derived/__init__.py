"""Stored results, and the chains of operators that made them."""

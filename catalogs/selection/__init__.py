"""Rows of an answer as lazy arrays."""

"""Fits and tests over series of values."""

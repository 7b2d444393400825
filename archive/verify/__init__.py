"""Checks that an archive is what was written, and repair."""

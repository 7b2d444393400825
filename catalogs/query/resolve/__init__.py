"""Syntax tree to conditions on the fields of one archive."""

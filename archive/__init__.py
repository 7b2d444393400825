"""Bytes and numbers: readers, operators, spin models, and the store with all that reads and changes it."""

"""Bytes and numbers: store, layout, ingest, readers, operators, lazy apply."""

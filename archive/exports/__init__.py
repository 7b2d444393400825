"""Files for other tools, one module a format: what a reader of `archive.readers` would give back."""

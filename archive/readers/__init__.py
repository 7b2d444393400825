"""One file format per module; registry.py lists them."""

"""One analysis step per module; registry.py lists them."""

"""Spin models: exact, batched, numpy and scipy only."""

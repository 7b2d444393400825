"""Benchmarks: ratios to peers, measured side by side in one run. ``make bench`` runs them and writes docs/benchmarks.md."""

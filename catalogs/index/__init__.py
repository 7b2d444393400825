"""The DuckDB index of a snapshot."""

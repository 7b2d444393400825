"""Shared steps of operators."""

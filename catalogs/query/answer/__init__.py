"""Conditions to SQL, rows and counts."""

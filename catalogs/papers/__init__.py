"""Declarative papers: their figures and numbers computed again."""

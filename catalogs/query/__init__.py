"""The query language: from words to an answer with counts."""

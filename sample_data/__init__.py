"""The sample archive's raw files, and the code that made them."""

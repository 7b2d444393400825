"""Chains of operators: text, plan, run."""

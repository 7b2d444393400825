"""Operators over labelled lazy Datasets and over models."""

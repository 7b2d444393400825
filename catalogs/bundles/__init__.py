"""Selections as bundles, exports, and their verification."""

"""Composed scenes with ground truth, which need no download."""

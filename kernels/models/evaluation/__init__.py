"""Accuracy on sequences with masks: of dense inference, and of sparse inference against it."""

"""Benchmarks of the sparse executor and its operations, and the check that must pass before them."""

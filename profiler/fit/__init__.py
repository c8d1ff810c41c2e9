"""Fits to measured latencies: curves, their uncertainty, the noise around them, break-even."""

"""Measures kernels on this machine, fits latency models, writes profiles; see README.md in this folder."""

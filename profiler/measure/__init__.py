"""Measuring: devices, clocks and power, what is timed, the sampling itself, samples on disk."""

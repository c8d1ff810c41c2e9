"""Bandwidth traces: the two kinds, file formats, loading, conversion, synthetic traffic, statistics."""

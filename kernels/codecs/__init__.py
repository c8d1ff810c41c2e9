"""Pixels as bytes on a link: chosen blocks, whole frames, pixel deltas; the vectors of an H.264 stream."""

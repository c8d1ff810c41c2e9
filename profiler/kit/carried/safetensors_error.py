"""Reading safetensors files without the package of that name: its error."""

from __future__ import annotations


class SafetensorError(Exception):
    """A file that is no safetensors file, or a damaged one."""

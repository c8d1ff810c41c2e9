"""Modules that stand in for others inside the kit, where numba, safetensors or a later Python are missing."""

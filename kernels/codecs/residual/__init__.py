"""Blocks as residuals of what both ends of a link have: prediction, transform, arithmetic coder."""

from __future__ import annotations

from kernels.codecs.residual.codec import ResidualBlocks

__all__ = ["ResidualBlocks"]

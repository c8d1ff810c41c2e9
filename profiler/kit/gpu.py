"""Everything that a GPU is asked, in minutes."""

from __future__ import annotations

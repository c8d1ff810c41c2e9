"""Which version this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def package_version() -> str | None:
    """The installed version; None where the code runs without installation."""
    try:
        return version("fluxshard")
    except PackageNotFoundError:
        return None

"""Which code measures."""

from __future__ import annotations

import subprocess

from conf.search_path import checkout_folder


def sources_commit() -> str | None:
    """Commit of the kernels and the profiler, with ``+`` where they differ from it; None outside a checkout.

    An installed package has none, even where its environment lies inside somebody's repository.
    """
    here = checkout_folder()
    if here is None:
        return None

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ("git", "-C", str(here), *words), capture_output=True, text=True, timeout=10
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "--short=12", "HEAD")
    return commit and commit + ("+" if git("status", "--porcelain", "--", ":/kernels", ":/profiler") else "")

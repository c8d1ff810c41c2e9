"""Start of the kit: unpacks it once, checks what it unpacked, and runs the program."""

# Read by whatever Python a board has: nothing here is newer than 3.6, so that an old one is told what it
# lacks. Hence no `from __future__ import annotations` and no `X | None`.

import hashlib
import json
import os
import sys
import tempfile
import zipfile
import zlib
from typing import Any, List  # noqa: UP035

MANIFEST = "profiler/kit/manifest.json"


def unpacked(archive: str, places: List[str]) -> str:  # noqa: UP006
    """The folder with the kit's files: made once, and anew where a file is not the manifest's."""
    with zipfile.ZipFile(archive) as kit:
        manifest = json.loads(kit.read(MANIFEST).decode())
        reasons = []
        for place in places:
            folder = os.path.join(place, "kit-" + manifest["kit"])
            if is_whole(folder, manifest):
                return folder
            try:
                os.makedirs(place, exist_ok=True)
                aside = tempfile.mkdtemp(prefix=".kit-", dir=place)
                kit.extractall(aside)
                if not is_whole(aside, manifest):
                    sys.exit(
                        f"kit: {archive}: expected the files of its manifest, found others: copy it again"
                    )
                if os.path.isdir(folder):  # damaged: moved away, as another process may read it
                    os.rename(folder, tempfile.mkdtemp(prefix=".old-", dir=place) + "/kit")
                os.rename(aside, folder)
                return folder
            except OSError as error:
                if is_whole(folder, manifest):  # another process was faster
                    return folder
                reasons.append(f"{place} ({error})")
    sys.exit("kit: expected a folder to unpack to, found none: " + "; ".join(reasons))


def is_whole(folder: str, manifest: Any) -> bool:
    """Whether every file of the manifest lies in a folder, with the right content."""
    try:
        for name, digest in manifest["files"].items():
            with open(os.path.join(folder, name), "rb") as file:
                if hashlib.sha256(file.read()).hexdigest() != digest:
                    return False
        return os.path.isfile(os.path.join(folder, MANIFEST))
    except OSError:
        return False


def cache_places() -> List[str]:  # noqa: UP006
    """Where to unpack, best first."""
    named = os.environ.get("FLUXSHARD_CACHE")
    if named:
        return [named]
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return [os.path.join(place, "fluxshard") for place in (home, tempfile.gettempdir())]


if __name__ == "__main__":
    if sys.version_info < (3, 8):  # noqa: UP036
        sys.exit("kit: expected Python 3.8 or later, found " + sys.version.split()[0])
    try:
        sys.path[0] = unpacked(sys.path[0], cache_places())
    except (KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        sys.exit(f"kit: {sys.path[0]}: expected a whole file, found a damaged one ({error}): copy it again")
    from profiler.kit.program import main

    sys.exit(main())

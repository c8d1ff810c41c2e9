"""Keeping freed memory: without it, a 5 ms layer measures 9 to 19 ms, most of them page faults.

glibc gives large blocks back to the kernel as soon as they are freed, and a network frees and asks for
the same megabytes at every layer.
"""

from __future__ import annotations

import ctypes
import sys

# sys/mman.h of Linux
_MADV_HUGEPAGE = 14
_HUGE_PAGE_BYTES = 1 << 21
# malloc.h of glibc
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
KEPT_BYTES = 1 << 30


def keep_freed_memory() -> bool:
    """Tell glibc to keep up to 1 GiB of freed memory for this process, as MALLOC_MMAP_THRESHOLD_,
    MALLOC_TRIM_THRESHOLD_ and MALLOC_TOP_PAD_ would.

    Returns:
        Whether it listened; another C library is left as it is.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_MMAP_THRESHOLD, KEPT_BYTES), (_TRIM_THRESHOLD, KEPT_BYTES), (_TOP_PAD, 1 << 26))
    return all(mallopt(name, value) == 1 for name, value in settings)


def prefer_huge_pages(address: int, size_bytes: int) -> bool:
    """Ask Linux for 2 MiB pages behind [address, address + size_bytes), before they are first written.

    Reads that jump about a map, as the windows of scattered blocks do, then miss the translation cache less:
    YOLO11n-seg at 640² with 25 % of its blocks active, at random, takes 0.38 of dense instead of 0.42.

    Returns:
        Whether the kernel took the advice; without it nothing else changes.
    """
    first = -(-address // _HUGE_PAGE_BYTES) * _HUGE_PAGE_BYTES
    whole = (address + size_bytes - first) // _HUGE_PAGE_BYTES * _HUGE_PAGE_BYTES
    if whole <= 0 or not sys.platform.startswith("linux"):
        return False
    try:
        madvise = ctypes.CDLL(None).madvise
    except (OSError, AttributeError):
        return False
    return bool(madvise(ctypes.c_void_p(first), ctypes.c_size_t(whole), _MADV_HUGEPAGE) == 0)

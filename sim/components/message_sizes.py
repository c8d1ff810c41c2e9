"""Sizes of what comes down: results, and what the server says beside them."""

from __future__ import annotations

from typing import Any

from traces.errors import InputError

# A frame's result where no network runs, whose results would have a size: assumed, the papers do not count
# them.
RESULT_BYTES = 4096
NOTICE_BYTES = 16  # what the server says beside results: a message is of no use, a refresh is through


def result_bytes(chosen: int | None, result: Any) -> int:
    """What a result takes on the downlink.

    Args:
        chosen: by the system's options; None leaves it to the result.
        result: what the network in the loop made of a frame, as it is sent
            (:mod:`kernels.codecs.result_codec`); None where none runs: RESULT_BYTES are assumed.
    """
    if chosen is not None:
        return chosen
    return RESULT_BYTES if result is None else len(result)


def check_result_bytes(chosen: int | None) -> None:
    """Refuse an option `result_bytes` that is no size.

    Raises:
        InputError: it is negative.
    """
    if chosen is not None and chosen < 0:
        raise InputError(f"system.result_bytes: expected >= 0 bytes or null, found {chosen}")

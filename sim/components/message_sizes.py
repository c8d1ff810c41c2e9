"""Messages whose content is not modelled, only their size."""

from __future__ import annotations

RESULT_BYTES = 4096  # a frame's boxes and run-length masks on the downlink; the papers do not count them
NOTICE_BYTES = 16  # what the server says beside results: a message is of no use, a refresh is through

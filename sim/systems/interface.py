"""What systems have in common; what one is, the world says (:class:`sim.world.system.System`)."""

from __future__ import annotations

RESULT_BYTES = 4096  # a frame's boxes and run-length masks on the downlink; the papers do not count them

"""Work that does not depend on a run, done once for all jobs of a sweep and across sweeps.

A value is found under a key that says everything its bytes follow from (:mod:`~sim.shared_work.fingerprint`:
the code, the machine, the pixels), so that it can never be that of other code or other pixels. A run gives
the same bytes with and without it.
"""

from __future__ import annotations

from sim.shared_work.fingerprint import code_digest, digest
from sim.shared_work.store import NOTHING_KEPT, SharedWork, Store, open_store

__all__ = ["NOTHING_KEPT", "SharedWork", "Store", "code_digest", "digest", "open_store"]

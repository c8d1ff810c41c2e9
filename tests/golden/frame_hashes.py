"""The bytes of ``frames.parquet`` of every system, as hashes: what must not change unless it is meant to.

    python -m tests.golden.frame_hashes > tests/golden/tables/frame_hashes.csv

Each row is one run of the command line, one frame at a time. A row changes only together with a commit that
says why.
"""

from __future__ import annotations

import csv
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
TABLE = REPOSITORY / "tests" / "golden" / "tables" / "frame_hashes.csv"
COMMAND = (sys.executable, "-W", "ignore", "-m", "sim", "in_flight=1")
SCENE = ("frames=45", "seed=3")
COUNTS = ("video=statistical", "frames=400", "cameras=3", "seed=5")
FAULTS = ("link.outages_s=[[0.4,0.9]]", "server.crashes_s=[[1.2,1.4]]", "link.loss=0.02")
MEASURED = ("accuracy=measured", "frames=12")
ALONE = ("in_flight=1",)  # of systems that allow more
RUNS = {
    "fluxshard_ea scene": ("system=fluxshard_ea", *SCENE),
    "fluxshard_ea scene low": ("system=fluxshard_ea", "trace=low", "payload.codec=raw", *SCENE),
    "fluxshard_ea scene faults": ("system=fluxshard_ea", *SCENE, *FAULTS),
    "fluxshard_ea counts": ("system=fluxshard_ea", "link.sharing=fair", *COUNTS),
    "fluxshard_ea counts edge": ("system=fluxshard_ea", "trace=low", "payload.codec=raw", *COUNTS),
    "fluxshard_ea regret": ("system=fluxshard_ea", "regret=true", "scheduler=oracle", *SCENE),
    "fluxshard_ea still": ("system=fluxshard_ea", "matching.aligner=none", "scheduler=latency", *SCENE),
    "fluxshard_ea encoder": ("system=fluxshard_ea", "matching.aligner=h264", "estimator=kalman", *SCENE),
    "fluxshard_ea measured": ("system=fluxshard_ea", *MEASURED),
    "full_offload scene": ("system=full_offload", *ALONE, *SCENE),
    "full_offload jpeg": ("system=full_offload", *ALONE, "system.codec=jpeg", "estimator=harmonic", *SCENE),
    "full_offload h264": ("system=full_offload_h264", *SCENE, *FAULTS),
    "full_offload counts": ("system=full_offload", "system.codec=h264", *COUNTS),
    "full_offload measured": ("system=full_offload_h264", *MEASURED),
    "edge_only scene": ("system=edge_only", "arrival=queue", *SCENE),
    "edge_only counts": ("system=edge_only", "arrival=closed_loop", *COUNTS),
    "deltacnn scene": ("system=deltacnn", "cameras=2", *SCENE),
    "deltacnn low": ("system=deltacnn", "trace=low", "model=yolo11m-1024", *SCENE),
    "deltacnn measured": ("system=deltacnn", *MEASURED),
    "spinn scene": ("system=spinn", *ALONE, *SCENE),
    "spinn counts": ("system=spinn", *ALONE, "system.bits=8", *COUNTS),
    "coach scene": ("system=coach", *SCENE),
    "coach reuse": ("system=coach", "system.similarity=0.9", *SCENE),
    "coach split": ("system=coach", *ALONE, "system.variant=split", "estimator=oracle", *SCENE),
    "coach measured": ("system=coach", *MEASURED),
}


def run_hash(overrides: tuple[str, ...]) -> str:
    """SHA-256 of the ``frames.parquet`` that a run with these overrides leaves."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [
                sys.executable,
                "-W",
                "ignore",
                "-m",
                "sim",
                "in_flight=1",
                *overrides,
                f"hydra.run.dir={folder}",
            ],
            cwd=REPOSITORY,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return hashlib.sha256((Path(folder) / "frames.parquet").read_bytes()).hexdigest()


def recorded() -> dict[str, str]:
    """The committed hashes by run."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return {row["run"]: row["sha256"] for row in csv.DictReader(file)}


if __name__ == "__main__":
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("run", "sha256"))
    for name, overrides in RUNS.items():
        writer.writerow((name, run_hash(overrides)))
        sys.stdout.flush()

"""The bytes of ``frames.parquet`` of every system, as hashes: what must not change unless it is meant to.

    python -m tests.golden.frame_hashes > tests/golden/tables/frame_hashes.csv

Each row is one run of the command line, one frame at a time, with the codecs that the papers seem to have
used and without time for them. A row changes only together with a commit that says why. Columns that have
been added to the table since are left out, so that adding one changes no hash.
"""

from __future__ import annotations

import csv
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

REPOSITORY = Path(__file__).resolve().parent.parent.parent
TABLE = REPOSITORY / "tests" / "golden" / "tables" / "frame_hashes.csv"
ADDED = ("decode_s",)  # columns
COMMAND = (sys.executable, "-W", "ignore", "-m", "sim", "in_flight=1", "codec_time=none")
SCENE = ("frames=45", "seed=3")
COUNTS = ("video=statistical", "frames=400", "cameras=3", "seed=5")
FAULTS = ("link.outages_s=[[0.4,0.9]]", "server.crashes_s=[[1.2,1.4]]", "link.loss=0.02")
MEASURED = ("accuracy=measured", "frames=12", "system.result_bytes=4096")
COVERAGE = ("accuracy=coverage",)  # of all but those that are measured
ALONE = ("in_flight=1",)  # of systems that allow more
FULL_OFFLOAD = ("system=full_offload", "system.codec=png")
DELTACNN = ("system=deltacnn", "system.codec=delta")
COACH = ("system=coach", "system.codec=quantised")
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
    "fluxshard_ea margin": ("system=fluxshard_ea", "system.margin_px=16", *SCENE),
    "fluxshard_remap scene": ("system=fluxshard_remap", *SCENE),
    "fluxshard_remap faults": ("system=fluxshard_remap", "trace=low", *SCENE, *FAULTS),
    "fluxshard_remap perfect": ("system=fluxshard_remap", "system.proxy=perfect", *SCENE),
    "fluxshard_remap paths": ("system=fluxshard_remap", "system.paths=scheduler", "cameras=2", *SCENE),
    "fluxshard_remap measured": ("system=fluxshard_remap", *MEASURED),
    "full_offload scene": (*FULL_OFFLOAD, *ALONE, *SCENE),
    "full_offload jpeg": (
        "system=full_offload",
        *ALONE,
        "system.codec=jpeg_420",
        "estimator=harmonic",
        *SCENE,
    ),
    "full_offload h264": ("system=full_offload_h264", *SCENE, *FAULTS),
    "full_offload counts": ("system=full_offload_h264", *COUNTS),
    "full_offload measured": ("system=full_offload_h264", *MEASURED),
    "awstream scene": ("system=awstream", "system.empty_ticks=2", *SCENE),
    "awstream faults": ("system=awstream", "system.start_level=9", "trace.mean_mbps=2", *SCENE, *FAULTS),
    "edge_only scene": ("system=edge_only", "arrival=queue", *SCENE),
    "edge_only counts": ("system=edge_only", "arrival=closed_loop", *COUNTS),
    "deltacnn scene": (*DELTACNN, "cameras=2", *SCENE),
    "deltacnn low": (*DELTACNN, "trace=low", "model=yolo11m-1024", *SCENE),
    "deltacnn measured": (*DELTACNN, *MEASURED),
    "spinn scene": ("system=spinn", *ALONE, *SCENE),
    "spinn counts": ("system=spinn", *ALONE, "system.bits=8", *COUNTS),
    "coach scene": (*COACH, *SCENE),
    "coach reuse": (*COACH, "system.similarity=0.9", *SCENE),
    "coach split": ("system=coach", *ALONE, "system.variant=split", "estimator=oracle", *SCENE),
    "coach measured": (*COACH, *MEASURED),
}


def run_hash(overrides: tuple[str, ...]) -> str:
    """SHA-256 of the ``frames.parquet`` that a run with these overrides leaves."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [
                *COMMAND,
                *(() if "accuracy=measured" in overrides else COVERAGE),
                *overrides,
                f"hydra.run.dir={folder}",
            ],
            cwd=REPOSITORY,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        kept = Path(folder) / "kept.parquet"
        pd.read_parquet(Path(folder) / "frames.parquet").drop(columns=list(ADDED)).to_parquet(
            kept, index=False
        )
        return hashlib.sha256(kept.read_bytes()).hexdigest()


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

"""What each camera of a finished run comes to: its frames, its share of the link, its energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sim.assembly import Assembly
from sim.physics.radio import RadioUse, carried_bytes
from sim.records.camera_table import camera_table
from sim.records.energy import EdgeEnergy, edge_energy, together
from sim.records.fairness import jain_index
from sim.world.simulation import RunResult

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class CameraAccounts:
    """All cameras of a run.

    Args:
        table: of cameras.csv.
        energy: of all edges together.
        radio_extrapolated: whether a radio was faster than its model knows; None where there is none.
        ea_fairness, uplink_fairness: Jain's index of EA a captured frame, and of bytes carried up.
    """

    table: pd.DataFrame
    energy: EdgeEnergy
    radio_extrapolated: bool | None
    ea_fairness: float | None
    uplink_fairness: float | None


def camera_accounts(
    frames: pd.DataFrame, assembly: Assembly, result: RunResult, warmup_s: float = 0.0
) -> CameraAccounts:
    """Sum up each camera of a run.

    Args:
        frames: the table of frames.parquet.
        assembly: the world that the run was in.
        result: what the run left.
        warmup_s: when start-up is over: means and quantiles are over frames captured from then on.
    """
    up = _sent(result)
    down = _messages(result, "downlink", [activity.received_messages() for activity in result.activities])
    delay_s = assembly.simulation.downlink.conditions.delay_s  # what comes down is at the radio so much later
    completed = frames.loc[frames["outcome"] == "completed", "camera"].value_counts()
    radio = assembly.radio
    energies, uses, further = [], [], []
    for camera in range(len(result.activities)):
        late = down[camera] + np.array([delay_s, delay_s, 0.0])
        use = None if radio is None else radio.use(up[camera], late, result.simulated_s)
        busy_s = result.edge_busy_s[camera] + result.edge_background_s[camera]
        radio_j = None if use is None else use.energy_j
        with_radio = radio is None or use is not None  # one that is not known may be there
        energy = edge_energy(assembly.edge.power_w, busy_s, result.simulated_s, radio_j, with_radio)
        energies.append(energy)
        uses.append(use)
        further.append(
            {
                "uplink_carried_bytes": carried_bytes(up[camera], result.simulated_s),
                "edge_busy_ratio": busy_s / result.simulated_s if result.simulated_s > 0.0 else None,
                **energy_columns(energy, int(completed.get(camera, 0))),
                **_state_times(use),
            }
        )
    table = camera_table(frames, further, warmup_s)
    table["downlink_bytes"] += np.array(result.notice_bytes, dtype=np.int64)
    radios = [use for use in uses if use is not None]
    return CameraAccounts(
        table=table,
        energy=together(energies),
        radio_extrapolated=any(use.extrapolated for use in radios) if radios else None,
        # A camera without any result has got nothing.
        ea_fairness=jain_index([ea if ea == ea else 0.0 for ea in table["ea_per_captured"].astype(float)]),
        uplink_fairness=jain_index(table["uplink_carried_bytes"].tolist()),
    )


def energy_columns(energy: EdgeEnergy, frames_completed: int) -> dict[str, float | None]:
    """The parts of an energy by the names that they have in summary.json and cameras.csv."""
    return {
        "edge_energy_j": energy.total_j,
        "edge_compute_energy_j": energy.compute_j,
        "edge_idle_energy_j": energy.idle_j,
        "radio_energy_j": energy.radio_j,
        "edge_energy_per_frame_j": energy.per_frame_j(frames_completed),
    }


def _state_times(use: RadioUse | None) -> dict[str, Any]:
    return {} if use is None else {f"radio_{state}_s": seconds for state, seconds in use.seconds.items()}


def _sent(result: RunResult) -> list[NDArray[np.float64]]:
    """Begin, end and bytes of each camera's messages up, cut at the end of the run.

    What has left by then of those that are not through is what the link says, not a share of their time: an
    outage carries nothing. Links serve in the order in which messages begin.
    """
    end_s = result.simulated_s
    up = _messages(result, "uplink", [activity.up_messages() for activity in result.activities])
    under_way = [
        (messages[row, 0], camera, row)
        for camera, messages in enumerate(up)
        for row in np.flatnonzero(messages[:, 1] > end_s)
    ]
    left_bytes = result.uplink.carried_bytes - sum(
        float(messages[messages[:, 1] <= end_s, 2].sum()) for messages in up
    )
    for began_s, camera, row in sorted(under_way):
        carried_bytes = min(max(left_bytes, 0.0), up[camera][row, 2])
        left_bytes -= carried_bytes
        up[camera][row] = min(began_s, end_s), end_s, carried_bytes
    for camera, activity in enumerate(result.activities):
        pieces = activity.pieces()
        pieces = pieces[pieces[:, 0] < end_s]  # a link that has drained has carried more since
        pieces[:, 1] = np.minimum(pieces[:, 1], end_s)  # the packet that was leaving is counted whole
        up[camera] = np.concatenate((up[camera], pieces))
    return up


def _messages(
    result: RunResult, direction: str, beside: Sequence[NDArray[np.float64]]
) -> list[NDArray[np.float64]]:
    """Begin, end and bytes of each camera's messages: the frames' own, and what was noted beside them."""
    cameras, messages = result.table.messages(direction)
    order = np.argsort(cameras, kind="stable")
    bounds = np.searchsorted(cameras[order], np.arange(len(result.activities) + 1))
    own = [messages[order[begin:end]] for begin, end in pairwise(bounds)]
    return [np.concatenate(pair) for pair in zip(own, beside, strict=True)]

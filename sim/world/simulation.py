"""A run: cameras, links and processors put together, started, and summed up."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass

from simpy import Environment
from simpy.events import AllOf, Event

from sim.physics.link import Link, LinkStatistics
from sim.physics.processor import Processor
from sim.physics.radio import Activity
from sim.records.frame_table import FrameTable
from sim.world.camera import Camera

NOTHING_LEFT = "No scheduled events left"  # how SimPy begins to say that a run can get no further
INVALID_YIELD = 'Invalid yield value "'  # how SimPy begins to say that a process yielded no event


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run leaves, before anything is derived from it."""

    table: FrameTable
    simulated_s: float
    uplink: LinkStatistics
    downlink: LinkStatistics
    edge_busy_s: Sequence[float]
    edge_background_s: Sequence[float]
    cloud_busy_s: float
    cloud_background_s: float
    activities: Sequence[Activity] = ()
    notice_bytes: Sequence[int] = ()  # of each camera, down


@dataclass(slots=True, eq=False)
class Simulation:
    """A world ready to run.

    Args:
        env: its clock.
        cameras: the processes to run to their end.
        uplink, downlink: the shared links.
        edges: each camera's processor.
        cloud: the shared server.
        table: where frames are booked.
    """

    env: Environment
    cameras: Sequence[Camera]
    uplink: Link
    downlink: Link
    edges: Sequence[Processor]
    cloud: Processor
    table: FrameTable

    @property
    def in_flight(self) -> int:
        """How many frames of a camera may be under way."""
        return max(camera.in_flight for camera in self.cameras)

    def run(self, until_s: float | None = None, drain: bool = False) -> RunResult:
        """Run until every camera is through, or until `until_s`.

        Frames under way or waiting at `until_s` are booked as in flight. With `drain`, whatever is still
        under way beside the cameras (opportunistic messages, refreshes) is run to its end as well; the
        result's times and bytes are still those of the moment when the last camera was through.

        Raises:
            InputError: nothing can happen any more while frames are under way.
        """
        if until_s is not None and drain:
            raise ValueError("drain: expected false with until_s, since the cameras would go on")
        processes = [self.env.process(camera.run()) for camera in self.cameras]
        everyone = AllOf(self.env, processes)
        # What was built stays, and a run leaves few cycles: the collector need not look so often.
        gc.freeze()
        thresholds = gc.get_threshold()
        gc.set_threshold(100_000, *thresholds[1:])
        try:
            if until_s is None:
                self._run_to_end(everyone)
            else:
                self.env.run(until=until_s)
                for camera, process in zip(self.cameras, processes, strict=True):
                    if process.is_alive:
                        camera.stop(until_s)
            result = self._result()
            if drain:
                self.env.run()
        except RuntimeError as error:
            _, invalid, found = str(error).partition(INVALID_YIELD)
            if invalid and self.env.active_process in processes:
                camera = self.cameras[processes.index(self.env.active_process)]
                raise camera.wrong_yield(found.rstrip('"')) from None
            raise
        finally:
            gc.set_threshold(*thresholds)
            gc.unfreeze()
        return result

    def _run_to_end(self, everyone: Event) -> None:
        """Run until every camera is through; frames that wait for others that never come are let go."""
        while True:
            try:
                self.env.run(until=everyone)
            except RuntimeError as error:
                if not str(error).startswith(NOTHING_LEFT):
                    raise
            else:
                return
            if not any(camera.end_of_video() for camera in self.cameras):
                waiting = [oldest for camera in self.cameras if (oldest := camera.oldest()) is not None]
                raise min(waiting, key=lambda oldest: oldest[0])[1]

    def link_rates_bps(self, step_s: float = 0.1) -> list[tuple[float, float]]:
        """What the uplink could carry until now: (time, rate), the rate a mean over `step_s` from then on."""
        replay = self.uplink.replay
        times_s = [place * step_s for place in range(int(self.env.now / step_s) + 1)]
        return [(time_s, 8.0 * replay.capacity_bytes(time_s, time_s + step_s) / step_s) for time_s in times_s]

    def _result(self) -> RunResult:
        result = RunResult(
            table=self.table,
            simulated_s=float(self.env.now),
            uplink=self.uplink.statistics(),
            downlink=self.downlink.statistics(),
            edge_busy_s=[edge.critical_busy_s() for edge in self.edges],
            edge_background_s=[edge.background_busy_s() for edge in self.edges],
            cloud_busy_s=self.cloud.critical_busy_s(),
            cloud_background_s=self.cloud.background_busy_s(),
            activities=[camera.world.activity for camera in self.cameras],
            notice_bytes=[camera.world.activity.notice_bytes for camera in self.cameras],
        )
        self.table.seal()
        return result

"""Where codecs run: on a processor core beside the accelerator, one thread a camera and device.

Why not in the queue of the device's processor: that is the accelerator that networks run on (the papers'
boards have six CPU cores beside their GPU, a server dozens), and JPEG, PNG and H.264 libraries run on a core.
So encoding neither waits for a dense refresh nor holds one up, and a frame is encoded while the one before it
is inferred. One thread, because a camera's codec is one object with one state: the camera's frames are coded
one after another, in the order they ask. On the server every camera has a thread of its own: a shared one
would make a fleet of cameras wait for a core that a server has spare. Where inference itself runs on the CPU,
the codec is taken to have another core than that.
"""

from __future__ import annotations

from profiler.latency import CodecTime, Profile
from traces.notices import warn_once


class CodecLane:
    """One camera's codec thread on one device.

    Args:
        profile: knows how long codecs take; None: they take no time.
    """

    __slots__ = ("_profile", "_times", "free_s", "timed")

    def __init__(self, profile: Profile | None) -> None:
        self._profile = profile
        self.timed = profile is not None  # whether anything takes time here
        self._times: dict[tuple[str, str], CodecTime | None] = {}
        self.free_s = 0.0  # when the thread is through with what was asked of it

    def encoding_s(self, codec: str, pixels: float, size_bytes: float) -> float:
        """How long encoding so many pixels to so many bytes takes; 0 where nobody knows, which is said."""
        return self._seconds("encode", codec, pixels, size_bytes)

    def decoding_s(self, codec: str, pixels: float, size_bytes: float) -> float:
        """The same for decoding."""
        return self._seconds("decode", codec, pixels, size_bytes)

    def reserve(self, now_s: float, service_s: float) -> tuple[float, float]:
        """Have the thread work: from when, and until when."""
        began_s = max(now_s, self.free_s)
        self.free_s = began_s + service_s
        return began_s, self.free_s

    def time(self, way: str, codec: str) -> CodecTime | None:
        """What a codec takes to "encode" or "decode"; None: no time, or nobody knows, which is said."""
        if self._profile is None:
            return None
        try:
            return self._times[way, codec]
        except KeyError:
            time = self._times[way, codec] = self._look_up(self._profile, way, codec)
            return time

    def _seconds(self, way: str, codec: str, pixels: float, size_bytes: float) -> float:
        time = self.time(way, codec)
        return 0.0 if time is None else time.seconds(pixels, size_bytes)

    def _look_up(self, profile: Profile, way: str, codec: str) -> CodecTime | None:
        times = profile.codec_times(codec)
        found: CodecTime | None = None if times is None else getattr(times, way)
        if found is None:
            unknown = "encode or decode" if times is None else way
            warn_once(
                f"codec_time: the profile of {profile.model} on {profile.device} does not say how long it "
                f"takes to {unknown} {codec!r}, which is taken to be no time; codecs.yaml beside it "
                "may say it"
            )
        return found

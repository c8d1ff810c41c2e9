"""A user's package outside the project: one of everything that a YAML can name, in a folder of its own."""

from __future__ import annotations

from pathlib import Path

FILES = {
    "camera_lab/__init__.py": '"""Somebody\'s own experiments."""\n',
    "camera_lab/stripes.py": '''
"""Every other row of a frame crosses the uplink; the server repeats each."""

import zlib
from dataclasses import dataclass

import numpy as np

from sim import Outcome


class StripeEncoder:
    def __init__(self, level):
        self.level = level

    def encode(self, image):
        return zlib.compress(image[::2].tobytes(), self.level)


class StripeServer:
    """Remembers how many frames it has seen: state that only this system has."""

    def __init__(self, geometry):
        self.geometry, self.frames = geometry, 0

    def decode(self, data):
        self.frames += 1
        rows = np.frombuffer(zlib.decompress(data), np.uint8)
        return np.repeat(rows.reshape(-1, self.geometry.width_px, 3), 2, axis=0)


class Stripes:
    max_in_flight = 2

    @dataclass(frozen=True, slots=True)
    class Options:
        level: int = 6

    def __init__(self, context, options):
        self.total = context.geometry.blocks_total
        self.encoder = StripeEncoder(options.level)
        self.server = StripeServer(context.geometry)
        self.network = context.network()
        self.lottery = context.rng

    def process(self, frame, world):
        data = self.encoder.encode(frame.image)
        yield world.work_edge(1e-3 * self.lottery.random())
        yield world.send(len(data))
        image = self.server.decode(data)
        yield world.infer_cloud_dense()
        yield world.reply(128)
        result = self.network.dense(frame, lambda: image)
        return Outcome("cloud", self.total, self.total, 0, None, self.total, result=result)
''',
    "camera_lab/half.py": '''
"""Half of the active blocks, in the cloud wherever there is one."""

from dataclasses import dataclass

from sim.schedulers import ExecutionPath


class Half:
    @dataclass(frozen=True, slots=True)
    class Options:
        share: float = 0.5

    def __init__(self, objective, options):
        self.objective, self.share = objective, options.share

    def decide(self, observation):
        path, cost = ExecutionPath.CLOUD, observation.cloud
        if cost is None:
            path, cost = ExecutionPath.EDGE, observation.edge
        k = round(self.share * cost.active)
        return self.objective.decision(path, cost, k, cost.latency_s(k))
''',
    "camera_lab/last.py": '''
"""The last transfer, and nothing else."""

from dataclasses import dataclass


class Last:
    @dataclass(frozen=True, slots=True)
    class Options:
        cautious: float = 1.0

    def __init__(self, future, options):
        self.options, self.rate_bps = options, None

    def observe(self, size_bytes, seconds):
        self.rate_bps = self.options.cautious * 8 * size_bytes / max(seconds, 1e-3)

    def estimate_bps(self):
        return self.rate_bps
''',
    "camera_lab/letters.py": '''
"""A letter a second: a is 1 Mbit/s, b is 2, and so on."""

from dataclasses import dataclass

import numpy as np

from traces import InputError, RateTrace


class Letters:
    name = "letters"
    expects = "small letters, one a second"

    @dataclass(frozen=True, slots=True)
    class Options:
        unit_bps: float = 1e6

    def __init__(self, options):
        self.options = options

    def matches(self, sample_lines):
        return all(line.isalpha() for line in sample_lines)

    def read(self, path, direction, column):
        text = path.read_text().strip()
        if not text.isalpha():
            raise InputError(f"{path}:1: expected {self.expects}, found {text!r}")
        rates = np.array([ord(letter) - ord("a") + 1.0 for letter in text]) * self.options.unit_bps
        return RateTrace(path.name, np.arange(len(rates), dtype=float), rates, float(len(rates)))
''',
    "camera_lab/squeeze.py": '''
"""Blocks as deflated bytes."""

import zlib
from dataclasses import dataclass

import numpy as np


class Squeeze:
    name, code, quality, typical_block_bytes = "squeeze", 255, 0, 500.0

    @dataclass(frozen=True, slots=True)
    class Options:
        level: int = 1

    def __init__(self, options):
        self.level = options.level

    def encode(self, blocks):
        return zlib.compress(np.ascontiguousarray(blocks).tobytes(), self.level)

    def decode(self, data, count, block_px, channels):
        shape = (count, block_px, block_px, 3) if channels == 3 else (count, block_px, block_px)
        return np.frombuffer(zlib.decompress(data), np.uint8).reshape(shape)
''',
    "camera_lab/bright.py": '''
"""A network without training: whatever is bright is an object."""

from dataclasses import dataclass


class Bright:
    class_names, task, has_weights, size_multiple_px = ("bright",), "segmentation", True, 16

    @dataclass(frozen=True, slots=True)
    class Options:
        threshold: float = 0.5

    def __init__(self, options):
        self.threshold = options.threshold

    def load(self, weights):
        import torch

        blur = torch.nn.Conv2d(3, 1, 3, padding=1)
        torch.nn.init.constant_(blur.weight, 1 / 27)
        torch.nn.init.zeros_(blur.bias)
        return blur.eval()

    def interpret(self, outputs, height_px, width_px):
        from kernels.models import Segmentation

        return Segmentation((outputs[0, 0] > self.threshold).to("cpu").numpy().astype("uint8"))
''',
    "camera_lab/lamp.py": '''
"""A radio that draws the same whenever something is on the air, and nothing otherwise."""

from dataclasses import dataclass

from sim.physics.radio import RadioUse, merged


class Lamp:
    @dataclass(frozen=True, slots=True)
    class Options:
        on_w: float = 2.0

    def __init__(self, options):
        self.on_w = options.on_w

    def use(self, up, down, simulated_s):
        on_s = float(sum(end - begin for begin, end in merged(up, simulated_s)))
        return RadioUse({"on": on_s, "off": simulated_s - on_s}, {"on": self.on_w * on_s, "off": 0.0})
''',
    "system/stripes.yaml": (
        "# Every other row.\n_target_: camera_lab.stripes.Stripes\nlevel: 6\n"
        'display: {label: stripes, colour: "#117733"}\n'
    ),
    "scheduler/half.yaml": "_target_: camera_lab.half.Half\nshare: 0.5\nlambda_per_s: 6.9\n",
    "estimator/last.yaml": "_target_: camera_lab.last.Last\ncautious: 0.9\n",
    "trace/format/letters.yaml": "_target_: camera_lab.letters.Letters\nunit_bps: 1.0e+6\n",
    "trace/radio/lamp.yaml": "_target_: camera_lab.lamp.Lamp\non_w: 3.0\n",
    "payload/codec/squeeze.yaml": "_target_: camera_lab.squeeze.Squeeze\nlevel: 1\n",
    "model/network/bright.yaml": "_target_: camera_lab.bright.Bright\nthreshold: 0.5\n",
    "model/bright.yaml": (
        "profile: yolo11m-seg\nresolution_px: [640, 640]\nsplit: null\nnetwork: bright\n"
        "weights: null\nstand_in: null\n"
    ),
    "uplink.txt": "kzkzkz\n",
}

#: Runs through YAMLs alone: a system with its network and format; scheduler, estimator, codec and radio.
RUNS = (
    ("system=stripes", "model=bright", "accuracy=measured"),
    ("system=fluxshard_ea", "scheduler=half", "estimator=last", "payload.codec=squeeze", "trace.radio=lamp"),
)


def write_own_package(folder: Path) -> Path:
    """Write the package with its YAMLs and a trace; returns the folder, to be used as a --config-dir."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip("\n"), encoding="utf-8")
    return folder


def overrides(folder: Path, run: tuple[str, ...]) -> list[str]:
    """The command line of one of RUNS."""
    return [*run, "frames=6", "trace=file", f"trace.path={folder / 'uplink.txt'}", "trace.format=letters"]

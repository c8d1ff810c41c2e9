"""The same frames give the same vectors and the same bytes on the wire, in every process."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import hashlib
import numpy as np
from kernels.motion.classification import active_blocks
from kernels.codecs.frame_codecs import make_frame_codec
from kernels.motion.global_motion import estimate_global_motion
from kernels.codecs.block_payload import apply_blocks, decode_blocks, encode_blocks
from kernels.codecs.pixel_delta import PixelDeltaSender
from kernels.motion.search import search_motion
from kernels.motion.field import predict_vectors
from kernels.similarity import embed

digest = hashlib.sha256()
noise = np.random.default_rng(7).integers(0, 256, (30, 40, 3), dtype=np.uint8)
scene = noise.repeat(8, axis=0).repeat(8, axis=1)
proxy, predicted = scene[:192, :256], None
codecs = [make_frame_codec(name) for name in ("jpeg", "quantised", "h264")]
delta = PixelDeltaSender(0.05)
for i in range(1, 5):
    frame = scene[3 * i : 192 + 3 * i, 5 * i : 256 + 5 * i]
    field = search_motion(frame, proxy, predicted=predicted)
    predicted = predict_vectors(field.vectors, 1)
    wire = encode_blocks(frame, active_blocks(field, 0.01), field.vectors)
    proxy = apply_blocks(proxy, decode_blocks(wire))
    for array in (field.vectors, field.difference, proxy, embed(frame)):
        digest.update(array.tobytes())
    for data in (wire, delta.encode(frame).data, *(codec.encode(frame) for codec in codecs)):
        digest.update(data)
    digest.update(repr(estimate_global_motion(frame, proxy)).encode())
print(digest.hexdigest())
"""


def test_two_processes_leave_the_same_bytes(repository):
    digests = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT], cwd=repository, text=True, capture_output=True, check=True
        ).stdout
        for _ in range(2)
    ]
    assert len(digests[0]) == 65
    assert digests[0] == digests[1]

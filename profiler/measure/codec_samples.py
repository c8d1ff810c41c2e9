"""Times of codecs on the processor: really encoded and decoded messages of many sizes and qualities.

Whole frames in three sizes, and messages of blocks with their motion vectors (`jpeg_blocks` beside `jpeg`),
at the qualities that are in use; residual blocks against the frame before. What a message takes depends on
its pixels and on its bytes, and only messages in which both vary can tell them apart. H.264 is timed on
frames after a keyframe of the frame before it, or of one half a video away (much has changed), and as
`h264_keyframe` on keyframes; the pixel delta on a frame against the one before; `features` on feature maps of
the default network, where a pixel is a value. As everywhere in the profiler, repeats are interleaved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from profiler.fit.codec_fit import CodecSample
from profiler.latency.codec_times import BLOCKS, KEYFRAME
from profiler.latency.files import whole_file
from profiler.measure.devices import Clock
from profiler.measure.masks import FramePairs
from traces.errors import InputError

REPEATS = 9
SIDES = (0.5, 0.71, 1.0)  # of a whole frame
SHARES = (0.03, 0.1, 0.25, 0.6)  # of a frame's blocks
JPEG_QUALITIES = (50, 85, 95)
RESIDUAL_QUALITIES = (40, 70, 90)
RATE_FACTORS = (18, 23, 28)
BITS = (4, 6, 8)
CUTS = ("stem", "stage8", "up4")  # of the default network, whose features are coded
IMAGES = 2  # of the video
COLUMNS = ("codec", "way", "message", "repeat", "pixels", "size_bytes", "seconds")


@dataclass(frozen=True, slots=True, eq=False)
class CodedMessage:
    """Something to encode and decode, as often as one likes.

    `prepare` brings both codecs' states to where they were before the message; it is not timed.
    """

    codec: str
    pixels: int
    encode: Callable[[], bytes]
    decode: Callable[[bytes], object]
    prepare: Callable[[], None] = lambda: None


class CodecSink(Protocol):
    """Where samples of codecs go as they are taken."""

    def has_codec(self, codec: str, message: int, repeat: int) -> bool:
        """Whether a codec's message has been timed both ways in a repeat."""
        ...

    def add_codec(self, samples: Iterable[CodecSample]) -> None:
        """Keep samples of one message."""
        ...


def measure_codecs(
    pairs: FramePairs,
    clock: Clock,
    block_px: int = 16,
    repeats: int = REPEATS,
    seed: int = 0,
    without: Mapping[str, str] | None = None,
    sink: CodecSink | None = None,
) -> list[CodecSample]:
    """Time every codec on a video's frames.

    Args:
        pairs: frames, each with the one before it and the motion between them.
        clock: times a call.
        block_px: side of a block.
        repeats: of each message; one more comes before them and is not counted.
        seed: of the order.
        without: codecs that cannot be timed here, each with the reason.
        sink: is given each message's samples at once, and says which it has already.
    """
    messages = list(_messages(pairs, block_px, without or {}))
    numbers = own_numbers([one.codec for one in messages])
    order = np.random.default_rng(seed)
    samples = []
    for repeat in range(-1, repeats):
        for place in order.permutation(len(messages)).tolist():
            message, number = messages[place], numbers[place]
            if sink is not None and sink.has_codec(message.codec, number, repeat):
                continue
            message.prepare()
            data: list[bytes] = []
            encode_s = clock.seconds(lambda: data.append(message.encode()))  # noqa: B023 - called at once
            decode_s = clock.seconds(lambda: message.decode(data[0]))  # noqa: B023
            if repeat >= 0:
                common = number, repeat, message.pixels, len(data[0])
                samples.append(CodecSample(message.codec, "encode", *common, encode_s))
                samples.append(CodecSample(message.codec, "decode", *common, decode_s))
                if sink is not None:
                    sink.add_codec(samples[-2:])
    return samples


def own_numbers(codecs: Sequence[str]) -> list[int]:
    """Each message's number among those of its codec, which other codecs, here or missing, do not change."""
    counts: Counter[str] = Counter()
    numbers = []
    for codec in codecs:
        numbers.append(counts[codec])
        counts[codec] += 1
    return numbers


def write_codec_samples(samples: Sequence[CodecSample], provenance: Mapping[str, Any], path: Path) -> None:
    """Keep them beside a device's profiles: a table with the fields of `CodecSample` for columns.

    Args:
        samples: all that were taken.
        provenance: where they come from, for the profiles; kept in the file.
        path: a Parquet file.
    """
    import pandas as pd

    table = pd.DataFrame([asdict(sample) for sample in samples], columns=list(COLUMNS))
    table.attrs["provenance"] = dict(provenance)
    with whole_file(path) as part:
        table.to_parquet(part, index=False)


def read_codec_samples(path: Path) -> tuple[list[CodecSample], dict[str, Any]]:
    """What `write_codec_samples` wrote: samples and provenance.

    Raises:
        InputError: the file is no such table.
    """
    import pandas as pd

    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected a Parquet table of codec times, found {error}") from error
    if tuple(table.columns) != COLUMNS:
        raise InputError(
            f"{path}: expected the columns {', '.join(COLUMNS)}, found {', '.join(table.columns)}"
        )
    samples = [
        CodecSample(**{str(key): value for key, value in row.items()}) for row in table.to_dict("records")
    ]
    return samples, dict(table.attrs.get("provenance", {"kind": "measured", "source": str(path.name)}))


def _messages(pairs: FramePairs, block_px: int, without: Mapping[str, str]) -> Iterator[CodedMessage]:
    steps = np.linspace(0, len(pairs.frames) - 1, IMAGES).astype(int).tolist()
    for step in dict.fromkeys(steps):
        frame, before = pairs.frames[step], pairs.references[step]
        apart = pairs.frames[(step + len(pairs.frames) // 2) % len(pairs.frames)]
        for share in SIDES:
            height, width = (max(16, int(side * share) // 16 * 16) for side in frame.shape[:2])
            images = [image[:height, :width].copy() for image in (frame, before, apart)]
            yield from _stills(images[0], without)
            if "residual" not in without:
                yield from _residuals(images[0], block_px)
            if "quantised" not in without:
                yield from _quantised(images[0])
            if "delta" not in without:
                yield from _deltas(images[0], images[1], block_px)
            for crf in RATE_FACTORS if "h264" not in without else ():
                yield _stream(images[0], images[1], crf)
                yield _stream(images[0], images[2], crf)
                yield _stream(images[0], images[1], crf, keyframe=True)
        yield from _blocks(frame, before, pairs.vectors[step], pairs.difference[step], block_px, without)
        if "features" not in without:
            yield from feature_messages(frame)


def _still(name: str, image: NDArray[np.uint8], codec: Any) -> CodedMessage:
    return CodedMessage(name, image.shape[0] * image.shape[1], lambda: codec.encode(image), codec.decode)


def _stills(image: NDArray[np.uint8], without: Mapping[str, str]) -> Iterator[CodedMessage]:
    from kernels.codecs.frame_codecs import JpegCodec, PngCodec, RawCodec

    codecs: list[tuple[str, Any]] = [("raw", RawCodec()), ("png", PngCodec())]
    for quality in JPEG_QUALITIES:
        codecs.append(("jpeg", JpegCodec(quality)))
        codecs.append(("jpeg_420", JpegCodec(quality, full_colour=False)))
    yield from (_still(name, image, codec) for name, codec in codecs if name not in without)


def _residuals(image: NDArray[np.uint8], block_px: int) -> Iterator[CodedMessage]:
    from kernels.codecs.payload_frames import AllBlocks
    from kernels.codecs.residual import ResidualBlocks

    for quality in RESIDUAL_QUALITIES:
        yield _still("residual", image, AllBlocks(ResidualBlocks(ResidualBlocks.Options(quality)), block_px))


def _quantised(image: NDArray[np.uint8]) -> Iterator[CodedMessage]:
    from kernels.codecs.frame_codecs import QuantisedCodec

    yield from (_still("quantised", image, QuantisedCodec(bits, 4)) for bits in BITS)


def _deltas(image: NDArray[np.uint8], before: NDArray[np.uint8], block_px: int) -> Iterator[CodedMessage]:
    from kernels.codecs.pixel_delta import PixelDeltaReceiver, PixelDeltaSender

    pixels = image.shape[0] * image.shape[1]
    for threshold in (0.02, 0.15):
        sender, receiver = PixelDeltaSender(threshold, block_px=block_px), PixelDeltaReceiver()

        def prepare(sender: PixelDeltaSender = sender, receiver: PixelDeltaReceiver = receiver) -> None:
            sender.reference, receiver.reference = before.copy(), before.copy()

        def encode(sender: PixelDeltaSender = sender) -> bytes:
            return sender.encode(image).data

        yield CodedMessage("delta", pixels, encode, receiver.apply, prepare)


def feature_messages(frame: NDArray[np.uint8]) -> Iterator[CodedMessage]:
    """Feature maps of a frame in three sizes, after three stages of a network, in three precisions."""
    import torch

    from kernels.codecs.feature_codec import FeatureCodec
    from kernels.models.networks.staged import INPUT, load_staged

    staged = load_staged()
    for share in SIDES:
        height, width = (max(32, int(side * share) // 32 * 32) for side in frame.shape[:2])
        image = torch.from_numpy(frame[:height, :width].copy()).permute(2, 0, 1)[None].float() / 255
        for cut in CUTS:
            maps = staged.run({INPUT: image}, INPUT, cut)
            features = [tensor[0].numpy().copy() for tensor in maps.values()]
            values = sum(each.size for each in features)
            for bits in BITS:
                codec = FeatureCodec(bits)

                def encode(codec: FeatureCodec = codec, features: Any = features) -> bytes:
                    return codec.encode(features)

                yield CodedMessage("features", values, encode, codec.decode)


def _stream(
    image: NDArray[np.uint8], before: NDArray[np.uint8], crf: int, keyframe: bool = False
) -> CodedMessage:
    from kernels.codecs.frame_codecs import H264Codec

    codec = H264Codec(crf=crf)

    def prepare() -> None:
        codec.force_keyframe()
        codec.decode(codec.encode(before))
        if keyframe:
            codec.force_keyframe()

    pixels = image.shape[0] * image.shape[1]
    return CodedMessage(
        "h264" + KEYFRAME * keyframe, pixels, lambda: codec.encode(image), codec.decode, prepare
    )


def _blocks(
    frame: NDArray[np.uint8],
    before: NDArray[np.uint8],
    vectors: NDArray[np.int16],
    difference: NDArray[np.float32],
    block_px: int,
    without: Mapping[str, str],
) -> Iterator[CodedMessage]:
    from kernels.codecs.block_codecs import BlockCodec, block_codec
    from kernels.codecs.block_payload import decode_blocks, encode_blocks

    active = np.argsort(-difference, axis=None, kind="stable")  # the most different first, as they are sent
    for share in SHARES:
        indices = active[: max(1, round(share * active.size))]
        pixels = len(indices) * block_px**2

        def message(codec: BlockCodec, indices: Any = indices, pixels: int = pixels) -> CodedMessage:
            return CodedMessage(
                codec.name + BLOCKS,
                pixels,
                lambda: encode_blocks(frame, indices, vectors, codec, block_px, before),
                lambda data: decode_blocks(data, codec, before),
            )

        for name in ("raw", "png"):
            if name not in without:
                yield message(block_codec(name))
        for name in ("jpeg", "jpeg_420"):
            for quality in JPEG_QUALITIES if name not in without else ():
                yield message(block_codec(name, quality))
        if "residual" in without:
            continue
        from kernels.codecs.residual import ResidualBlocks

        for quality in RESIDUAL_QUALITIES:
            yield message(ResidualBlocks(ResidualBlocks.Options(quality)))

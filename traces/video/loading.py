"""Opening a video by its path: a clip or a folder of images."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from traces.errors import InputError
from traces.video.sequence import SizePx, VideoSequence, check_fps, check_size

CLIP_SUFFIXES = frozenset(
    {".3g2", ".3gp", ".apng", ".asf", ".avi", ".f4v", ".flv", ".gif", ".ivf", ".m2ts", ".m4v", ".mkv", ".mov"}
    | {".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".ogv", ".ts", ".vob", ".webm", ".wmv", ".y4m"}
)  # containers that know when a frame is shown, as bare H.264 and the like do not


def load_video(
    path: str | Path, size_px: SizePx = 640, fit: str = "letterbox", fps: float | None = None
) -> VideoSequence:
    """Open a clip or a folder of images.

    Args:
        path: a file that PyAV reads, or a folder: of images, with JPEGImages/ and Annotations/ (DAVIS),
            or with images/ and labels/ (CamVid).
        size_px: side of the square output, or (height, width); multiples of 16.
        fit: `letterbox` (grey bars), `stretch` or `crop`.
        fps: frames a second; the default is the clip's own rate, 24 for a DAVIS sequence and 30 for another
            folder.

    Raises:
        InputError: what `path` names does not exist or cannot be used, or an argument is out of range.
    """
    source = Path(path)
    check_size(size_px)
    if fps is not None:
        check_fps(fps)
    if source.is_dir():
        from traces.video.image_folder import ImageFolder

        return ImageFolder(source, size_px=size_px, fit=fit, fps=fps)
    if not source.exists():
        raise InputError(f"{source}: expected a video file or a folder of images, found nothing")
    if source.suffix.lower() not in CLIP_SUFFIXES:
        raise InputError(
            f"{source}: expected a folder of images or a clip ({', '.join(sorted(CLIP_SUFFIXES))}), "
            f"got a file with the suffix {source.suffix!r}"
        )
    from traces.video.video_file import VideoFile

    return cast(VideoSequence, VideoFile(source, size_px=size_px, fit=fit, fps=fps))

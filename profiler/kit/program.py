"""The board's program: its command line, and what it says when something is wrong."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any

from profiler import options
from traces.errors import InputError

# A value: a docstring is gone under python -OO, and whatever formats docstrings fills its columns.
HELP = """\
The measuring kit: times a model on this machine, into one samples file.

    python3 fluxshard-kit.pyz model=NAME [key=value ...]    measure; the same command resumes
    python3 fluxshard-kit.pyz check [device=cuda:0]         what is here, and whether every backend is right
    python3 fluxshard-kit.pyz gpu [out=FOLDER]              all that a GPU is asked, in 8 minutes at most

    model=NAME        yolo11n, yolo11n-seg, ... yolo11x-seg, default, default-tokens, default-keypoints,
                      pose, vit
    device=cuda:0     or cpu; without it cuda:0 where torch sees a GPU
    resolution=640    px, SIDE or HEIGHTxWIDTH, multiples of 16 (YOLO: of 32)
    precision=fp32    fp32, tf32 or fp16 (the last two on a GPU)
    weights=FILE      safetensors; without it seeded random ones
    policy=fixed      fixed, truncate or exact
    backend=NAME      reference, cpu, cuda or triton; without it the best that is here
    name=NAME         of the device, in the profile; without it the device's own name
    out=FILE          the samples file; without it DEVICE_MODEL.jsonl here
    repeats=15        rounds; each times every operation
    budget_s=240      after which no further round starts, once there are five
    threads=1         of the processor
    seed=0            of the weights, the masks and the order
    margin=16         px around the active blocks that sparse inference is also timed with; 0 for none
    codecs=true       time codecs, too
    clock=wall        or thread: processor time, for a machine that cannot be kept quiet (cpu, one thread)
    power_mode=NAME   refuse to measure in another (a Jetson's, as nvpmodel -q names it)
    fresh=true        start over where the file holds samples

Needs Python 3.8 and torch 1.13 or later, and numpy; a C++ compiler for the operations on a processor, nvcc
for those on a GPU. Weights do not change what inference takes: times with random ones are those of trained
ones. They say nothing about accuracy, and neither does anything that this program measures.

On the desk: python -m profiler refit FILE
"""

MEASURE: dict[str, options.Parser] = {
    **options.MEASURING,
    "margin": options.whole(0),
    "codecs": options.flag,
    "power_mode": str,
}
CHECK: dict[str, options.Parser] = {"device": str, "power_mode": str}
GPU: dict[str, options.Parser] = {
    "out": str,
    "budget_s": options.number(0.0, "seconds", above=True),
    "device": str,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the kit; 2 with one line on bad input, 130 where it was interrupted: what was measured is kept."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):  # a path that the terminal's alphabet lacks is no reason to stop
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        if not given or given[0] == "help" or {"-h", "--help"} & set(given):
            print(HELP, end="", flush=True)
            return 0 if given else 2
        _end_as_interrupted()
        if given[0] == "check":
            return _check(given[1:])
        if given[0] == "gpu":
            return _gpu(given[1:])
        return _measure(given)
    except InputError as error:
        print(f"kit: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("kit: interrupted; samples so far are kept, the same command resumes", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - the interpreter flushes it on its way out
        return 0


def _end_as_interrupted() -> None:
    """Have the end that a system or a lost connection brings go the way of Ctrl-C, parts included."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # nohup stays what it is
                signal.signal(number, interrupt)


def _say(line: str) -> None:
    print(line, flush=True)


def _check(arguments: Sequence[str]) -> int:
    words, values = options.parse(arguments, CHECK)
    if words:
        raise InputError(f"check: expected key=value, found {words[0]!r}")
    from profiler.kit.checks import check_board

    findings = check_board(values.get("device"), values.get("power_mode"), _say)
    return 0 if all(one.good is not False for one in findings) else 1


def _gpu(arguments: Sequence[str]) -> int:
    words, values = options.parse(arguments, GPU)
    if words:
        raise InputError(f"gpu: expected key=value, found {words[0]!r}")
    from profiler.kit.gpu import run_everything

    return run_everything(say=_say, **values)


def _measure(arguments: Sequence[str]) -> int:
    words, values = options.parse(arguments, MEASURE)
    if words:
        raise InputError(f"command: expected key=value, check or gpu, found {words[0]!r}")
    if "model" not in values:
        raise InputError("model: expected model=<name>, found none")
    from profiler.kit.measuring import BoardOptions, measure_board

    return measure_board(BoardOptions(**renamed(values)), _say)


def renamed(values: dict[str, Any]) -> dict[str, Any]:
    """Keys of the command as fields of `BoardOptions`, which carry their units."""
    names = {"resolution": "resolution_px", "margin": "margin_px"}
    return {names.get(key, key): value for key, value in values.items()}


if __name__ == "__main__":
    sys.exit(main())

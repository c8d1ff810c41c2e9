"""The command ``python -m sim``: one run, or a multirun over systems, networks, videos and devices."""

from __future__ import annotations

import difflib
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, OverrideParseException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from traces.errors import InputError

CONF = Path(__file__).resolve().parent.parent / "conf"
GROUPS = ("system", "trace", "video", "arrival", "scheduler", "estimator", "accuracy", "experiment")
BAD_INPUT, BUG, INTERRUPTED = 2, 3, 130


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="config")
def command(config: DictConfig) -> None:
    """Hydra's task: one run in its folder."""
    runtime = HydraConfig.get()
    single = runtime.mode == RunMode.RUN
    folder = Path(runtime.runtime.output_dir)
    try:
        _clear(folder)
        content = _plain(config)
        _run(content, folder, single, runtime)
    except Exception as error:
        if _wants_traceback():
            raise
        expected = isinstance(error, InputError)
        if not expected:
            traceback.print_exc()
        if single:
            if expected:
                print(f"error: {error}", file=sys.stderr)
            raise SystemExit(BAD_INPUT if expected else BUG) from None
        _record_failure(config, folder, error)
        print(f"job {runtime.job.num} failed: {error}", file=sys.stderr)


def _clear(folder: Path) -> None:
    """Remove what an earlier run left in the folder: after a failure it would look like this run's."""
    for name in ("summary.json", "frames.parquet", "timeline.json", "overlay.mp4", "run.png"):
        (folder / name).unlink(missing_ok=True)


def _plain(config: DictConfig) -> dict[str, Any]:
    try:
        content = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        key = error.full_key
        raise InputError(f"{key}: expected a value, found none; give it as {key}=...") from None
    except OmegaConfBaseException as error:
        problem = str(error).splitlines()[0]
        raise InputError(f"{error.full_key}: expected a value that can be resolved: {problem}") from None
    assert isinstance(content, dict)
    content.pop("experiment", None)
    return {str(key): value for key, value in content.items()}


def _run(content: Mapping[str, Any], folder: Path, single: bool, runtime: Any) -> None:
    from analysis.pictures import draw_runs
    from analysis.tables import summary_table
    from sim.assembly import assemble
    from sim.config import read_config
    from sim.records.summary import summarise, write_run

    config = read_config(content)
    began_s = time.perf_counter()
    with _progress(config.cameras) as progress:
        assembly = assemble(config, progress.on_frame, folder / "overlay.mp4")
        progress.begin(assembly.frames_per_camera)
        result = assembly.simulation.run()
    written = summarise(config, content, assembly, result, time.perf_counter() - began_s)
    write_run(folder, written)
    if assembly.overlay is not None:
        assembly.overlay.close()
    if assembly.timeline is not None:
        assembly.timeline.write(folder / "timeline.json")
    if single:
        draw_runs([folder], folder / "run.png")
        print(summary_table([written.summary]))
        extra = "".join(f", {name}" for name in ("timeline.json", "overlay.mp4") if (folder / name).exists())
        print(f"written to {folder}: summary.json, frames.parquet, run.png{extra}")
    else:
        summary = written.summary
        overrides = " ".join(runtime.overrides.task)
        print(f"job {runtime.job.num}: {overrides}: EA {summary['ea_mean']:.3f}, {summary['wall_s']:.1f} s")


def _record_failure(config: DictConfig, folder: Path, error: Exception) -> None:
    """Leave a failed job's summary: what it was, and why there is nothing else."""
    from sim.config import read_config
    from sim.records.summary import SUMMARY_KEYS, describe, write_summary

    summary: dict[str, Any] = dict.fromkeys(SUMMARY_KEYS)
    try:
        content = _plain(config)
        summary = describe(read_config(content), content)
    except InputError:
        system = config.get("system")
        summary.update(system=system.get("name") if system else None, seed=config.get("seed"))
    summary.update(status="failed", error=f"{type(error).__name__}: {error}")
    write_summary(folder, summary)


class MergeResults(Callback):
    """At the end of a multirun: one table of all jobs, in files and on the screen, and one picture."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Called by Hydra in the launching process."""
        from analysis.pictures import draw_runs
        from analysis.results import merge_results
        from analysis.tables import summary_table

        folder = Path(config.hydra.sweep.dir)
        merged = merge_results(folder)
        rows = [{str(key): value for key, value in row.items()} for row in merged.to_dict("records")]
        print(summary_table(rows))
        finished = [folder / str(row["folder"]) for row in rows if row["status"] == "completed"]
        picture = ""
        if finished:
            draw_runs(finished, folder / "runs.png")
            picture = ", runs.png"
        print(
            f"written to {folder.resolve()}: results.parquet, results.csv{picture}, and a folder for each job"
        )
        failed = len(rows) - len(finished)
        if failed:
            print(f"error: {failed} of {len(rows)} jobs failed; see the column error", file=sys.stderr)
            raise SystemExit(BAD_INPUT)


class _Progress:
    """Frames done, frames a second and time left, on a terminal; silent elsewhere."""

    def __init__(self, cameras: int) -> None:
        self._cameras = cameras
        self._last = [-1] * cameras
        self._bar: Any = None
        self.on_frame: Callable[[int, int], None] | None = self._step if sys.stderr.isatty() else None

    def begin(self, frames_per_camera: int) -> None:
        if self.on_frame is not None:
            from tqdm import tqdm

            total = self._cameras * frames_per_camera
            self._bar = tqdm(total=total, unit=" frames", file=sys.stderr, leave=False, mininterval=0.2)

    def _step(self, camera: int, frame: int) -> None:
        self._bar.update(frame - self._last[camera])
        self._last[camera] = frame

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


@contextmanager
def _progress(cameras: int) -> Iterator[_Progress]:
    progress = _Progress(cameras)
    try:
        yield progress
    finally:
        progress.close()


def check_choices(arguments: list[str]) -> str | None:
    """What is wrong with the named choices of a command line, in one line; None if nothing is.

    Hydra would say so, too, but over several lines and without the nearest names.
    """
    if any(argument.startswith(("--config-dir", "-cd", "--config-path", "-cp")) for argument in arguments):
        return None  # choices may lie elsewhere
    for argument in arguments:
        group, equals, value = argument.partition("=")
        if not equals or group not in GROUPS or any(sign in value for sign in "()[]{}$*"):
            continue
        known = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
        for name in (part.strip() for part in value.split(",")):
            if name not in (*known, "null"):
                near = difflib.get_close_matches(name, known, n=2)
                hint = f"; did you mean {' or '.join(near)}?" if near else ""
                return f"{group}: expected one of {', '.join(known)}, found {name!r}{hint}"
    return None


def main() -> None:
    """Entry point: bad input ends with exit code 2 and one line.

    FLUXSHARD_TRACEBACK=1 shows where an error came from.
    """
    problem = check_choices(sys.argv[1:])
    if problem:
        _end(problem)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # have Hydra raise its errors, which it would print over many lines
    if _wants_traceback():
        command()
        return
    try:
        command()
    except HydraException as error:
        _end(_one_line(error))
    except OSError as error:
        _end(f"hydra.run.dir: cannot write {error.filename}: {error.strerror}")
    except KeyboardInterrupt:
        print("interrupted; jobs that had finished keep their folders", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None


def _wants_traceback() -> bool:
    return os.environ.get("FLUXSHARD_TRACEBACK") == "1"


def _end(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(BAD_INPUT)


def _one_line(error: Exception) -> str:
    """Hydra's complaint about an override, in one line and with the nearest key."""
    text = str(error)
    unknown = re.search(r"Could not override '([^']+)'", text)
    if unknown is None:
        hint = ""
        if isinstance(error, OverrideParseException):
            hint = "; text with commas or other signs needs quotes: \"video.path='/a, b.mp4'\""
        return " ".join(text.split()).split(" See https")[0] + hint
    from sim.config import key_paths

    key = unknown.group(1)
    near = difflib.get_close_matches(key, key_paths(), n=2)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return f"{key}: expected a key of the configuration (--cfg job lists them), found {key!r}{hint}"


if __name__ == "__main__":
    main()

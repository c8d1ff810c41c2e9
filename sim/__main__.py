"""The command ``python -m sim``: one run, or a multirun over systems, networks, videos and devices."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from conf.version import package_version
from sim.command.earlier_results import clear, earlier
from sim.command.hydra_compose import (
    CONFIG,
    VERSION,
    add_modules,
    folders_beside_package,
    run_content,
    search_always,
)
from sim.command.hydra_messages import check_choices, refuse, refuse_file
from sim.command.hydra_sweep import OptionSweeper, prepare_sweeps, quoted
from sim.command.memory import give_memory_back
from sim.command.run_log import LOG, run_log, write_traceback
from sim.command.sweep_folder import SweepInterrupted, check_unused, read_plan
from sim.records.summary import git_sha
from traces.errors import InputError
from traces.notices import print_in_one_line

BAD_INPUT, BUG, INTERRUPTED = 2, 3, 130


@hydra.main(version_base=VERSION, config_path="pkg://conf", config_name=CONFIG)
def command(config: DictConfig) -> None:
    """Hydra's task: one run in its folder."""
    runtime = HydraConfig.get()
    single = runtime.mode == RunMode.RUN
    print_in_one_line()
    folder = Path(runtime.runtime.output_dir)
    clear(folder)
    with run_log(folder):
        try:
            _log_beginning(runtime)
            content = _content(config, runtime)
            _check_display(config)
            _run(content, folder, single, runtime)
            earlier.discard()
        except Exception as error:
            _fail(config, runtime, folder, error)
        except KeyboardInterrupt:
            LOG.error("interrupted")
            raise
    if not single:
        give_memory_back()


def _log_beginning(runtime: Any) -> None:
    LOG.info("fluxshard %s, commit %s, Python %s", package_version(), git_sha(), sys.version.split()[0])
    LOG.info("overrides: %s", _overrides(runtime) or "(none)")


def _overrides(runtime: Any) -> str:
    """What the run was given, as it was given: what is wrong with a value is said where the value is used."""
    given = OmegaConf.to_container(runtime.overrides.task, resolve=False)
    assert isinstance(given, list)
    return " ".join(map(str, given))


def _fail(config: DictConfig, runtime: Any, folder: Path, error: Exception) -> None:
    """Say what went wrong, on the screen and in the folder; a job's siblings go on.

    Raises:
        SystemExit: this is a single run.
    """
    expected = isinstance(error, InputError)
    single = runtime.mode == RunMode.RUN
    LOG.error("failed: %s", error, exc_info=error)
    write_traceback(folder, error)
    if not single:
        _record_failure(config, runtime, folder, error)
    if _wants_traceback():
        raise error
    if not expected:
        traceback.print_exception(error)
    if single:
        if expected:
            print(f"error: {error}", file=sys.stderr)
        raise SystemExit(BAD_INPUT if expected else BUG) from None
    print(f"job {runtime.job.num} failed: {error}", file=sys.stderr)


def _content(config: DictConfig, runtime: Any) -> dict[str, Any]:
    """The job's configuration; whatever launched the job, modules are found in the folders it searches."""
    sources = runtime.runtime.config_sources
    folders = [Path(source.path) for source in sources if source.schema == "file"]
    add_modules(folders)
    return run_content(config, runtime.runtime.choices, folders)


def _check_display(config: DictConfig) -> None:
    """Refuse how the system is to be shown now rather than after the run.

    Raises:
        InputError: its YAML says it wrongly.
    """
    from analysis.figures.display import read_display

    section = OmegaConf.to_container(config.system)
    if isinstance(section, dict):
        read_display(section.get("display"), "", "system.display")


def _run(content: Mapping[str, Any], folder: Path, single: bool, runtime: Any) -> None:
    from sim.command.single_run import run_once
    from sim.records.summary import write_run

    with _progress() as progress:
        finished = run_once(content, folder / "overlay.mp4", progress.begin, progress.on_frame)
    summary = finished.record.summary
    write_run(folder, finished.record)
    if finished.assembly.timeline is not None:
        rates_bps = finished.assembly.simulation.link_rates_bps()
        finished.assembly.timeline.write(folder / "timeline.json", finished.record.frames, rates_bps)
    if finished.assembly.inspection is not None:
        rates_bps = finished.assembly.simulation.link_rates_bps()
        finished.assembly.inspection.write(folder / "inspection", rates_bps)
    LOG.info(
        "completed: %s, %s, %s: %s of %s frames, EA %s (%s), %.1f s",
        *(
            summary[key]
            for key in ("system", "trace", "video", "frames_completed", "frames_captured", "ea_mean")
        ),
        summary["accuracy_ruler"],
        summary["wall_s"],
    )
    if single:
        from analysis.figures.pictures import draw_runs  # jobs of a sweep draw nothing
        from analysis.tables import summary_table

        draw_runs([folder], folder / "run.png")
        print(summary_table([summary]))
        extra = "".join(
            f", {name}" for name in ("timeline.json", "overlay.mp4", "inspection") if (folder / name).exists()
        )
        print(f"written to {folder}: summary.json, frames.parquet, cameras.csv, run.png, run.log{extra}")
    else:
        ea = "–" if summary["ea_mean"] is None else f"{summary['ea_mean']:.3f}"
        ruler = summary["accuracy_ruler"]
        print(f"job {runtime.job.num}: {_overrides(runtime)}: EA {ea} ({ruler}), {summary['wall_s']:.1f} s")


def _record_failure(config: DictConfig, runtime: Any, folder: Path, error: Exception) -> None:
    """Leave a failed job's summary: what it was, and why there is nothing else."""
    from sim.command.single_run import describe
    from sim.configuration import read_config
    from sim.records.summary import SUMMARY_KEYS, write_summary

    summary: dict[str, Any] = dict.fromkeys(SUMMARY_KEYS)
    try:
        content = _content(config, runtime)
        summary = describe(read_config(content), content)
    except InputError:
        summary.update(system=runtime.runtime.choices.get("system"), seed=config.get("seed"))
    summary.update(status="failed", error=f"{type(error).__name__}: {error}")
    write_summary(folder, summary)


class MergeResults(Callback):
    """What happens around a run or a multirun: folders are looked after, and a multirun's jobs merged."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Called by Hydra before it writes anything."""
        with _refusing():
            earlier.set_aside(Path(config.hydra.run.dir))

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Called by Hydra before it makes the jobs, in the launching process."""
        if not OptionSweeper.resuming:
            with _refusing():
                check_unused(Path(config.hydra.sweep.dir))

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """One table of all jobs, in files and on the screen, and one picture."""
        from analysis.figures.frontier import draw_frontier
        from analysis.figures.pictures import draw_runs
        from analysis.idle_seeds import seeds_without_effect
        from analysis.replicates import pooled_rows
        from analysis.results import merge_results, run_rows
        from analysis.tables import summary_table

        folder = Path(config.hydra.sweep.dir)
        merge_results(folder)
        rows = run_rows(folder)
        print(summary_table(pooled_rows(rows, folder)))
        if idle := seeds_without_effect(rows, folder):
            print(idle)
        finished = [folder / str(row["folder"]) for row in rows if row["status"] == "completed"]
        more = ", pooled.csv" if (folder / "pooled.csv").is_file() else ""
        if finished:
            draw_runs(finished, folder / "runs.png")
            more += ", runs.png"
            if OmegaConf.select(config, "experiment.frontier"):
                draw_frontier([folder], folder / "frontier.png")
                more += ", frontier.png"
        print(f"written to {folder.resolve()}: results.parquet, results.csv{more}, and a folder for each job")
        failed = len(rows) - len(finished)
        if failed:
            print(
                f"error: {failed} of {len(rows)} jobs failed; see the column error, and traceback.txt in the "
                "job's folder",
                file=sys.stderr,
            )
            raise SystemExit(BAD_INPUT)


class _Progress:
    """Frames done, frames a second and time left, on a terminal; silent elsewhere."""

    def __init__(self) -> None:
        self._last: dict[int, int] = {}  # frame, by camera
        self._bar: Any = None
        self.on_frame: Callable[[int, int], None] | None = self._step if sys.stderr.isatty() else None

    def begin(self, frames: int) -> None:
        if self.on_frame is not None:
            from tqdm import tqdm

            self._bar = tqdm(total=frames, unit=" frames", file=sys.stderr, leave=False, mininterval=0.2)

    def _step(self, camera: int, frame: int) -> None:
        self._bar.update(frame - self._last.get(camera, -1))
        self._last[camera] = frame

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


@contextmanager
def _progress() -> Iterator[_Progress]:
    progress = _Progress()
    try:
        yield progress
    finally:
        progress.close()


def main() -> None:
    """Entry point: bad input ends with exit code 2 and one line.

    FLUXSHARD_TRACEBACK=1 shows where an error came from.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # have Hydra raise its errors, which it would print over many lines
    try:
        with _terminated_like_interrupted():
            _command_line(sys.argv[1:])
    except InputError as error:
        if _wants_traceback():
            raise
        _end(str(error))
    except BrokenPipeError:  # the reader, `head` for instance, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if _wants_traceback():
            raise
        _end(f"hydra.run.dir: cannot write {error.filename}: {error.strerror}")
    except KeyboardInterrupt as interrupt:
        print(
            "interrupted" + (f": {interrupt}" if isinstance(interrupt, SweepInterrupted) else ""),
            file=sys.stderr,
        )
        raise SystemExit(INTERRUPTED) from None
    finally:
        if earlier.restore():
            print("note: the results that were in the folder are still there", file=sys.stderr)


@contextmanager
def _refusing() -> Iterator[None]:
    """End the command where something is wrong; Hydra passes over any other exception of a callback."""
    try:
        yield
    except Exception as error:
        if _wants_traceback():
            traceback.print_exc()
        _end(str(error))


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Have SIGTERM, which time limits send, end the command as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: Any) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _command_line(arguments: list[str]) -> None:
    """Hand the arguments to Hydra, but for folders of --config-dir and options that a sweep deals out.

    Raises:
        InputError: what Hydra refuses, in one line.
    """
    arguments = _resumed(arguments)
    OptionSweeper.arguments = tuple(arguments)
    arguments, given = _config_folders(arguments)
    folders = folders_beside_package(given)
    search_always(folders)
    check_choices(arguments, folders)
    arguments = prepare_sweeps(arguments)
    sys.argv[1:] = arguments
    try:
        command()
    except HydraException as error:
        if _wants_traceback():
            raise
        refuse(error, [part for part in arguments if not part.startswith("-")])
    except yaml.YAMLError as error:
        if _wants_traceback():
            raise
        refuse_file(error)


def _resumed(arguments: list[str]) -> list[str]:
    """The arguments of the sweep that --resume names, and what was given beside it (such as a launcher)."""
    rest, named = _option(arguments, ("--resume",))
    OptionSweeper.resuming = bool(named)
    if not named:
        return rest
    folder = Path(named[-1]).expanduser().resolve()
    plan = read_plan(folder)
    if Path(plan.cwd) != Path.cwd() and Path(plan.cwd).is_dir():
        print(f"note: in {plan.cwd}, where the sweep began", file=sys.stderr)
        os.chdir(plan.cwd)
    return [*plan.arguments, *rest, f"hydra.sweep.dir={quoted(str(folder))}"]


def _config_folders(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The arguments without --config-dir, which may be given several times, and its folders."""
    return _option(arguments, ("--config-dir", "-cd"))


def _option(arguments: list[str], names: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The arguments without an option that takes a folder, and the folders.

    Raises:
        InputError: the option without one.
    """
    rest: list[str] = []
    folders: list[str] = []
    words = iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if name not in names:
            rest.append(word)
            continue
        folder = value if equals else next(words, None)
        if not folder:
            raise InputError(f"{names[0]}: expected a folder, found none")
        folders.append(folder)
    return rest, folders


def _wants_traceback() -> bool:
    return os.environ.get("FLUXSHARD_TRACEBACK") == "1"


def _end(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(BAD_INPUT)


if __name__ == "__main__":
    main()

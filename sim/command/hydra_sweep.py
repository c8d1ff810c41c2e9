"""Sweeps: which jobs there are, which options each gets, and how an interrupted sweep goes on.

An option such as ``system.variant=split`` goes to those of the swept systems that have it and is skipped for
the others. Hydra would apply it to all, and before that to the default system, and refuse the sweep; so the
command holds options back until each job knows its system. Jobs that were to differ in nothing but an option
that is skipped run once. A key that is no group may be swept over files: ``trace.path=glob(traces/*.csv)``.
``replicates=8`` makes eight jobs of each, ``replicate=0`` to ``replicate=7``.
An experiment whose systems are swept over different keys has them in ``experiment.sweeps``, a list of lines
such as ``system=NAME payload.quality=50,85``: its jobs are those of all lines.

A sweep says in its folder what it is made of before its first job begins (:mod:`sim.command.sweep_folder`);
resumed, it runs the jobs that have no results yet, with the numbers that they had.
"""

from __future__ import annotations

import glob
import itertools
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, Quote, QuotedString
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from sim.command.hydra_compose import compose_sweep, option_keys
from sim.command.hydra_messages import OPTION, hint_at, left_out
from sim.command.sweep_folder import (
    FILE_KEYS,
    PlannedJob,
    SweepInterrupted,
    SweepPlan,
    check_files,
    file_states,
    has_finished,
    progress,
    read_plan,
    write_plan,
)
from sim.records.summary import git_sha
from traces.errors import InputError

_BASIC = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"  # Hydra's default
_FLAGS = ("-m", "--multirun", "-r", "--run")  # that go with a sweep; the others only show something


def prepare_sweeps(arguments: Sequence[str]) -> list[str]:
    """Have Hydra sweep with :class:`OptionSweeper`; the arguments without the options that it deals out.

    In a single run none is held back: there an option that the system lacks is a mistake. Several replicates
    are a sweep, whether -m says so or not.
    """
    if _replicates(arguments) and not any(part.startswith("-") for part in arguments):
        arguments = ["-m", *arguments]
    options = [part for part in arguments if OPTION.match(part)]
    rest = [part for part in arguments if part not in options]
    sweeps = bool(options) and _is_sweep(rest)
    OptionSweeper.held = tuple(options) if sweeps else ()
    Plugins.instance().class_name_to_class[_BASIC] = OptionSweeper  # in place of its own
    return rest if sweeps else list(arguments)


def _replicates(arguments: Sequence[str]) -> bool:
    """Whether several replicates are asked for."""
    return any(re.fullmatch(r"replicates=0*([2-9]|[1-9]\d+)", part) for part in arguments)


def _is_sweep(arguments: Sequence[str]) -> bool:
    """Whether these arguments, given to the command, start a sweep of Hydra's basic kind."""
    if any(part.startswith("-") and part not in _FLAGS for part in arguments):
        return False
    asked = any(part in ("-m", "--multirun") for part in arguments)
    try:
        hydra = compose_sweep([part for part in arguments if part not in _FLAGS]).hydra
    except HydraException:
        return asked  # Hydra will say what is wrong with the rest
    return (asked or hydra.mode == RunMode.MULTIRUN) and bool(hydra.sweeper._target_ == _BASIC)


class OptionSweeper(Sweeper):
    """Runs all combinations, as Hydra's basic sweeper does, or those of them that have not finished."""

    held: ClassVar[tuple[str, ...]] = ()  # of the command line
    arguments: ClassVar[tuple[str, ...]] = ()  # the whole of it, to be repeated
    resuming: ClassVar[bool] = False
    hydra_context: HydraContext
    config: DictConfig
    launcher: Launcher

    def __init__(self, max_batch_size: int | None, params: Mapping[str, str] | None = None) -> None:
        """Made by Hydra.

        Args:
            max_batch_size: jobs that are launched together; None: all.
            params: what to sweep over, from YAML.
        """
        self._max_batch_size = max_batch_size
        self._params = dict(params or {})
        self._composed: dict[tuple[str, ...], DictConfig] = {}
        self._files: set[str] = set()  # that the planned jobs read

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra before :meth:`sweep`."""
        self.hydra_context = hydra_context
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(hydra_context, task_function, config)

    def sweep(self, arguments: list[str]) -> list[Sequence[JobReturn]]:
        """Run all jobs; called by Hydra with the overrides of the command line.

        Raises:
            InputError: an option that none of the swept systems has.
            HydraException: a job cannot be composed; no job of its batch has begun.
        """
        jobs = self._plan(self._replicated(self._jobs(arguments)))
        folder = Path(self.config.hydra.sweep.dir)
        if OptionSweeper.resuming:
            numbers = self._unfinished(folder, jobs)
        else:
            states = file_states(self._files)
            write_plan(folder, SweepPlan(self.arguments, os.getcwd(), tuple(jobs), states))
            self.config.hydra.overrides.task.extend(self.held)
            OmegaConf.save(self.config, folder / "multirun.yaml")
            numbers = list(range(len(jobs)))
        try:
            return self._launch(jobs, numbers)
        except KeyboardInterrupt:
            raise SweepInterrupted(progress(folder, jobs)) from None
        except BaseException:
            print(progress(folder, jobs), file=sys.stderr)
            raise

    def _jobs(self, arguments: Sequence[str]) -> list[list[str]]:
        """The overrides of every job: all combinations, or those of each line of `experiment.sweeps`."""
        params = [f"{key}={value}" for key, value in self._params.items()]
        loader = self.hydra_context.config_loader
        parser = OverridesParser.create(config_loader=loader)
        jobs: list[list[str]] = []
        for line in _lines(self.config):
            overrides = parser.parse_overrides([*params, *line, *arguments, *self.held])
            dealt = self._deal_out(_combinations(overrides, loader))
            jobs += [job for job in dealt if job not in jobs]
        return jobs

    def _launch(self, jobs: Sequence[PlannedJob], numbers: Sequence[int]) -> list[Sequence[JobReturn]]:
        """Run the jobs with these numbers, ascending: each keeps its own, so neighbours go together."""
        returned = []
        runs = itertools.groupby(enumerate(numbers), key=lambda entry: entry[1] - entry[0])
        for neighbours in ([number for _, number in run] for _, run in runs):
            size = self._max_batch_size or len(neighbours)
            for first in range(0, len(neighbours), size):
                batch = neighbours[first : first + size]
                overrides = [list(jobs[number].overrides) for number in batch]
                returned.append(self.launcher.launch(overrides, initial_job_idx=batch[0]))
                for job in returned[-1]:
                    _ = job.return_value  # raises what the job raised
        return returned

    def _plan(self, jobs: Sequence[list[str]]) -> list[PlannedJob]:
        """Every job with its folder; composes them all, so that none begins where one is impossible."""
        planned = []
        for number, job in enumerate(jobs):
            config = self._whole(number, job)
            with _hydra_config(config):
                planned.append(PlannedJob(str(config.hydra.sweep.subdir), tuple(job)))
            with open_dict(config):
                del config["hydra"]
            values = _flat(OmegaConf.to_container(config))
            named = (value for key, value in values.items() if key.rpartition(".")[2] in FILE_KEYS)
            self._files.update(value for value in named if isinstance(value, str) and value != "???")
        return planned

    def _whole(self, number: int, job: Sequence[str]) -> DictConfig:
        """A job's configuration, as the launcher will make it."""
        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(job))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        return config

    def _unfinished(self, folder: Path, jobs: Sequence[PlannedJob]) -> list[int]:
        """The numbers of the jobs without results; says how many there are.

        Raises:
            InputError: the sweep in the folder is made of other jobs, or one that has finished would be
                another run today.
        """
        plan = read_plan(folder)
        for number, (job, other) in enumerate(itertools.zip_longest(jobs, plan.jobs)):
            if job != other:
                now, then = (" ".join(one.overrides) if one else "no such job" for one in (job, other))
                raise InputError(
                    f"--resume: expected the jobs of {folder}, where job {number} is {then!r}, found {now!r}"
                )
        numbers, commits = [], set()
        for number, job in enumerate(jobs):
            if not has_finished(folder / job.folder):
                numbers.append(number)
                continue
            commits.add(json.loads((folder / job.folder / "summary.json").read_text("utf-8")).get("git_sha"))
            config = self._whole(number, job.overrides)
            with open_dict(config):
                del config["hydra"]
            _check_same(folder / job.folder, config)
        if commits:
            check_files(plan)
        print(
            f"resuming {folder}: {len(jobs) - len(numbers)} of {len(jobs)} jobs have finished",
            file=sys.stderr,
        )
        if commits - {git_sha()}:
            print("note: the finished jobs are of another commit of this project", file=sys.stderr)
        return numbers

    def _deal_out(self, jobs: list[list[str]]) -> list[list[str]]:
        """The jobs without the options that their systems lack."""
        wanted = {found["key"]: found for found in map(OPTION.match, jobs[0]) if found}
        if not wanted:
            return jobs
        configs = [self._compose(job) for job in jobs]
        for key, option in wanted.items():
            _check_known(key, option, configs)
        kept: list[list[str]] = []
        skipped: dict[str, set[str]] = {}
        repeated = 0
        for job, config in zip(jobs, configs, strict=True):
            lacking = [
                key for key, option in wanted.items() if option["option"] not in _options(config, option)
            ]
            for key in lacking:
                skipped.setdefault(key, set()).add(_chosen(config, wanted[key]))
            added = [
                key for key, option in wanted.items() if option["option"] in left_out(config, option["group"])
            ]
            rest = [
                f"+{part}" if part.partition("=")[0] in added else part
                for part in job
                if part.partition("=")[0] not in lacking
            ]
            if lacking and rest in kept:
                repeated += 1
            else:
                kept.append(rest)
        if skipped:
            print(_note(skipped, repeated), file=sys.stderr)
        return kept

    def _replicated(self, jobs: list[list[str]]) -> list[list[str]]:
        """Every job as often as it asks for, the replicates of a configuration one after the other.

        Raises:
            InputError: replicates are swept over, or one of them is chosen beside all.
        """
        if len({part for job in jobs for part in job if part.startswith("replicates=")}) > 1:
            raise InputError("replicates: expected one number for the whole sweep, found several")
        made: list[list[str]] = []
        for job in jobs:
            config = self.hydra_context.config_loader.load_sweep_config(self.config, list(job))
            count, chosen = config.replicates, config.replicate
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise InputError(f"replicates: expected a whole number >= 1, found {count!r}")
            if count == 1:
                made.append(job)
                continue
            if chosen is not None:
                raise InputError(
                    f"replicate: expected none beside replicates={count}, which makes all of them, "
                    f"found {chosen}"
                )
            made.extend([*job, f"replicate={number}"] for number in range(count))
        return made

    def _compose(self, job: Sequence[str]) -> DictConfig:
        """A job's configuration as far as its choices of groups go."""
        loader = self.hydra_context.config_loader
        choices = tuple(part for part in job if _names_group(part, loader))
        if choices not in self._composed:
            self._composed[choices] = loader.load_sweep_config(self.config, list(choices))
        return self._composed[choices]


def _combinations(overrides: Sequence[Override], loader: Any) -> list[list[str]]:
    """All combinations of swept values, the last key's fastest; of a key given twice, the later counts.

    Raises:
        InputError: a sweep over an interval, or one that matches nothing.
    """
    values: dict[str, list[str]] = {}
    for override in overrides:
        key = override.get_key_element()
        if not override.is_sweep_override():
            values[key] = [f"{key}={override.get_value_element_as_str()}"]
            continue
        if not override.is_discrete_sweep():
            raise InputError(f"{key}: expected values to sweep over, found {override.get_value_string()!r}")
        pattern = override.value()
        if isinstance(pattern, Glob) and not loader.get_group_options(override.key_or_group):
            chosen = [quoted(path) for path in _files(pattern)]
        else:
            chosen = list(override.sweep_string_iterator())
        if not chosen:
            raise InputError(
                f"{key}: expected something to sweep over, found nothing that matches "
                f"{override.input_line.partition('=')[2] if override.input_line else ''}"
            )
        values[key] = [f"{key}={value}" for value in chosen]
    return [list(job) for job in itertools.product(*values.values())]


def _lines(config: DictConfig) -> list[list[str]]:
    """The lines of `experiment.sweeps`, each a sweep of its own; one empty line where there are none.

    Raises:
        InputError: they are no list of texts.
    """
    lines = OmegaConf.select(config, "experiment.sweeps")
    if lines is None:
        return [[]]
    if not isinstance(lines, ListConfig) or not all(isinstance(line, str) for line in lines) or not lines:
        raise InputError(
            f"experiment.sweeps: expected a list of lines as for the command line, found {lines!r}"
        )
    return [shlex.split(line) for line in lines]


def _files(pattern: Glob) -> list[str]:
    """Files and folders that match; numbers in their names sort as numbers."""

    def texts(patterns: Sequence[str | QuotedString]) -> list[str]:
        return [os.path.expanduser(one.text if isinstance(one, QuotedString) else one) for one in patterns]

    def matching(patterns: Sequence[str | QuotedString]) -> set[str]:
        return {path for text in texts(patterns) for path in glob.glob(text, recursive=True)}

    def parts(path: str) -> list[tuple[int, str]]:
        return [(int(part) if part.isdecimal() else 0, part) for part in re.split(r"([0-9]+)", path)]

    def is_left_out(path: str) -> bool:
        """By a pattern of its path or, as of options of a group, of its name."""
        names = path, Path(path).name
        return any(fnmatchcase(name, one) for one in texts(pattern.exclude) for name in names)

    found = matching(pattern.include) - matching(pattern.exclude)
    return sorted((path for path in found if not is_left_out(path)), key=parts)


def quoted(text: str) -> str:
    """A text as a value of Hydra's grammar, whatever signs are in it."""
    return QuotedString(text, Quote.single).with_quotes()


def _check_same(folder: Path, config: DictConfig) -> None:
    """Check that a finished job would be the same run today.

    Raises:
        InputError: its configuration has changed.
    """
    path = folder / ".hydra" / "config.yaml"
    then, now = (_flat(OmegaConf.to_container(one)) for one in (OmegaConf.load(path), config))
    for key in sorted({*then, *now}):
        if ".display." not in key and then.get(key) != now.get(key):
            raise InputError(
                f"--resume: expected job {folder.name} as it ran, with {key}={then.get(key)!r}, found "
                f"{now.get(key)!r} today; a new sweep needs a folder of its own"
            )


def _flat(content: Any, before: str = "") -> dict[str, Any]:
    """Nested mappings as one, its keys joined by dots."""
    if not isinstance(content, dict) or not content:
        return {before: content}
    return {
        key: value
        for name, part in content.items()
        for key, value in _flat(part, f"{before}.{name}" if before else str(name)).items()
    }


@contextmanager
def _hydra_config(config: DictConfig) -> Iterator[None]:
    """While it lasts, `${hydra:…}` means this configuration's."""
    state = HydraConfig.instance()
    before = state.cfg
    state.set_config(config)
    try:
        yield
    finally:
        state.cfg = before


def _names_group(override: str, loader: Any) -> bool:
    key = override.partition("=")[0].lstrip("+~")
    return "/" in key or (re.fullmatch(r"\w+", key) is not None and bool(loader.get_group_options(key)))


def _options(config: DictConfig, option: re.Match[str]) -> tuple[str, ...]:
    """What the YAML holds, and what it leaves at the class's defaults."""
    group = option["group"]
    return (*option_keys(config, group), *left_out(config, group))


def _chosen(config: DictConfig, option: re.Match[str]) -> str:
    return str(config.hydra.runtime.choices.get(option["group"]))


def _check_known(key: str, option: re.Match[str], configs: Sequence[DictConfig]) -> None:
    known = sorted({name for config in configs for name in _options(config, option)})
    if option["option"] not in known:
        group = option["group"]
        swept = ",".join(dict.fromkeys(_chosen(config, option) for config in configs))
        raise InputError(
            f"{key}: expected one of the keys {', '.join(known) or '(none)'} of {group}={swept}, "
            f"found {option['option']!r}{hint_at(option['option'], known, f'{group}.')}"
        )


def _note(skipped: dict[str, set[str]], repeated: int) -> str:
    parts = [f"{key} skipped for {', '.join(sorted(names))}" for key, names in skipped.items()]
    same = f"; {repeated} job(s) that differed in nothing else are left out" if repeated else ""
    return f"note: {'; '.join(parts)}: no such option there{same}"

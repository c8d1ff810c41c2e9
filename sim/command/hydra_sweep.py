"""Sweeps over systems (schedulers, estimators) that have different options.

An option such as ``system.variant=split`` goes to those of the swept systems that have it and is skipped for
the others. Hydra would apply it to all, and before that to the default system, and refuse the sweep; so the
command holds options back until each job knows its system. Jobs that were to differ in nothing but an option
that is skipped run once.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig, OmegaConf

from sim.command.hydra_compose import compose_sweep, option_keys
from sim.command.hydra_messages import OPTION, hint_at, left_out
from traces.errors import InputError

_BASIC = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"  # Hydra's default
_FLAGS = ("-m", "--multirun", "-r", "--run")  # that go with a sweep; the others only show something


def prepare_sweeps(arguments: Sequence[str]) -> list[str]:
    """Have Hydra sweep with :class:`OptionSweeper`; the arguments without the options that it deals out.

    In a single run none is held back: there an option that the system lacks is a mistake.
    """
    options = [part for part in arguments if OPTION.match(part)]
    rest = [part for part in arguments if part not in options]
    sweeps = bool(options) and _is_sweep(rest)
    OptionSweeper.held = tuple(options) if sweeps else ()
    Plugins.instance().class_name_to_class[_BASIC] = OptionSweeper  # in place of its own
    return rest if sweeps else list(arguments)


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
    """Runs all combinations, as Hydra's basic sweeper, with options given only to the jobs that know them."""

    held: ClassVar[tuple[str, ...]] = ()  # of the command line
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
        params = [f"{key}={value}" for key, value in self._params.items()]
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        jobs = self._deal_out(_combinations(parser.parse_overrides([*params, *arguments, *self.held])))
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        self.config.hydra.overrides.task.extend(self.held)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        returned = []
        size = self._max_batch_size or len(jobs)
        for first in range(0, len(jobs), size):
            batch = jobs[first : first + size]
            self.validate_batch_is_legal(batch)
            returned.append(self.launcher.launch(batch, initial_job_idx=first))
            for job in returned[-1]:
                _ = job.return_value  # raises what the job raised
        return returned

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

    def _compose(self, job: Sequence[str]) -> DictConfig:
        """A job's configuration as far as its choices of groups go."""
        loader = self.hydra_context.config_loader
        choices = tuple(part for part in job if _names_group(part, loader))
        if choices not in self._composed:
            self._composed[choices] = loader.load_sweep_config(self.config, list(choices))
        return self._composed[choices]


def _combinations(overrides: Sequence[Override]) -> list[list[str]]:
    """All combinations of swept values, the last key's fastest; of a key given twice, the later counts."""
    values: dict[str, list[str]] = {}
    for override in overrides:
        key = override.get_key_element()
        if not override.is_sweep_override():
            values[key] = [f"{key}={override.get_value_element_as_str()}"]
        elif override.is_discrete_sweep():
            values[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
        else:
            raise InputError(f"{key}: expected values to sweep over, found {override.get_value_string()!r}")
    return [list(job) for job in itertools.product(*values.values())]


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

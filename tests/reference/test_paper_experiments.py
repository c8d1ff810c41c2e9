"""The papers' figures and tables as experiments: each says how to run it, composes, and runs shortened."""

from __future__ import annotations

import itertools
import re
import shlex

import pytest
from omegaconf import OmegaConf

from conf.search_path import package_folder
from sim import run
from sim.command.hydra_compose import compose_sweep
from traces.errors import InputError

PAPERS = ("fluxshard_ea", "fluxshard_remap")
FOLDER = package_folder() / "experiment"
NAMES = [f"{paper}/{path.stem}" for paper in PAPERS for path in sorted((FOLDER / paper).glob("*.yaml"))]
# A view has the jobs of another experiment, which is run once for both (analysis/published/mapping.yaml).
VIEWS = {
    **dict.fromkeys(
        [f"fluxshard_remap/{n}" for n in ("figure3", "table2", "table3")], "fluxshard_remap/single_edge"
    ),
    **dict.fromkeys(
        [f"fluxshard_ea/{n}_over_lambda" for n in ("p99", "bandwidth", "load")], "fluxshard_ea/ea_over_lambda"
    ),
}
SHORT = ["frames=2", "replicates=1", "hydra.mode=RUN"]


def values(text):
    """The values of a swept key, as far as commas part them."""
    return text.split(",")


def lines(config):
    """The overrides of each line of an experiment, the swept keys of all of them with their first value."""
    swept = dict(config.hydra.sweeper.params or {})
    first = [f"{key}={values(str(text))[0]}" for key, text in swept.items()]
    for line in OmegaConf.select(config, "experiment.sweeps") or [""]:
        parts = [part.partition("=") for part in shlex.split(line)]
        for chosen in itertools.product(*(values(value) for _, _, value in parts)):
            yield [*first, *(f"{key}={value}" for (key, _, _), value in zip(parts, chosen, strict=True))]


def jobs_of(name):
    """What an experiment's sweep is made of, and the world that its jobs share."""
    config = compose_sweep([f"experiment={name}"])
    plain = OmegaConf.to_container(config, resolve=False)
    plain.pop("hydra")
    return plain, OmegaConf.to_container(config.hydra.sweeper.params or {})


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_opens_with_its_command_and_points_at_its_assumptions(name):
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    opening = "\n".join(itertools.takewhile(lambda line: line.startswith("#"), text.splitlines()))
    assert text.startswith("# @package _global_\n")
    assert re.search(rf"python -m sim (-m )?experiment={re.escape(name)}\n", opening + "\n")
    assert (
        "left open" in opening.lower()
        or "leaves open" in opening
        or "world.yaml" in opening
        or name.endswith("table1")
    )


@pytest.mark.parametrize(("name", "other"), VIEWS.items())
def test_a_view_has_the_jobs_of_what_it_is_a_view_of(name, other):
    assert jobs_of(name) == jobs_of(other)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in VIEWS])
def test_every_line_of_an_experiment_runs_shortened(name):
    """Two frames: what is tested is that the world, and each system's options, are possible."""
    config = compose_sweep([f"experiment={name}"])
    for overrides in lines(config):
        summary = run([f"experiment={name}", *overrides, *SHORT]).summary
        assert summary["status"] == "completed"
        assert summary["frames_captured"] == 2 * summary["cameras"]


@pytest.mark.parametrize("paper", PAPERS)
def test_every_system_sees_the_same_world(paper):
    """What a line gives belongs to its system: no line changes the link, the video or the arrivals."""
    for name in NAMES:
        if not name.startswith(paper) or name in VIEWS or name.endswith("table1"):
            continue
        for overrides in lines(compose_sweep([f"experiment={name}"])):
            keys = {part.partition("=")[0] for part in overrides}
            shared = {
                "trace",
                "cameras",
                "replicate",
                "video.preset",
                "trace.mean_mbps",
                "scheduler.lambda_per_s",
            }
            assert {key for key in keys if not key.startswith(("system", "experiment/"))} <= shared


def test_a_name_that_is_nearly_that_of_a_figure_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="did you mean fluxshard_remap/figure3"):
        run(["experiment=fluxshard_remap/figure33"])

"""What a run leaves: the keys and columns of the design, their types, and YAML that agrees with the code."""

from __future__ import annotations

import itertools
import json
import re
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from omegaconf import open_dict

from sim import __main__ as command_line
from sim.accuracy.evaluator import BOTH_NAMES, DENSE_NAMES, MASK_NAMES
from sim.assembly import assemble
from sim.command.camera_accounts import camera_accounts
from sim.command.hydra_compose import compose_run, run_content
from sim.configuration import RunConfig, read_config
from sim.configuration.model_card import read_card
from sim.configuration.plugins import read_plugin
from sim.records.summary import SUMMARY_KEYS
from tests.golden.test_pages import page, quoted, tables
from tests.strategies.sim import statistical

REPOSITORY = Path(__file__).resolve().parent.parent.parent
CONF = REPOSITORY / "conf"
SUMMARY = [
    "status",
    "system",
    "model",
    "network",
    "codec",
    "quality",
    "trace",
    "video",
    "edge",
    "cloud",
    "cameras",
    "seed",
    "replicate",
    "warmup_s",
    "link_correlation_s",
    "frames_captured",
    "frames_completed",
    "frames_replaced",
    "frames_dropped",
    "frames_in_flight",
    "in_flight",
    "accuracy_ruler",
    *("accuracy_mean", "accuracy_mean_low", "accuracy_mean_high"),
    *("streaming_accuracy_mean", "streaming_accuracy_mean_low", "streaming_accuracy_mean_high"),
    *("ea_mean", "ea_mean_low", "ea_mean_high"),
    *("ea_per_captured", "ea_per_captured_low", "ea_per_captured_high"),
    *("latency_mean_s", "latency_mean_low_s", "latency_mean_high_s"),
    *("latency_p50_s", "latency_p50_low_s", "latency_p50_high_s"),
    *("latency_p95_s", "latency_p95_low_s", "latency_p95_high_s"),
    *("latency_p99_s", "latency_p99_low_s", "latency_p99_high_s"),
    "uplink_bytes",
    "uplink_opportunistic_bytes",
    "downlink_bytes",
    *("uplink_bps_mean", "uplink_bps_mean_low", "uplink_bps_mean_high"),
    *("reuse_ratio_mean", "reuse_ratio_mean_low", "reuse_ratio_mean_high"),
    *("active_blocks_mean", "active_blocks_mean_low", "active_blocks_mean_high"),
    *("offload_ratio", "offload_ratio_low", "offload_ratio_high"),
    "edge_compute_fraction",
    "edge_busy_ratio",
    "cloud_busy_ratio",
    "edge_energy_j",
    "edge_compute_energy_j",
    "edge_idle_energy_j",
    "radio_energy_j",
    "edge_energy_per_frame_j",
    "radio",
    "radio_extrapolated",
    "ea_fairness",
    "uplink_fairness",
    "latency_prediction_error_mean_s",
    "latency_prediction_error_abs_mean_s",
    "extrapolated_frames",
    "simulated_s",
    "wall_s",
    "version",
    "git_sha",
    "config_sha256",
]
FRAMES = [
    "camera",
    "frame",
    "captured_s",
    "started_s",
    "completed_s",
    "outcome",
    "path",
    "blocks_active_edge",
    "blocks_active_cloud",
    "blocks_processed",
    "blocks_stale",
    "blocks_computed",
    "blocks_sent",
    "reuse_ratio",
    "uplink_bytes",
    "uplink_opportunistic_bytes",
    "downlink_bytes",
    "extract_s",
    "encode_s",
    "decode_s",
    "queue_s",
    "transmit_s",
    "edge_compute_s",
    "cloud_compute_s",
    "latency_s",
    "accuracy",
    "ea",
    "bandwidth_estimate_bps",
    "decided_path",
    "decided_active_blocks",
    "decided_blocks",
    "predicted_latency_s",
    "predicted_ea",
    "predicted_other_latency_s",
    "predicted_other_ea",
    "extrapolated",
    "uplink_enqueued_s",
    "uplink_delivered_s",
]


def composed(*overrides: str) -> dict[str, Any]:
    """The job's configuration as Hydra composes it."""
    config = compose_run(overrides)
    choices = config.hydra.runtime.choices
    with open_dict(config):
        del config["hydra"]
    return run_content(config, choices, ())


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    """Run the command in this process."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "argv", ["sim", *arguments])
    command_line.main()


@pytest.fixture
def left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run with everything switched on."""
    command(
        monkeypatch,
        *("video=statistical", "frames=30", "regret=true", "timeline=true", "trace=low"),
        f"hydra.run.dir={tmp_path}",
    )
    return tmp_path


def test_yaml_and_code_have_the_same_defaults() -> None:
    content = composed()
    assert {*content, "config_folders"} == {entry.name for entry in fields(RunConfig)}
    from_yaml, from_code = read_config(content), RunConfig({"name": "fluxshard_ea"})
    for entry in fields(RunConfig):
        mine, theirs = getattr(from_yaml, entry.name), getattr(from_code, entry.name)
        if entry.name in ("system", "scheduler", "estimator"):
            besides = ("lambda_per_s",) if entry.name == "scheduler" else ()
            assert read_plugin(entry.name, mine, (), besides) == read_plugin(entry.name, theirs, (), besides)
        elif entry.name == "model":
            assert read_card(mine) == read_card(theirs)
        elif entry.name == "trace":  # the level's seed is a choice of the named traces
            assert mine.name == theirs.name
            assert mine.mean_mbps == theirs.mean_mbps
        else:
            assert mine == theirs, entry.name
    assert from_yaml.decay_per_s == from_code.decay_per_s


@pytest.mark.parametrize("group", ["trace", "video", "arrival", "accuracy"])
def test_every_named_choice_sets_every_key_of_its_section(group: str) -> None:
    kind = type(getattr(RunConfig({"name": "fluxshard_ea"}), group))
    assert is_dataclass(kind)
    for path in (CONF / group).glob("*.yaml"):
        assert set(yaml.safe_load(path.read_text())) == {entry.name for entry in fields(kind)}, path.name


def named(*groups: str) -> list[tuple[str, str]]:
    """Every choice of some groups."""
    return [(group, path.stem) for group in groups for path in sorted((CONF / group).glob("*.yaml"))]


@pytest.mark.parametrize(("group", "name"), named("system", "scheduler", "estimator"))
def test_a_yaml_and_its_class_have_the_same_defaults(group: str, name: str) -> None:
    section = dict(composed(f"{group}={name}")[group])
    assert section["name"] == name
    plugin = read_plugin(group, section, (), ("lambda_per_s",))
    besides = {"name", "_target_", "display", "lambda_per_s"}
    assert set(section) - besides == {entry.name for entry in fields(plugin.options)}
    assert plugin.options == type(plugin.options)()


@pytest.mark.parametrize(
    ("group", "name"), named("payload/codec", "trace/format", "trace/radio", "model/network")
)
def test_a_yaml_that_a_key_names_sets_options_of_its_class(group: str, name: str) -> None:
    section = yaml.safe_load((CONF / group / f"{name}.yaml").read_text())
    plugin = read_plugin(group, section, name=name)
    names = {entry.name for entry in fields(plugin.options)}
    assert set(section) - {"_target_"} <= names
    if group in ("payload/codec", "trace/radio"):
        differing = {"jpeg_420": {"full_colour": False}}
        assert plugin.options == type(plugin.options)(**differing.get(name, {}))


def test_the_summary_has_the_designs_keys_in_order(left: Path) -> None:
    summary = json.loads((left / "summary.json").read_text())
    regret = ("ea_regret_mean", "ea_regret_mean_low", "ea_regret_mean_high")
    assert list(summary) == [*SUMMARY, *regret]
    assert summary["status"] == "completed"
    assert summary["ea_regret_mean"] >= 0.0
    for unknown in ("streaming_accuracy_mean", "edge_energy_j", "latency_p99_high_s"):
        assert summary[unknown] is None, unknown
    counted = [summary[f"frames_{outcome}"] for outcome in ("completed", "replaced", "dropped")]
    assert summary["frames_captured"] == sum(counted) == 30


def test_the_frames_have_the_designs_columns(left: Path) -> None:
    frames = pd.read_parquet(left / "frames.parquet")
    assert frames.columns.tolist() == [*FRAMES, "ea_regret"]
    completed = frames["outcome"] == "completed"
    assert 0 < completed.sum() < 30
    # A frame without a result has no latency; one that stayed on the edge was never enqueued.
    assert (
        frames.loc[~completed, ["started_s", "latency_s", "ea", "path", "blocks_stale"]].isna().all(axis=None)
    )
    assert frames.loc[frames["path"] == "edge", "uplink_enqueued_s"].isna().all()
    assert frames.loc[frames["path"] == "cloud", "uplink_delivered_s"].notna().all()


def test_a_row_a_camera_is_left_beside_the_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command(
        monkeypatch,
        *("video=statistical", "frames=30", "cameras=3", "trace=low"),
        f"hydra.run.dir={tmp_path}",
    )
    summary = json.loads((tmp_path / "summary.json").read_text())
    frames = pd.read_parquet(tmp_path / "frames.parquet")
    cameras = pd.read_csv(tmp_path / "cameras.csv")
    assert cameras["camera"].tolist() == [0, 1, 2]
    for name in ("frames_captured", "frames_completed", "uplink_bytes", "radio_energy_j"):
        assert cameras[name].sum() == pytest.approx(summary[name])
    assert cameras["edge_compute_energy_j"].sum() == pytest.approx(summary["edge_compute_energy_j"])
    assert cameras["edge_busy_ratio"].mean() == pytest.approx(summary["edge_busy_ratio"])
    counted = frames[(frames["camera"] == 1) & (frames["captured_s"] >= summary["warmup_s"])]
    second = counted[counted["outcome"] == "completed"]
    assert cameras["latency_p95_s"][1] == pytest.approx(second["latency_s"].quantile(0.95))
    assert cameras["ea_per_captured"][1] == pytest.approx(second["ea"].sum() / len(counted))
    ea = cameras["ea_per_captured"]
    assert summary["ea_fairness"] == pytest.approx(ea.sum() ** 2 / (3 * (ea**2).sum()))
    assert 1 / 3 <= summary["uplink_fairness"] <= 1.0
    assert "EA fairness" in capsys.readouterr().out


def test_one_camera_shares_with_nobody(left: Path) -> None:
    summary = json.loads((left / "summary.json").read_text())
    assert summary["ea_fairness"] is summary["uplink_fairness"] is None
    assert len(pd.read_csv(left / "cameras.csv")) == 1


def test_energy_that_is_not_known_is_null_part_by_part(left: Path) -> None:
    """The papers say what the edge draws while it computes, and not what it draws idle."""
    summary = json.loads((left / "summary.json").read_text())
    busy_s = summary["edge_busy_ratio"] * summary["simulated_s"]
    assert summary["edge_compute_energy_j"] == pytest.approx(15.7365 * busy_s)
    assert summary["radio"] == "lte"
    assert summary["radio_energy_j"] > 1.0 * summary["simulated_s"]  # connected all the time
    assert summary["radio_extrapolated"] is False
    for unknown in ("edge_idle_energy_j", "edge_energy_j", "edge_energy_per_frame_j"):
        assert summary[unknown] is None, unknown


@pytest.mark.parametrize("radio", ["none", "null"])
def test_no_radio_is_another_thing_than_one_that_is_not_known(
    radio: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = CONF / "profile" / "jetson_xavier_nx" / "yolo11m-seg.yaml"
    own = tmp_path / "own" / "profile" / "jetson_xavier_nx"
    own.mkdir(parents=True)
    (own / profile.name).write_text(profile.read_text().replace("idle_w: null", "idle_w: 4.0"))
    command(
        monkeypatch,
        *("--config-dir", str(tmp_path / "own"), "video=statistical", "frames=30", f"trace.radio={radio}"),
        f"hydra.run.dir={tmp_path / 'out'}",
    )
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    parts = summary["edge_compute_energy_j"], summary["edge_idle_energy_j"]
    assert summary["radio_energy_j"] is summary["radio_extrapolated"] is None
    if radio == "null":
        assert summary["edge_energy_j"] is summary["radio"] is None
    else:
        assert summary["edge_energy_j"] == pytest.approx(sum(parts))
        per_frame_j = summary["edge_energy_j"] / summary["frames_completed"]
        assert summary["edge_energy_per_frame_j"] == pytest.approx(per_frame_j)


def test_the_summary_follows_from_the_frames(left: Path) -> None:
    summary = json.loads((left / "summary.json").read_text())
    frames = pd.read_parquet(left / "frames.parquet")
    assert summary["warmup_s"] == sorted(frames["captured_s"])[30 // 4]  # a quarter: sooner than a second
    counted = frames[frames["captured_s"] >= summary["warmup_s"]]
    done = counted[counted["outcome"] == "completed"]
    assert summary["ea_mean"] == pytest.approx(done["ea"].mean())
    assert summary["ea_per_captured"] == pytest.approx(done["ea"].sum() / len(counted))
    assert summary["latency_p95_s"] == pytest.approx(done["latency_s"].quantile(0.95))
    assert summary["uplink_bytes"] == frames["uplink_bytes"].sum()
    assert summary["offload_ratio"] == pytest.approx((done["path"] == "cloud").mean())


def test_the_timeline_is_a_chrome_trace(left: Path) -> None:
    events = json.loads((left / "timeline.json").read_text())["traceEvents"]
    spans = [event for event in events if event["ph"] == "X"]
    assert spans
    assert {event["ph"] for event in events} == {"M", "X", "C"}
    for span in spans:
        assert span["dur"] >= 0.0
        assert isinstance(span["pid"], int)
    by_track: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for span in spans:
        by_track.setdefault((span["pid"], span["tid"]), []).append((span["ts"], span["ts"] + span["dur"]))
    for track in by_track.values():  # what shares a track does not overlap, or a viewer stacks it wrongly
        track.sort()
        assert all(later[0] >= earlier[1] - 0.01 for earlier, later in itertools.pairwise(track))


def test_nothing_completed_is_null_and_not_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command(
        monkeypatch,
        *("video=statistical", "frames=3", "system=full_offload", "link.outages_s=[[0,99]]"),
        f"hydra.run.dir={tmp_path}",
    )
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["frames_completed"] == 0
    for key in (
        "ea_mean",
        "accuracy_mean",
        "latency_mean_s",
        "latency_p99_s",
        "reuse_ratio_mean",
        "offload_ratio",
    ):
        assert summary[key] is None, key


def test_the_job_can_be_looked_at(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command(monkeypatch, "--cfg", "job", "trace=low")
    assert yaml.safe_load(capsys.readouterr().out)["trace"]["mean_mbps"] == 25.0


def _needs_data(path: Path) -> bool:
    """Whether it, or one that it is made from, has a value to give: data that is not in the repository."""
    text = path.read_text("utf-8")
    others = re.findall(r"^  - /experiment/([\w-]+)$", text, flags=re.MULTILINE)
    return "???" in text or any(_needs_data(path.with_name(f"{other}.yaml")) for other in others)


# tests/real/test_measured_davis.py runs one of the others.
WHOLE = (path for path in (CONF / "experiment").glob("*.yaml") if not _needs_data(path))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("experiment", sorted(path.stem for path in WHOLE))
def test_every_experiment_runs(experiment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command(
        monkeypatch,
        *("-m", f"experiment={experiment}", "frames=4", "video.size_px=64", "replicates=1"),
        f"hydra.sweep.dir={tmp_path}",
    )
    assert (pd.read_csv(tmp_path / "results.csv")["status"] == "completed").all()


# -- the page of the records ---------------------------------------------------------------------

PAGE = "sim/records/README.md"


def test_the_page_lists_the_columns_of_both_tables() -> None:
    content = statistical(trace={"mean_mbps": 20.0, "duration_s": 5.0, "seed": 2, "radio": "lte"}, cameras=2)
    assembly = assemble(read_config(content))
    result = assembly.simulation.run()
    frames = result.table.to_frame(assembly.metric, with_regret=True)
    cameras = camera_accounts(frames, assembly, result).table
    listed = [
        [name for row in rows for name in quoted(row["column"])] for rows in tables(page(PAGE), "column")
    ]
    assert [name for name in listed[0] if name not in ("uplink_bytes", "downlink_bytes")] == [
        name for name in frames.columns if name not in ("uplink_bytes", "downlink_bytes")
    ]
    assert set(listed[0]) == set(frames.columns)
    states = [f"radio_{state}_s" for state in ("promotion", "transfer", "inactivity")]
    states += ["radio_short_drx_s", "radio_long_drx_s", "radio_idle_s"]
    assert sorted(listed[1]) == sorted([*(set(cameras.columns) - set(states)), "radio_STATE_s"])
    assert set(states) <= set(cameras.columns)


def test_the_page_lists_what_accuracy_adds_where_it_is_measured() -> None:
    (rows,) = tables(page(PAGE), "measured column")
    listed = [(name, row["with"]) for row in rows for name in quoted(row["measured column"])]
    dense, masks = [(name, "dense") for name in DENSE_NAMES], [(name, "masks") for name in MASK_NAMES]
    both = [(name, "`both`") for name in BOTH_NAMES]
    assert listed == [("coverage_accuracy", "any"), *dense, *masks, *both]


def test_the_page_lists_energies_that_the_summary_has() -> None:
    (rows,) = tables(page(PAGE), "key")
    keys = {name for row in rows for name in quoted(row["key"])}
    energies = {key for key in SUMMARY_KEYS if "energy" in key or key == "radio_extrapolated"}
    assert keys == energies

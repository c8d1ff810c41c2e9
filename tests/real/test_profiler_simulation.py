"""From a measurement on this machine to a simulation that uses it: the third use of the project, whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from profiler.__main__ import main
from profiler.codecs import CodecOptions, profile_codecs
from profiler.latency import PiecewiseLinear, Profile, load_profile, read_profile, save_profile
from profiler.measure.devices import HostClock
from profiler.measure.masks import available_masks, collect_frame_pairs
from profiler.measure.profiled_model import SparseExecutorModel
from profiler.measure.sampling import SamplingPlan, measure
from profiler.measure.store import SampleStore
from profiler.run import ProfilingOptions, fit_and_write
from traces.errors import InputError

RESOLUTION_PX = (128, 128)


class SmallNet(nn.Module):
    """Three strides and a skip connection: enough structure for the executor, little enough to be quick."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2, 1)
        self.down = nn.Conv2d(16, 32, 3, 2, 1)
        self.deep = nn.Conv2d(32, 32, 3, 1, 1)
        self.head = nn.Conv2d(48, 8, 1)

    def forward(self, frame: Tensor) -> Tensor:
        shallow = torch.relu(self.stem(frame))
        deep = torch.relu(self.deep(torch.relu(self.down(shallow))))
        up = nn.functional.interpolate(deep, scale_factor=2.0, mode="nearest")
        return self.head(torch.cat([up, shallow], dim=1))


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of profiles with one that was measured just now, on this machine."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("profiles")
    pairs = collect_frame_pairs(None, RESOLUTION_PX, 16)
    profiled = SparseExecutorModel(SmallNet(), pairs)
    meta = {"device": "here", "model": "small", "resolution_px": list(RESOLUTION_PX), "block_px": 16}
    sizes = [
        {"name": one.name, "output_bytes": one.output_bytes, "live_bytes": one.live_bytes}
        for one in profiled.layer_sizes()
    ]
    store = SampleStore(folder / "here" / "small" / "samples.parquet", {**meta, "layers": sizes})
    plan = SamplingPlan(repeats=4, budget_s=20.0, masks=tuple(available_masks(pairs)))
    measure(profiled, HostClock(), store, plan, pairs.difference)
    store.flush(complete=True)
    quick = CodecOptions("here", resolution_px=RESOLUTION_PX, clock="thread", repeats=3, out=str(folder))
    profile_codecs(quick, lambda _: None, pairs)
    fit_and_write(store.path, folder / "here" / "small.yaml")
    return folder


def test_a_measurement_leaves_a_sound_profile(measured: Path) -> None:
    profile = load_profile("here", "small", [measured])
    assert profile.provenance["kind"] == "measured"
    assert profile.block_count == 64
    assert (profile.k_min, profile.k_max) == (1, 64)
    assert 0 < profile.dense_s < 1
    assert profile.extract_s is not None
    assert profile.layers is not None
    assert [layer.name for layer in profile.layers] == ["stem", "down", "deep", "head"]
    skip = profile.layers[2]
    assert skip.live_bytes == skip.output_bytes + profile.layers[0].output_bytes
    assert (measured / "here" / "small" / "profile.png").is_file()


@pytest.mark.filterwarnings(
    "ignore:profile here/small. measured on a disturbed machine"
)  # tests run beside it
@pytest.mark.filterwarnings("ignore:profile fast/small. measured on a disturbed machine")
def test_a_fresh_profile_drives_a_simulation(measured: Path, tmp_path: Path) -> None:
    """Edge: as measured. Cloud: the same, ten times as fast."""
    from sim.assembly import assemble
    from sim.configuration import read_config

    edge = read_profile(measured / "here" / "small.yaml")
    folder = tmp_path / "profile"
    save_profile(edge, folder / "here" / "small.yaml")
    save_profile(_faster(edge, 10.0), folder / "fast" / "small.yaml")
    config = read_config(
        {
            "system": {"name": "fluxshard_ea"},
            "edge": "here",
            "cloud": "fast",
            "model": {"name": "small", "profile": "small", "resolution_px": list(RESOLUTION_PX)},
            "config_folders": [str(tmp_path)],
            "frames": 40,
            "video": {"kind": "scene"},
            "trace": {"mean_mbps": 20.0, "duration_s": 10.0},
        }
    )

    def frames() -> pd.DataFrame:
        assembly = assemble(config)
        return assembly.simulation.run().table.to_frame(assembly.metric)

    found = frames()
    pd.testing.assert_frame_equal(found, frames())
    done = found[found["outcome"] == "completed"]
    assert len(found) == 40
    assert len(done) > 10
    local = done[(done["path"] == "edge") & (done["blocks_processed"] >= edge.k_min)]
    assert len(local) > 5
    ratio = local["edge_compute_s"] / local["blocks_processed"].map(edge.quadratic.seconds)
    assert edge.residual_quantiles is not None
    quantiles = np.array(edge.residual_quantiles.ratio)
    assert ratio.between(0.999 * quantiles.min(), 1.001 * quantiles.max()).all()


def test_two_profiles_of_this_machine_can_be_compared(
    measured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A profile is the same device as itself, three times slower it is not, and disturbed it is neither."""
    from profiler.latency.disturbance import busy_note
    from profiler.measure.samples import read_samples, rows_of, write_samples

    path = measured / "here" / "small" / "samples.parquet"
    rows = rows_of(read_samples(path))
    quiet, doctored, disturbed = (measured / f"{name}.parquet" for name in ("quiet", "doctored", "disturbed"))
    write_samples(quiet, rows, {})  # without the warnings that the run may have left
    write_samples(doctored, [row._replace(seconds=3.0 * row.seconds) for row in rows], {})
    write_samples(disturbed, rows, {"notes": [busy_note(1.5, "while measuring")]})
    assert main(["compare", str(quiet), str(path), "margin=0.5"]) in (0, 3)
    assert main(["compare", str(quiet), str(doctored)]) == 1
    assert "DIFFERENT" in capsys.readouterr().out
    assert main(["compare", str(disturbed), str(doctored)]) == 3
    assert "reason: A: other processes kept 1.5 cores busy" in capsys.readouterr().out


def test_a_precision_that_the_device_lacks_is_refused() -> None:
    pairs = collect_frame_pairs(None, RESOLUTION_PX, 16, pairs=2)
    with pytest.raises(InputError, match=r"precision: .* on cpu"):
        SparseExecutorModel(SmallNet(), pairs, precision="fp16")


def test_a_model_that_the_executor_refuses_is_named() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.memory = nn.LSTM(3, 3)

        def forward(self, frame: Tensor) -> Tensor:
            return frame

    pairs = collect_frame_pairs(None, RESOLUTION_PX, 16, pairs=2)
    with pytest.raises(InputError, match=r"model: the sparse executor cannot run it: .*memory"):
        SparseExecutorModel(Recurrent(), pairs)


@pytest.mark.data
def test_real_video_gives_recorded_sets(data_dir: Path) -> None:
    pairs = collect_frame_pairs(
        data_dir / "videos" / "udacity_solidWhiteRight.mp4", RESOLUTION_PX, 16, pairs=2
    )
    assert "recorded" in available_masks(pairs)
    assert pairs.difference.shape == (2, 8, 8)
    assert np.abs(pairs.vectors).max() > 0


def _faster(profile: Profile, factor: float) -> Profile:
    assert isinstance(profile.alternative, PiecewiseLinear)
    return replace(
        profile,
        device="fast",
        dense_s=profile.dense_s / factor,
        quadratic=profile.quadratic.scaled(1 / factor),
        alternative=profile.alternative.scaled(1 / factor),
    )


def test_a_profile_names_the_command_that_made_it_and_no_folder_of_this_machine() -> None:
    request = ProfilingOptions(
        model="yolo11n", resolution_px=(256, 192), video="/somewhere/clip.mp4", repeats=5
    )
    assert request.command == (
        "python -m profiler model=yolo11n device=cpu resolution=256x192 video=clip.mp4 repeats=5"
    )
    assert request.profile_name == "yolo11n-256x192"
    assert ProfilingOptions(model="yolo11n").profile_name == "yolo11n"


def test_the_command_measures_writes_and_has_nothing_left_to_do_the_second_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("profiler.run.tune_allocator", lambda: False)  # it would outlive this test
    command = ["model=default", "resolution=128", "repeats=3", f"out={tmp_path}", "name=board"]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "round 3 of 3" in shown
    assert "left" in shown
    assert "T(k) = a·k² + b·k + c" in shown
    folder = tmp_path / "board"
    profile = read_profile(folder / "default-128.yaml")
    assert profile.resolution_px == RESOLUTION_PX
    assert profile.provenance["source"].endswith("name=board repeats=3")
    assert (folder / "default-128" / "profile.png").is_file()
    before = (folder / "default-128" / "samples.parquet").stat().st_size
    assert main(command) == 0
    again = capsys.readouterr().out
    assert "resuming: " in again
    assert "round" not in again.partition("T(k)")[0].partition("resuming")[2]
    assert (folder / "default-128" / "samples.parquet").stat().st_size == pytest.approx(before, rel=0.05)

"""The published profiles hold the papers' figures, and say where each comes from."""

from __future__ import annotations

import pytest

from profiler.latency import PROFILE_FOLDER, available_profiles, load_profile

# FluxShard (motion-driven framework), Table 1, as printed. Rows: dense, quadratic, linear, constant.
TABLE_1 = {
    ("jetson_xavier_nx", "yolo11m-seg"): ("2.09e-01", "3.60e-08", "2.13e-04", "8.29e-03"),
    ("jetson_xavier_nx", "sdpose"): ("1.32e-01", "4.96e-07", "6.64e-04", "7.72e-03"),
    ("rtx_3080", "yolo11m-seg"): ("1.19e-02", "2.63e-09", "1.52e-05", "7.14e-05"),
    ("rtx_3080", "sdpose"): ("1.58e-02", "7.33e-08", "6.23e-05", "4.12e-03"),
}
# The same paper, §6.3: "yolov11 3.12ms; sdpose 1.23ms", on the edge.
EXTRACTION_MS = {"yolo11m-seg": 3.12, "sdpose": 1.23}
BLOCKS = {"yolo11m-seg": 1600, "sdpose": 192, "yolo11m-1024": 4096, "yolo11m-seg-1024": 4096}
# FluxShard (cache remapping), Table I, as printed: latency in ms, edge power in mW.
TABLE_I = {
    ("jetson_xavier_nx", "yolo11m-1024"): (386.26, 12696.7),
    ("jetson_xavier_nx", "yolo11m-seg-1024"): (619.82, 15736.5),
    ("rtx_3080", "yolo11m-1024"): (17.56, None),
    ("rtx_3080", "yolo11m-seg-1024"): (22.23, None),
}
MOTION_DRIVEN = "FluxShard: A Motion-Driven Framework for Distributed Real-Time Dense Video Analytics"
CACHE_REMAPPING = "FluxShard: Distributed Motion-Aware Cache Remapping for Real-Time Video Analytics"


@pytest.mark.parametrize(("device", "model"), TABLE_1)
def test_table_1_of_the_first_paper(device, model):
    profile = load_profile(device, model)
    fit = profile.quadratic
    printed = tuple(map(float, TABLE_1[device, model]))
    assert (profile.dense_s, fit.a_s, fit.b_s, fit.c_s) == printed
    assert profile.block_count == BLOCKS[model]
    assert profile.block_px == 16
    assert profile.extract_s == (
        pytest.approx(EXTRACTION_MS[model] / 1e3, rel=1e-12) if device == "jetson_xavier_nx" else None
    )
    assert profile.provenance["kind"] == "published"
    assert MOTION_DRIVEN in profile.provenance["source"]
    assert "Table 1" in profile.provenance["source"]


@pytest.mark.parametrize(("device", "model"), TABLE_I)
def test_table_i_of_the_second_paper_with_coefficients_derived_by_the_stated_rule(device, model):
    profile, origin = load_profile(device, model), load_profile(device, "yolo11m-seg")
    latency_ms, power_mw = TABLE_I[device, model]
    assert profile.dense_s == pytest.approx(latency_ms / 1e3, rel=1e-12)
    assert profile.block_count == BLOCKS[model]
    if power_mw is None:
        assert profile.power_w is None
    else:
        assert profile.power_w is not None
        assert profile.power_w.busy_w == pytest.approx(power_mw / 1e3, rel=1e-12)
        assert profile.power_w.idle_w is None
    for active in (0.0, 0.1, 0.5, 1.0):
        share = profile.sparse_s(active * profile.block_count) / profile.dense_s
        assert share == pytest.approx(origin.sparse_s(active * origin.block_count) / origin.dense_s, rel=1e-6)
    assert profile.provenance["kind"] == "derived"
    assert CACHE_REMAPPING in profile.provenance["source"]
    assert "Table I" in profile.provenance["source"]
    assert "a' = a·r·(n/n')²" in profile.provenance["quadratic"]
    if profile.extract_s is not None:
        assert profile.extract_s == pytest.approx(3.12e-3 * (1024 / 640) ** 2, rel=1e-12)
        assert "pixels" in profile.provenance["extract_s"]


def test_the_power_of_a_network_on_a_device_is_taken_over_to_another_resolution_only():
    """Table I gives that of YOLO11m-seg on this device at 1024 px; of SDPose nothing is known."""
    profile = load_profile("jetson_xavier_nx", "yolo11m-seg")
    assert profile.power_w == load_profile("jetson_xavier_nx", "yolo11m-seg-1024").power_w
    assert CACHE_REMAPPING in profile.provenance["power_w"]
    for device, model in (("jetson_xavier_nx", "sdpose"), ("rtx_3080", "yolo11m-seg")):
        assert load_profile(device, model).power_w is None


def test_nothing_that_the_papers_leave_out_is_made_up():
    for device, model in [*TABLE_1, *TABLE_I]:
        profile = load_profile(device, model)
        unknown = (
            profile.precision,
            profile.r2,
            profile.heldout_error,
            profile.k_min,
            profile.k_max,
            profile.residual_quantiles,
            profile.alternative,
            profile.encode_s,
            profile.layers,
            profile.quadratic.a_stderr_s,
        )
        assert set(unknown) == {None}, (device, model)
        text = (PROFILE_FOLDER / device / f"{model}.yaml").read_text(encoding="utf-8")
        assert "residuals" in text.split("device:")[0]


def test_break_even_is_where_the_curve_meets_dense_inference_and_lies_within_the_frame():
    for device, model in [*TABLE_1, *TABLE_I]:
        profile = load_profile(device, model)
        assert profile.breakeven_k is not None
        assert profile.sparse_s(profile.breakeven_k) == pytest.approx(profile.dense_s, rel=1e-3)
        assert 0.4 < profile.breakeven_k / profile.block_count < 0.9


def test_every_profile_of_the_project_loads():
    for device, models in available_profiles().items():
        for model in models:
            assert load_profile(device, model).sparse_s(1) > 0

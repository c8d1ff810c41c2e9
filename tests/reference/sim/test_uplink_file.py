"""The uplink from a file: what the configuration says of its columns, its level and its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sim.assembly.uplink import load_uplink, trace_name
from sim.configuration.sections import LEVELS_MBPS, TraceConfig, read_config
from traces.bandwidth.trace import OpportunityTrace
from traces.errors import InputError


def _uplink(content: dict[str, Any]) -> Any:
    config = read_config({"system": "full_offload", "trace": content}).trace
    return load_uplink(config, 0, 10.0)


def test_the_columns_of_a_bare_table_are_named_by_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "bare.csv"
    path.write_text("rtt,when,down,up\n9,0,50,5\n9,1000,60,7\n")
    trace = _uplink(
        {
            "path": str(path),
            "column": "up",
            "time_column": "when",
            "time_unit": "ms",
            "rate_unit": "mbps",
        }
    )
    assert (trace.times_s.tolist(), trace.rates_bps.tolist(), trace.period_s) == ([0, 1], [5e6, 7e6], 2)


def test_the_direction_of_a_table_is_the_configurations(tmp_path: Path) -> None:
    path = tmp_path / "both.csv"
    path.write_text("time_s,download_mbps,upload_mbps\n0,50,5\n1,60,7\n")
    assert _uplink({"path": str(path)}).rates_bps.tolist() == [5e6, 7e6]
    assert _uplink({"path": str(path), "direction": "downlink"}).rates_bps.tolist() == [50e6, 60e6]


def test_unix_milliseconds_carry_bytes_from_the_start(tmp_path: Path) -> None:
    path = tmp_path / "unix.up"
    path.write_text("".join(f"{1_600_000_000_000 + 3 * i}\n" for i in range(100)))
    trace = _uplink({"path": str(path)})
    assert isinstance(trace, OpportunityTrace)
    assert (trace.times_ms[0], trace.period_ms) == (0, 297)


def test_no_level_scales_a_file_unless_its_mean_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "link.csv"
    path.write_text("time_s,rate_mbps\n0,5\n1,7\n")
    for name, mean_mbps in LEVELS_MBPS.items():
        with pytest.raises(
            InputError, match=f"trace.path: expected trace=file beside it, found trace={name}"
        ):
            _uplink({"name": name, "path": str(path), "mean_mbps": mean_mbps})
        assert _uplink({"name": name, "path": str(path), "mean_mbps": 9.0}).mean_bps == pytest.approx(9e6)
    assert _uplink({"path": str(path)}).mean_bps == 6e6
    assert _uplink({"name": "file", "path": str(path), "mean_mbps": 56.0}).mean_bps == pytest.approx(56e6)


def test_a_file_is_named_after_itself_and_not_after_a_level(tmp_path: Path) -> None:
    path = tmp_path / "link.csv"
    path.write_text("time_s,rate_mbps\n0,5\n1,7\n")
    for name, shown in (("file", "link.csv"), ("medium", "link.csv"), ("lab", "lab (link.csv)")):
        config = TraceConfig(name=name, path=str(path))
        assert trace_name(config, load_uplink(config, 0, 10.0)) == shown


def test_the_levels_are_those_of_their_files(repository: Path) -> None:
    for name, mean_mbps in LEVELS_MBPS.items():
        content = yaml.safe_load((repository / "conf" / "trace" / f"{name}.yaml").read_text())
        assert (content["name"], content["mean_mbps"], content["path"]) == (name, mean_mbps, None)

"""A model card that does not fit: what was expected, and which cards, profiles and networks there are."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from sim.assembly import assemble
from sim.command.single_run import run_once
from sim.configuration import read_config
from tests.strategies.sim import pixels
from traces.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore:video.size_px")
SCENE = {"kind": "scene", "size_px": 64}
MEASURED = {"mode": "measured"}


def refused(**changes: Any) -> str:
    """The one line that a configuration is refused with."""
    with pytest.raises(InputError) as caught:
        assemble(read_config(pixels(**{"video": SCENE, **changes})))
    message = str(caught.value)
    assert "\n" not in message
    return message


def network_of(**changes: Any) -> Any:
    """What the summary calls the network that ran."""
    content = pixels("edge_only", **{"video": SCENE, "frames": 2, **changes})
    return run_once(content).record.summary["network"]


def test_an_unknown_card_gets_those_there_are() -> None:
    message = refused(model="yolo99")
    assert message.startswith("model: expected one of default, default-keypoints, default-tokens, sdpose, ")
    assert "yolo11m-seg, yolo11m-seg-1024" in message
    assert "found 'yolo99'" in message


def test_a_card_needs_a_name() -> None:
    message = refused(model={"profile": "yolo11m-seg", "resolution_px": [640, 640]})
    assert message.startswith("model.name: expected one of default, ")
    assert message.endswith("found None")


def test_an_unknown_key_gets_the_nearest() -> None:
    message = refused(model={"name": "yolo11m-seg", "weigths": "a.safetensors"})
    assert message.startswith("model.weigths: expected one of the keys ")
    assert message.endswith("did you mean 'weights'?")


@pytest.mark.parametrize("side", ["edge", "cloud"])
def test_a_device_without_a_profile_of_the_card_says_what_it_has(side: str) -> None:
    """YOLO11n-seg was profiled on one device only."""
    devices = {"edge": "epyc_zen5_1thread", "cloud": "epyc_zen5_1thread", side: "rtx_3080"}
    message = refused(model="yolo11n-seg", **devices)
    assert "yolo11n-seg" in message
    assert "rtx_3080" in message
    assert "sdpose" in message, "which profiles the device has"


def test_an_unknown_device_gets_those_there_are() -> None:
    message = refused(edge="jetson_xavier")
    assert "jetson_xavier_nx" in message
    assert "rtx_3080" in message
    assert "'jetson_xavier'" in message


def test_a_profile_of_another_resolution_is_refused() -> None:
    assert refused(model={"name": "yolo11m-seg", "resolution_px": [1024, 1024]}) == (
        "model.resolution_px: expected 640x640 px, at which 'yolo11m-seg' was profiled "
        "on 'jetson_xavier_nx', found 1024x1024"
    )


def test_a_card_that_can_run_nothing_is_refused_where_something_must_run() -> None:
    """Latencies alone are enough for coverage; SDPose itself has no network here."""
    alone = {"name": "sdpose", "stand_in": None}
    assemble(read_config(pixels(model=alone, video={"kind": "scene", "size_px": 64})))
    message = refused(model=alone, accuracy=MEASURED)
    assert message.startswith("model: card 'sdpose' has neither weights nor a stand-in")
    assert "None" not in message
    assert "(networks: default, default-keypoints, default-tokens, yolo11l, " in message
    message = refused(model={"name": "yolo11m-seg", "stand_in": None}, accuracy=MEASURED)
    assert "expected model.weights=FILE of 'yolo11m-seg', or model.network or model.stand_in" in message


def test_a_stand_in_is_labelled() -> None:
    assert network_of(accuracy=MEASURED) == "default (stand-in)"
    own = {"name": "yolo11m-seg", "network": "default"}
    assert network_of(model=own, accuracy=MEASURED) == "default (stand-in)"


@pytest.mark.parametrize(
    ("card", "network"),
    [
        ("default-tokens", "default-tokens"),
        ("default-keypoints", "default-keypoints"),
        ("sdpose", "default-keypoints"),
    ],
)
def test_a_network_that_has_another_ones_latencies_is_a_stand_in(card: str, network: str) -> None:
    assert network_of(model=card, accuracy=MEASURED) == f"{network} (stand-in)"


def test_a_network_with_weights_of_its_own_is_no_stand_in() -> None:
    devices = {"edge": "epyc_zen5_1thread", "cloud": "epyc_zen5_1thread"}
    assert network_of(model="default", accuracy=MEASURED, **devices) == "default"
    own = {"name": "mine", "profile": "default", "resolution_px": [640, 640], "stand_in": "default"}
    assert network_of(model=own, accuracy=MEASURED, **devices) == "default"


def test_nothing_runs_under_coverage() -> None:
    assert network_of() is None


def test_a_card_of_a_users_own_brings_its_profiles_along(tmp_path: Path, repository: Path) -> None:
    source = repository / "conf" / "profile" / "rtx_3080" / "yolo11m-seg.yaml"
    for device in ("here", "there"):
        path = tmp_path / "profile" / device / "mine.yaml"
        path.parent.mkdir(parents=True)
        shutil.copy(source, path)
        text = path.read_text().replace("device: rtx_3080", f"device: {device}")
        path.write_text(text.replace("model: yolo11m-seg", "model: mine"))
    card = tmp_path / "model" / "mine.yaml"
    card.parent.mkdir()
    card.write_text("profile: mine\nresolution_px: [640, 640]\nnetwork: default\n")
    content = pixels("edge_only", video=SCENE, frames=2, model="mine", edge="here", cloud="there")
    summary = run_once({**content, "accuracy": MEASURED, "config_folders": [str(tmp_path)]}).record.summary
    assert (summary["model"], summary["network"]) == ("mine", "default")
    card.write_text("profile: mine\nresolution_px: [640\n")
    with pytest.raises(InputError, match=rf"^{card}:\d: expected YAML"):
        assemble(read_config({**content, "config_folders": [str(tmp_path)]}))


@pytest.mark.parametrize("key", ["network", "stand_in", "split"])
def test_an_unknown_name_on_a_card_is_refused_where_nothing_runs_too(key: str) -> None:
    message = refused(model={"name": "yolo11m-seg", key: "yolo11n-sge"})
    assert message.startswith(f"model.{key}: expected one of ")
    assert message.endswith("found 'yolo11n-sge'; did you mean 'yolo11n-seg'?")

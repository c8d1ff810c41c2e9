"""Every unsound profile is refused in one line that names the file, the key, what was expected and found."""

from __future__ import annotations

import copy

import pytest
import yaml

from profiler.latency import load_profile, read_profile
from traces.errors import InputError

ASSUMED = {"kind": "assumed", "source": "x"}

SOUND = {
    "device": "board",
    "model": "net",
    "resolution_px": 640,
    "block_px": 16,
    "provenance": {"kind": "measured", "source": "bench"},
    "dense_s": 0.2,
    "quadratic": {"a_s": 1.0e-8, "b_s": 2.0e-4, "c_s": 0.008},
}
RESIDUALS = {"levels": [0.0, 0.5, 1.0], "k": [1, 100], "ratio": [[0.9, 1.0, 1.2], [0.8, 1.0, 1.5]]}


def write(folder, changes, device="board", model="net"):
    """A profile in which each dotted key is replaced, or removed if its new value is Ellipsis."""
    content = yaml.safe_load(yaml.safe_dump(SOUND))
    for key, value in changes.items():
        *parents, last = key.split(".")
        section = content
        for parent in parents:
            section = section.setdefault(parent, {})
        if value is ...:
            del section[last]
        else:
            section[last] = copy.deepcopy(value)
    path = folder / device / f"{model}.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def complaint(path):
    with pytest.raises(InputError) as caught:
        read_profile(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


def test_the_sound_profile_is_sound(tmp_path):
    assert read_profile(write(tmp_path, {"residual_quantiles": RESIDUALS})).resolution_px == (640, 640)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"quadratic.a_s": -1.0e-8},
            "quadratic.a_s: expected a finite number of at least 0 (seconds), found -1e-08",
        ),
        (
            {"quadratic.b_s": float("nan")},
            "quadratic.b_s: expected a finite number of at least 0 (seconds), found nan",
        ),
        ({"quadratic.c_s": float("inf")}, "quadratic.c_s: expected a finite number"),
        (
            {"quadratic.c_s": ...},
            "quadratic.c_s: expected a finite number of at least 0 (seconds), found no such key",
        ),
        (
            {"quadratic.a_s": "1e-8"},
            "quadratic.a_s: expected a finite number of at least 0 (seconds) (YAML reads",
        ),
        (
            {"quadratic.a_s": True},
            "quadratic.a_s: expected a finite number of at least 0 (seconds), found True",
        ),
        ({"quadratic.d_s": 1.0}, "quadratic.d_s: expected one of ['a_s', 'b_s', 'c_s'"),
        ({"quadratic": 3}, "quadratic: expected keys, found 3"),
        ({"quadratic": ...}, "quadratic: expected keys, found no such key"),
        ({"dense_s": 0}, "dense_s: expected a finite number above 0 (seconds), found 0"),
        ({"dense_s": None}, "dense_s: expected a finite number above 0 (seconds), found None"),
        ({"dense_sec": 0.1}, "did you mean 'dense_s'?"),
        ({"device": 7}, "device: expected text, found 7"),
        ({"model": ...}, "model: expected text, found no such key"),
        (
            {"resolution_px": [640, 640, 3]},
            "resolution_px: expected pixels, as one number or [height, width], found",
        ),
        ({"resolution_px": 640.5}, "resolution_px: expected a whole number of at least 1, found 640.5"),
        ({"block_px": 0}, "block_px: expected a whole number of at least 1, found 0"),
        ({"k_min": 9, "k_max": 5}, "k_min: expected at most k_max = 5 blocks, found 9"),
        ({"k_min": 1.5}, "k_min: expected a whole number of at least 0, found 1.5"),
        ({"r2": 1.1}, "r2: expected a finite number"),
        ({"provenance": {"source": "bench"}}, "provenance.kind: expected text, found no such key"),
        (
            {"provenance.kind": "guessed"},
            "provenance.kind: expected one of ['published', 'measured', 'derived']",
        ),
        ({"layers": []}, "layers: expected a list with at least one entry, found []"),
        (
            {"layers": [{"name": "a", "seconds": 0.1, "output_bytes": -1}]},
            "layers[0].output_bytes: expected a whole number of at least 0, found -1",
        ),
        (
            {"alternative": {"k": [1, 2], "seconds": [0.2, 0.1]}},
            "alternative.seconds: expected values that never fall, found [0.2, 0.1]",
        ),
        (
            {"alternative": {"k": [2, 1], "seconds": [0.1, 0.2]}},
            "alternative.k: expected strictly increasing",
        ),
        (
            {"alternative": {"k": [1, 2], "seconds": [0.1]}},
            "alternative.seconds: expected 2 values, one for each k",
        ),
        (
            {"residual_quantiles": RESIDUALS, "residual_quantiles.levels": [0.0, 0.5, 1.5]},
            "residual_quantiles.levels: expected strictly increasing numbers up to 1, found [0.0, 0.5, 1.5]",
        ),
        (
            {"residual_quantiles": RESIDUALS, "residual_quantiles.ratio": [[1, 1, 1]]},
            "residual_quantiles.ratio: expected a list of 2 rows, one for each k",
        ),
        (
            {"residual_quantiles": RESIDUALS, "residual_quantiles.ratio": [[1, 1, 1], [1, 2]]},
            "residual_quantiles.ratio[1]: expected 3 ratios, one for each level, found 2",
        ),
        (
            {"residual_quantiles": RESIDUALS, "residual_quantiles.dense": [0, 1, 2]},
            "residual_quantiles.dense: expected ratios above 0 that never fall",
        ),
        ({"encode_s": {"base_s": 0.1}}, "encode_s.per_block_s: expected a finite number"),
        ({"codecs": {"jpeg": {}}}, "codecs.provenance: expected keys"),
        (
            {"codecs": {"provenance": {"kind": "guessed", "source": "x"}}},
            "codecs.provenance.kind: expected one of ['measured', 'published', 'assumed'], found 'guessed'",
        ),
        (
            {"codecs": {"provenance": ASSUMED, "jpeg": {"encode": {"base_s": -1.0}}}},
            "codecs.jpeg.encode.base_s: expected a finite number of at least 0 (seconds), found -1.0",
        ),
        (
            {"codecs": {"provenance": ASSUMED, "jpeg": {"encoding": {}}}},
            "codecs.jpeg.encoding: expected one of ['encode', 'decode']; did you mean 'encode'?",
        ),
        ({"power_w": {"busy_w": -3.0}}, "power_w.busy_w: expected a finite number of at least 0, found -3.0"),
    ],
)
def test_an_unsound_profile_is_refused(tmp_path, changes, message):
    assert message in complaint(write(tmp_path, changes))


@pytest.mark.parametrize("content", ["", "- 1\n- 2\n", "{a: [", "\tx: 1"])
def test_a_file_that_is_no_profile_is_refused(tmp_path, content):
    path = tmp_path / "broken.yaml"
    path.write_text(content, encoding="utf-8")
    assert "expected" in complaint(path)


def test_a_missing_or_binary_file_is_refused(tmp_path):
    assert "expected a profile in YAML" in complaint(tmp_path / "absent.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    assert "expected a profile in YAML" in complaint(tmp_path / "binary.yaml")


@pytest.mark.parametrize(("place", "key"), [(("other", "net"), "device"), (("board", "other"), "model")])
def test_a_file_in_the_wrong_place_is_refused(tmp_path, place, key):
    path = write(tmp_path, {}, *place)
    with pytest.raises(InputError) as caught:
        load_profile(*place, [tmp_path])
    assert str(caught.value) == f"{path}: {key}: expected 'other' (from the path), found {SOUND[key]!r}"


def test_an_unknown_device_or_model_names_what_there_is_and_what_is_near():
    with pytest.raises(InputError) as caught:
        load_profile("jetson_xavier", "yolo11m-seg")
    assert "expected one of ['" in str(caught.value)
    assert "did you mean 'jetson_xavier_nx'" in str(caught.value)
    with pytest.raises(InputError) as caught:
        load_profile("rtx_3080", "yolo11-seg")
    assert "'sdpose'" in str(caught.value)
    assert "did you mean 'yolo11m-seg'" in str(caught.value)

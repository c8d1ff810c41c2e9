"""Classes that a YAML names, ours and anybody's: one line says what is wrong with one, and where."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from sim.assembly import assemble
from sim.configuration import read_config
from tests.strategies.sim import pixels, statistical
from traces.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore:video.size_px")
MODULE = "own_edge_system"
SYSTEM = """
from dataclasses import dataclass

from sim.records.outcome import Outcome


class Careful:
    @dataclass(frozen=True, slots=True)
    class Options:
        margin_s: float = 0.1
        rounds: int = 2

        def __post_init__(self):
            if self.rounds < 1:
                raise ValueError(f"rounds: expected at least 1 round, found {self.rounds}")

    def __init__(self, context, options):
        self.total, self.network = context.geometry.blocks_total, context.network()

    def process(self, frame, world):
        yield world.infer_edge_dense()
        return Outcome("edge", self.total, self.total, 0, result=self.network.dense(frame))
"""
CLASS_LINE = 7  # the source begins after the first line break
YAML = f"# Of our own.\n_target_: {MODULE}.Careful\nmargin_s: 0.2\n"


class Door:
    """A user's folder with a module and a system's YAML."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.module = folder / f"{MODULE}.py"
        self.yaml = folder / "system" / "careful.yaml"
        self.yaml.parent.mkdir()
        self.write(SYSTEM, YAML)

    def write(self, source: str = SYSTEM, yaml: str = YAML) -> None:
        self.module.write_text(source.removeprefix("\n"))
        self.yaml.write_text(yaml)

    def content(self, **changes: Any) -> dict[str, Any]:
        return pixels("careful", config_folders=[str(self.folder)], frames=3, **changes)

    def refused(self, **changes: Any) -> str:
        return refused(self.content(**changes))


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Door:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    return Door(tmp_path)


def refused(content: dict[str, Any]) -> str:
    """The message that a configuration or its run ends with."""
    with pytest.raises(InputError) as caught:
        assemble(read_config(content)).simulation.run()
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_class_and_a_yaml_are_enough(door: Door) -> None:
    assembly = assemble(read_config(door.content(options={"rounds": 3})))
    assert assembly.system_name == "careful"
    assembly.simulation.run()
    assert (assembly.simulation.table.columns()["outcome"] == 0).sum() >= 1


# -- names -----------------------------------------------------------------------------------------

MEASURED = {"mode": "measured"}


@pytest.mark.parametrize(
    ("changes", "key", "some", "nearest"),
    [
        ({"system": "fluxshard_eo"}, "system", "coach, deltacnn", "fluxshard_ea"),
        ({"scheduler": "latncy"}, "scheduler", "ea, latency, oracle", "latency"),
        ({"estimator": {"name": "kallman"}}, "estimator", "ewma, harmonic, kalman", "kalman"),
        ({"trace": {"path": "any.log", "format": "mahimahy"}}, "trace.format", "ghent", "mahimahi"),
        ({"payload": {"codec": "jpg"}}, "payload.codec", "jpeg, jpeg_420, png, raw, residual", "jpeg"),
        (
            {"model": {"name": "yolo11m-seg", "network": "yolo11n-sge"}, "accuracy": MEASURED},
            "model.network",
            "default-tokens, yolo11l",
            "yolo11n-seg",
        ),
        ({"model": "yolo11m-sge"}, "model", "sdpose", "yolo11m-seg"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_unknown_name_gets_the_known_ones_and_the_nearest(
    changes: dict[str, Any], key: str, some: str, nearest: str
) -> None:
    message = refused({**pixels(), **changes})
    assert message.startswith(f"{key}: expected one of ")
    assert some in message
    assert message.endswith(f"; did you mean {nearest!r}?")


def test_names_of_a_users_folder_are_known_too(door: Door) -> None:
    message = refused({**door.content(), "system": "carefull"})
    assert "coach" in message
    assert message.endswith("found 'carefull'; did you mean 'careful'?")


# -- options ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"system": {"name": "fluxshard_ea", "paitence_s": 1.0}},
            "system.paitence_s: expected one of the keys .*; did you mean 'patience_s'",
        ),
        (
            {"estimator": {"name": "ewma", "half_lief_s": 0.5}},
            "estimator.half_lief_s: expected one of the keys half_life_s; did you mean 'half_life_s'",
        ),
        (
            {"scheduler": {"name": "ea", "lamda_per_s": 1.0}},
            "scheduler.lamda_per_s: .* did you mean 'lambda_per_s'",
        ),
        (
            {"system": {"name": "edge_only", "quality": 5}},
            "system.quality: expected one of the keys none",
        ),
        (
            {"system": {"name": "fluxshard_ea", "chunk_blocks": "many"}},
            "system.chunk_blocks: expected a whole number, found 'many'",
        ),
        (
            {"system": {"name": "fluxshard_ea", "opportunistic": 1}},
            "system.opportunistic: expected true or false, found 1",
        ),
        (
            {"estimator": {"name": "ewma", "half_life_s": "a"}},
            "estimator.half_life_s: expected a number, found 'a'",
        ),
        (
            {"system": {"name": "coach", "variant": "splitt"}},
            "system.variant: expected one of frame, split, pipelined, found 'splitt'; did you mean 'split'",
        ),
    ],
    ids=lambda value: value.partition(":")[0] if isinstance(value, str) else "",
)
def test_an_option_that_does_not_fit_is_named(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError, match=f"^{expected}"):
        assemble(read_config({**pixels(), **changes}))


def test_options_of_a_users_class_are_checked_alike(door: Door) -> None:
    message = door.refused(options={"marign_s": 1.0})
    assert message.startswith("system.marign_s: expected one of the keys margin_s, rounds; did you mean")
    assert door.refused(options={"rounds": 1.5}) == "system.rounds: expected a whole number, found 1.5"
    assert door.refused(options={"rounds": 0}) == "system.rounds: expected at least 1 round, found 0"


@pytest.mark.parametrize(
    ("declared", "value", "expected"),
    [
        ("Literal[1, 2] = 1", 2, None),
        ("Literal[1, 2] = 1", 3, "expected one of 1, 2, found 3"),
        ("int | str = 1", "many", None),
        ("int | str | None = 1", None, None),
        ("int | bool = 1", "many", "expected a value of type int | bool, found 'many'"),
        ("int | None = 1", "many", "expected a whole number, found 'many'"),
        ("list[int] = field(default_factory=list)", [1, 2], None),
        ("list[int] = field(default_factory=list)", 1, "expected a list, found 1"),
        ("dict[str, int] = field(default_factory=dict)", {"a": 1}, None),
        ("dict[str, int] = field(default_factory=dict)", [1], "expected a section of keys, found [1]"),
    ],
)
def test_an_options_type_is_what_its_values_are_checked_by(
    door: Door, declared: str, value: Any, expected: str | None
) -> None:
    imports = "from dataclasses import dataclass, field\nfrom typing import Literal\n"
    door.write(imports + SYSTEM.replace("rounds: int = 2", f"rounds: int = 2\n        other: {declared}"))
    content = door.content(options={"other": value})
    if expected is None:
        assemble(read_config(content))
    else:
        assert refused(content) == f"system.other: {expected}"


@pytest.mark.parametrize("name", ["name", "display"])
def test_an_option_that_no_yaml_could_set_is_refused(door: Door, name: str) -> None:
    """`name` is the YAML's, `display` is for pictures: neither reaches the class."""
    door.write(SYSTEM.replace("rounds: int = 2", f"rounds: int = 2\n        {name}: int = 3"))
    message = door.refused()
    assert message.startswith(f"{door.module}:{CLASS_LINE}: expected another name for the option {name!r}")


def test_an_options_type_that_the_module_does_not_know_is_named_with_its_line(door: Door) -> None:
    future = "from __future__ import annotations\n"
    door.write(future + SYSTEM.replace("rounds: int = 2", "rounds: Whole = 2"))
    message = door.refused()
    assert message.startswith(
        f"{door.module}:{CLASS_LINE + 2}: expected types of Options that the module knows"
    )
    assert message.endswith("found name 'Whole' is not defined")


def test_a_wrong_key_of_a_users_yaml_is_named(door: Door) -> None:
    door.write(yaml=YAML + "roudns: 3\n")
    assert door.refused() == (
        "system.roudns: expected one of the keys margin_s, rounds; did you mean 'rounds'?"
    )


# -- the class -------------------------------------------------------------------------------------


def test_a_missing_class_is_named_with_the_yamls_line_and_the_nearest_class(door: Door) -> None:
    door.write(yaml=YAML.replace("Careful", "Carefull"))
    assert door.refused() == (
        f"{door.yaml}:2: _target_: expected a class 'Carefull' in {door.module}, found no such name; "
        "did you mean 'Careful'?"
    )


def test_what_is_no_class_is_refused(door: Door) -> None:
    door.write(SYSTEM + "\nLEVEL = 3\n", YAML.replace("Careful", "LEVEL"))
    assert f"expected a class 'LEVEL' in {door.module}, found 3" in door.refused()


def test_a_missing_module_is_named(door: Door) -> None:
    door.write(yaml=YAML.replace(MODULE, "own_edge_sistem"))
    assert door.refused() == (
        f"{door.yaml}:2: _target_: expected a module 'own_edge_sistem' on Python's path "
        "or in a --config-dir, found none"
    )


@pytest.mark.parametrize("target", ["Careful", "5", ".Careful"])
def test_a_target_that_is_no_path_is_refused(door: Door, target: str) -> None:
    door.write(yaml=f"_target_: {target}\n")
    assert door.refused().startswith(f"{door.yaml}:1: _target_: expected package.module.Class, found ")


@pytest.mark.parametrize(
    ("source", "line", "problem"),
    [
        ("LIMIT = 1\nRATE = 1 / 0\n", 2, "ZeroDivisionError: division by zero"),
        ("import nowhere_at_all\n", 1, "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("import json\n\nSETTINGS = json.loads('{')\n", 3, "JSONDecodeError: Expecting property name"),
        (
            "from traces import load_trace\n\n\ndef load():\n    return load_trace('no.up')\n\n\nload()\n",
            5,
            "InputError: no.up",
        ),
        ("LIMIT = 1\n\ndef broken(:\n    pass\n", 3, "invalid syntax"),
    ],
    ids=["error", "import", "in the library", "in this project", "syntax"],
)
def test_a_module_that_cannot_be_loaded_is_named_with_the_users_line(
    door: Door, source: str, line: int, problem: str
) -> None:
    door.write(source)
    message = door.refused()
    assert message.startswith(f"{door.yaml}:2: _target_: {door.module}:{line}: {problem}"), message


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            "class Options:",
            "class Settings:",
            "expected class Careful to have a nested frozen dataclass Options, found None",
        ),
        (
            "    @dataclass(frozen=True, slots=True)\n    class Options:",
            "    class Options:",
            "expected class Careful to have a nested frozen dataclass Options, found <class",
        ),
        (
            "(self, context, options)",
            "(self, context)",
            "expected Careful to be made from 2 values, the last its options, found too many positional",
        ),
        (
            "(self, context, options)",
            "(self, context, options, world)",
            "expected Careful to be made from 2 values, the last its options, found missing a required",
        ),
    ],
    ids=["no options", "no dataclass", "too few", "too many"],
)
def test_a_class_that_cannot_be_made_is_named_with_its_line(
    door: Door, old: str, new: str, problem: str
) -> None:
    assert old in SYSTEM
    door.write(SYSTEM.replace(old, new))
    assert door.refused().startswith(f"{door.module}:{CLASS_LINE - 1}: {problem}")


def test_a_system_without_process_is_named_with_its_line(door: Door) -> None:
    door.write(SYSTEM.replace("def process", "def deal_with"))
    assert door.refused() == (
        f"{door.module}:{CLASS_LINE - 1}: expected class Careful to have a method process(frame, world)"
    )


@pytest.mark.parametrize("taken", ["self, frame", "self, frame, world, more", "self, *, frame, world"])
def test_a_process_that_takes_other_arguments_is_named(door: Door, taken: str) -> None:
    door.write(SYSTEM.replace("def process(self, frame, world)", f"def process({taken})"))
    assert ": expected Careful.process(frame, world), found " in door.refused()
    assert door.refused().startswith(f"{door.module}:")


@pytest.mark.parametrize("bound", ["0", "-1", "2.5", "'4'", "None", "True"])
def test_a_bound_that_is_no_number_of_frames_is_refused(door: Door, bound: str) -> None:
    door.write(SYSTEM.replace("class Careful:\n", f"class Careful:\n    max_in_flight = {bound}\n\n"))
    assert door.refused() == (
        f"{door.module}:{CLASS_LINE - 1}: "
        f"expected Careful.max_in_flight to be a whole number >= 1, found {bound}"
    )


def test_a_scheduler_without_lambda_is_refused() -> None:
    """Its results would be valued with another λ than those that they are swept with."""
    section = {"_target_": "sim.schedulers.LatencyScheduler", "name": "own"}
    message = refused({**pixels(), "scheduler": section})
    assert message.startswith("scheduler.lambda_per_s: expected λ in the YAML of every scheduler")
    assert message.endswith("found none in that of 'own'")


@pytest.mark.parametrize("group", ["scheduler", "estimator"])
def test_schedulers_and_estimators_come_through_the_same_door(door: Door, group: str) -> None:
    path = door.folder / group / "own.yaml"
    path.parent.mkdir()
    path.write_text(f"_target_: {MODULE}.Nobody\n")
    message = door.refused(**{group: {"name": "own"}})
    assert message.startswith(f"{path}:1: _target_: expected a class 'Nobody' in {door.module}")


# -- the YAML --------------------------------------------------------------------------------------


def test_a_yaml_without_target_is_named(door: Door) -> None:
    door.write(yaml="margin_s: 0.2\n")
    assert door.refused() == f"{door.yaml}:1: expected _target_: package.module.Class, found no such key"


@pytest.mark.parametrize(
    ("text", "line"), [("margin_s: [0.2\nrounds: 3\n", 2), ("rounds: 3\n margin_s: 2\n", 2), ("a: 'b\n", 2)]
)
def test_a_broken_yaml_is_named_with_its_line(door: Door, text: str, line: int) -> None:
    door.write(yaml=text)
    assert door.refused().startswith(f"{door.yaml}:{line}: expected YAML, found ")


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "careful\n"])
def test_a_yaml_without_keys_is_named(door: Door, text: str) -> None:
    door.write(yaml=text)
    assert door.refused().startswith(f"{door.yaml}: expected keys and values, found ")


def test_a_section_without_name_or_target_is_refused() -> None:
    message = refused({**pixels(), "system": {"quality": 5}})
    assert message.startswith("system.name: expected one of awstream, coach, deltacnn")
    assert message.endswith("found none")


# -- block codecs ----------------------------------------------------------------------------------


def codec_yaml(door: Door, text: str) -> dict[str, Any]:
    path = door.folder / "payload" / "codec" / "own.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(f"_target_: kernels.codecs.block_codecs.JpegAtlas\n{text}")
    return {"config_folders": [str(door.folder)]}


def test_the_quality_of_a_codec_is_its_yamls_unless_the_run_has_one(door: Door) -> None:
    folders = codec_yaml(door, "quality: 10\n")

    def quality(payload: dict[str, Any]) -> int:
        camera = assemble(read_config(pixels(payload=payload, **folders))).simulation.cameras[0]
        found: int = camera.system.content.options.codec.quality
        return found

    assert quality({"codec": "own"}) == 10
    assert quality({"codec": "own", "quality": 50}) == 50
    assert quality({}) == 85


def test_sizes_of_a_codec_that_was_not_recorded_are_not_made_up(door: Door) -> None:
    folders = codec_yaml(door, "quality: 10\n")
    assert refused(statistical(payload={"codec": "own"}, **folders)).startswith(
        "payload.codec: statistics are recorded with raw, png, jpeg of quality 85, found 'jpeg' of quality 10"
    )


# -- videos without pixels -------------------------------------------------------------------------


def test_a_class_that_says_nothing_of_pixels_gets_no_video_without_them(door: Door) -> None:
    content = statistical("careful", config_folders=[str(door.folder)])
    assert refused(content) == (
        "video.kind: system 'careful' needs pixels: expected scene or file, found 'statistical' "
        f"({door.module}:{CLASS_LINE - 1} does not say works_without_pixels = True)"
    )
    said = textwrap.indent("works_without_pixels = True\n\n", "    ")
    door.write(SYSTEM.replace("class Careful:\n", f"class Careful:\n{said}"))
    sys.modules.pop(MODULE)
    assemble(read_config(content)).simulation.run()


def test_a_class_that_wrongly_says_it_needs_no_pixels_is_told_so(door: Door) -> None:
    said = textwrap.indent("works_without_pixels = True\n\n", "    ")
    source = SYSTEM.replace("class Careful:\n", f"class Careful:\n{said}")
    door.write(source.replace("yield", "frame.pixels.mean()\n        yield"))
    simulation = assemble(read_config(statistical("careful", config_folders=[str(door.folder)]))).simulation
    with pytest.raises(InputError, match=r"video\.kind: a system that says works_without_pixels = True"):
        simulation.run()


@pytest.mark.parametrize(("system", "what"), [("deltacnn", "'deltacnn' needs pixels"), ("coach", "history")])
def test_our_own_systems_that_need_pixels_say_so(system: str, what: str) -> None:
    message = refused(statistical(system))
    assert message.startswith("video.kind: ")
    assert what in message
    assert "expected scene or file, found 'statistical'" in message

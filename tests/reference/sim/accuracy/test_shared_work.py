"""Work shared between runs: never another's, never the end of a run, the same bytes with and without it."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.accuracy import inference as inference_module
from sim.accuracy.steps import LONGEST, Step, Steps
from sim.command.single_run import run_once
from sim.shared_work import Store, code_digest, digest, fingerprint
from sim.shared_work import store as store_module
from tests.strategies.sim import pixels
from traces.notices import InputWarning

KEY = hashlib.sha256(b"key").hexdigest()
BOUND = 1_000_000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results", BOUND)


def key(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def only_file(folder: Path) -> Path:
    (path,) = (path for path in folder.rglob("*") if path.is_file())
    return path


# -- the folder ------------------------------------------------------------------------------------


def test_what_was_kept_is_found_by_others(store: Store) -> None:
    assert store.get(KEY) is None
    store.put(KEY, b"value")
    assert Store(store.folder, BOUND).get(KEY) == b"value"
    assert store.get(key(1)) is None


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "longer"])
def test_a_damaged_value_is_none_and_is_made_good(store: Store, damage: str) -> None:
    store.put(KEY, b"a value of some length")
    path = only_file(store.folder)
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[-1] ^= 1
    path.write_bytes({"cut": content[:-3], "emptied": b"", "longer": content + b"x"}.get(damage, content))
    assert store.get(KEY) is None
    store.put(KEY, b"a value of some length")
    assert store.get(KEY) == b"a value of some length"


def test_the_folder_stays_within_its_bound_and_keeps_what_is_used(tmp_path: Path) -> None:
    store = Store(tmp_path, BOUND)
    for number in range(400):  # 4096 bytes each on disk: 1.6 MB
        store.put(key(number), b"x" * 3000)
        os.utime(store._path(key(number)), (number, number))
        assert store.get(key(0)) is not None  # used again and again
    sizes = [-(-path.stat().st_size // 4096) * 4096 for path in tmp_path.rglob("*") if path.is_file()]
    assert 0.5 * BOUND < sum(sizes) <= BOUND * (1 + 1 / 32)
    assert store.get(key(399)) is not None
    assert store.get(key(1)) is None


def test_a_value_that_would_take_the_folder_for_itself_is_not_kept(store: Store) -> None:
    store.put(KEY, b"x" * BOUND)
    assert store.get(KEY) is None


def test_what_an_interrupted_process_left_goes(store: Store) -> None:
    store.put(KEY, b"value")
    for age_s, name in ((7200, "old"), (0, "new")):
        left = store.folder / f".part-{name}"
        left.write_bytes(b"half")
        now_s = left.stat().st_mtime
        os.utime(left, (now_s - age_s, now_s - age_s))
    Store(store.folder, BOUND).put(key(1), b"value")
    assert sorted(path.name for path in store.folder.glob(".part-*")) == [".part-new"]


def full_disk(*_: Any, **__: Any) -> Any:
    raise OSError(28, "No space left on device")


def test_a_full_disk_is_said_once_and_leaves_nothing_behind(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(KEY, b"before")
    monkeypatch.setattr(store_module.os, "fdopen", full_disk)
    with pytest.warns(InputWarning, match=r"cache: cannot write to .*No space left on device") as said:
        store.put(key(0), b"value")
    store.put(key(1), b"value")
    assert len(said) == 1
    assert store.get(KEY) == b"before"
    assert store.get(key(0)) is None
    assert list(store.folder.glob(".part-*")) == []


def test_a_folder_that_cannot_be_made_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = Store(tmp_path / "file" / "results", BOUND)
    with pytest.warns(InputWarning, match="cache: cannot"):
        store.put(KEY, b"value")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert store.get(KEY) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_only_be_read_still_serves(store: Store) -> None:
    store.put(KEY, b"value")
    folder = only_file(store.folder).parent
    folder.chmod(0o500)
    try:
        assert store.get(KEY) == b"value"
    finally:
        folder.chmod(0o700)


def test_times_that_may_not_be_set_do_not_matter(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(KEY, b"value")
    monkeypatch.setattr(store_module.os, "utime", full_disk)
    assert store.get(KEY) == b"value"


def hammer(folder: Path, seed: int, found: Any) -> None:
    store = Store(folder, 300_000)
    drawn = np.random.default_rng(seed)
    wrong = 0
    for number in drawn.integers(0, 60, 1500).tolist():
        expected = key(number).encode() * 100
        known = store.get(key(number))
        wrong += known is not None and known != expected
        store.put(key(number), expected)
    found.put(wrong)


def test_processes_at_once_find_whole_values_or_none(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    processes = [context.Process(target=hammer, args=(tmp_path, seed, found)) for seed in range(2)]
    for process in processes:
        process.start()
    assert [found.get(timeout=120) for _ in processes] == [0, 0]
    for process in processes:
        process.join()
        assert process.exitcode == 0


# -- keys ------------------------------------------------------------------------------------------

PARTS = st.lists(
    st.one_of(st.text(max_size=3), st.binary(max_size=3), st.integers(-3, 3), st.none(), st.floats(0, 1)),
    max_size=4,
)


@given(PARTS, PARTS)
def test_other_parts_have_another_key(one: list[Any], other: list[Any]) -> None:
    same = [(type(part), part) for part in one] == [(type(part), part) for part in other]
    assert (digest(*one) == digest(*other)) == same


def test_arrays_differ_by_type_shape_and_content() -> None:
    made = np.arange(6, dtype=np.int16)
    others = [made.reshape(2, 3), made.astype(np.int32), made[::-1], made[:5], made.tobytes()]
    assert len({digest(made), *map(digest, others)}) == 6
    assert digest(made.reshape(2, 3).T.copy().T) == digest(made.reshape(2, 3))


def test_what_has_no_content_to_tell_is_refused() -> None:
    with pytest.raises(TypeError, match="parts of a key"):
        digest(object())


def test_a_change_in_any_source_is_another_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "invented_package"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    source = package / "inner" / "sums.cpp"
    source.write_text("a + b")
    monkeypatch.syspath_prepend(tmp_path)
    keys = [code_digest.__wrapped__("invented_package")]
    (package / "README.md").write_text("words")
    assert code_digest.__wrapped__("invented_package") == keys[0]
    source.write_text("b + a")
    keys.append(code_digest.__wrapped__("invented_package"))
    source.rename(package / "sums.cpp")
    keys.append(code_digest.__wrapped__("invented_package"))
    assert len(set(keys)) == 3


def test_images_are_told_apart_by_their_content(store: Store) -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    assert store.key_of(image) == store.key_of(image.copy())
    other = image.copy()
    other[3, 4, 1] = 1
    assert store.key_of(other) != store.key_of(image)


# -- runs ------------------------------------------------------------------------------------------

SYSTEMS = {
    "fluxshard_ea": {},
    "fluxshard_ea edge": {"trace": {"mean_mbps": 2.0, "duration_s": 5.0, "seed": 2}},
    "fluxshard_ea encoder": {"matching": {"aligner": "h264"}},
    "fluxshard_ea truncate": {"accuracy": {"mode": "measured", "policy": "truncate"}},
    "deltacnn": {},
    "deltacnn two": {"cameras": 2},
    "coach": {},
    "full_offload": {},
}


def table_of(name: str, **cache: Any) -> bytes:
    changes: dict[str, Any] = {"accuracy": {"mode": "measured"}, **SYSTEMS[name]}
    content = pixels(name.split()[0], frames=8, **changes)
    content["cache"] = cache
    content["video"] = {"kind": "scene", "size_px": 128}
    frames: bytes = run_once(content).record.frames.to_csv().encode()
    return frames


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the project's cache is."""
    monkeypatch.setattr(store_module, "cache_folder", lambda: tmp_path)
    return tmp_path / "results"


@pytest.mark.filterwarnings("ignore:video.size_px")
@pytest.mark.parametrize("name", SYSTEMS)
def test_a_run_is_the_same_with_and_without(name: str, folder: Path) -> None:
    """Nothing shared; an empty folder; one in which some values are missing and some are damaged."""
    alone = table_of(name, enabled=False)
    assert not folder.exists()
    assert table_of(name) == alone
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert len(files) > 5
    for path in files[::3]:
        path.unlink()
    for path in files[1::3]:
        path.write_bytes(path.read_bytes()[:-1])
    assert table_of(name) == alone


@pytest.mark.filterwarnings("ignore:video.size_px")
def test_what_is_known_is_not_computed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table_of("fluxshard_ea")

    def computed(*_: Any) -> Any:
        raise AssertionError("inference though its result is known")

    monkeypatch.setattr(inference_module.Inference, "dense", computed)
    monkeypatch.setattr(inference_module.Inference, "sparse", computed)
    table_of("fluxshard_ea")


def test_a_network_of_somebody_elses_is_not_shared() -> None:
    """What else its code builds on cannot be told."""
    choice: Any = type("Choice", (), {"network": object(), "weights": None})()
    executor: Any = None
    geometry: Any = None
    assert inference_module._identity(choice, executor, geometry) == ""


class Counting:
    """Inference that says what it computed, in order."""

    identity = "counting"

    def __init__(self, policy: str = "fixed") -> None:
        self.executor: Any = type("Executor", (), {"policy": policy})()
        self.log: list[str] = []

    def dense(self, image: Any) -> Any:
        self.log.append(f"dense {image[0, 0, 0]}")
        return f"o{image[0, 0, 0]}", f"c{image[0, 0, 0]}"

    def sparse(self, image: Any, blocks: Any, vectors: Any, cache: str) -> Any:
        self.log.append(f"sparse {image[0, 0, 0]} from {cache}")
        return f"o{image[0, 0, 0]}", f"c{image[0, 0, 0]}"

    def result(self, outputs: str) -> bytes:
        return outputs.encode()


def picture(value: int) -> Any:
    return np.full((16, 16, 3), value, np.uint8)


def chain(steps: Steps, values: range) -> Step:
    blocks, vectors = np.ones((1, 1), np.bool_), np.zeros((1, 1, 2), np.int16)
    step = steps.dense(picture(values[0]))
    for value in values[1:]:
        step = steps.sparse(picture(value), blocks, vectors, step)
    return step


def test_a_chain_is_computed_when_its_end_is_needed_and_once(store: Store) -> None:
    counting: Any = Counting()
    steps = Steps(counting, store)
    end = chain(steps, range(1, 4))
    assert counting.log == []
    assert steps.result(end) == b"o3"
    assert counting.log == ["dense 1", "sparse 2 from c1", "sparse 3 from c2"]
    assert steps.result(end) == b"o3"
    assert len(counting.log) == 3
    other: Any = Counting()
    again = Steps(other, store)
    assert again.result(chain(again, range(1, 4))) == b"o3"
    assert other.log == []
    assert again.result(chain(again, range(1, 5))) == b"o4"
    assert other.log == ["dense 1", "sparse 2 from c1", "sparse 3 from c2", "sparse 4 from c3"]


def test_a_long_chain_does_not_wait_for_ever() -> None:
    counting: Any = Counting()
    end = chain(Steps(counting), range(LONGEST + 20))
    assert len(counting.log) == LONGEST + 1
    assert end.waiting == 18


def test_truncation_measures_the_first_frame_whatever_is_known(store: Store) -> None:
    """Its thresholds follow from the frame that the executor sees first: in every run the same one."""
    first: Any = Counting("truncate")
    steps = Steps(first, store)
    steps.result(steps.dense(picture(7)))
    assert first.log == ["dense 7"]
    second: Any = Counting("truncate")
    steps = Steps(second, store)
    assert steps.result(steps.dense(picture(7))) == b"o7"
    steps.result(steps.dense(picture(9)))
    assert second.log == ["dense 7", "dense 9"]


def test_sources_are_named_by_package() -> None:
    assert any(text.startswith("kernels/executor/executor.py ") for text in fingerprint._sources("kernels"))
    with pytest.raises(ValueError, match="packages must be packages"):
        list(fingerprint._sources("kernels.allocator"))
